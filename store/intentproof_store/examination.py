"""Whether what is asked can be done: of which log it is, what is held, what was claimed before."""

from dataclasses import dataclass
from pathlib import Path

import orjson
import pyarrow as pa

from .errors import Held, NoteInvalid, RequestInvalid
from .holds import Hold, holds_on, leaves_in, standing_holds
from .layout import Layout
from .note import parse_checkpoint_text, parse_note
from .ranges import Ranges
from .reader import Reader
from .requests import HOLD, Request


def _no_ids() -> pa.StringArray:
    # Not made at import: the first array brings pandas in, where it is installed.
    return pa.array([], pa.string())


@dataclass(frozen=True)
class Examined:
    """`claimed`: its leaves stand in the log already. `ids`: of the events that lose a half."""

    claimed: bool
    ids: pa.Array


def examine(request: Request, *, store: Path, home: Path, hot: Path) -> Examined:
    """Look at a request and at the whole log. Blocks on the disk.

    Raises RequestInvalid where it was made for another log, Held where a hold covers what is to go.
    """
    _check_log(request, Layout(store).log(request.tenant, request.writer))
    with Reader(store, hot=hot, home=home, tenant=request.tenant) as reader:
        if _claimed(reader, request):
            return Examined(claimed=True, ids=_ids(reader, request))
        if request.kind == HOLD:
            return Examined(claimed=False, ids=_no_ids())
        check_free(
            reader,
            request.tenant,
            request.writer,
            request.ranges,
            drops_leaves=request.drops_leaves,
        )
        return Examined(claimed=False, ids=_ids(reader, request))


def check_free(
    reader: Reader, tenant: str, writer: str, ranges: Ranges, *, drops_leaves: bool = False
) -> None:
    """Raise Held where a hold covers one of the leaves, or its own leaf would be dropped."""
    held = {hold.hold_id: hold for hold in holds_on(reader, tenant, writer, ranges)}
    if drops_leaves:
        held |= {
            hold.hold_id: hold
            for hold in standing_holds(reader, tenant)
            if hold.writer == writer and any(ranges.meets(leaf, leaf) for leaf in hold.leaves)
        }
    if held:
        raise Held("; ".join(map(_words, held.values())))


def _words(hold: Hold) -> str:
    return f"the legal hold {hold.hold_id} ({hold.reason}) covers {hold.words()}"


def _check_log(request: Request, folder: Path) -> None:
    """The log is the one that the request was made for: a checkpoint of then stands in it."""
    try:
        size = parse_checkpoint_text(parse_note(request.checkpoint.encode()).text).size
        standing = (folder / f"checkpoint.{size}").read_bytes()
    except (NoteInvalid, FileNotFoundError) as error:
        raise RequestInvalid("the request was made for another store than this") from error
    if standing != request.checkpoint.encode():
        raise RequestInvalid("the request was made for another store than this")


def _claimed(reader: Reader, request: Request) -> bool:
    rows = reader.rows(
        "SELECT detail FROM leaves WHERE tenant = ? AND writer = ? AND kind = ?",
        [request.tenant, request.writer, request.kind],
    )
    return any(orjson.loads(row["detail"]).get("request_id") == request.id for row in rows)


def _ids(reader: Reader, request: Request) -> pa.Array:
    if request.drops_leaves or request.kind == HOLD:
        return _no_ids()
    found = leaves_in(
        reader,
        request.tenant,
        request.writer,
        request.ranges,
        "event_id",
        "kind IN ('event', 'conflict')",
    )
    return found.column(0).combine_chunks() if found.num_rows else _no_ids()
