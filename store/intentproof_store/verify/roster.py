"""Every writer that a log of the tenant names is here, with what was signed of it.

A genesis names the writer before it, `writer-added` one that was seen beside it, `writer-retired`
one that ended; each with a signed checkpoint. Who hides a whole log has to hide all that name it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..errors import NoteInvalid
from ..note import Checkpoint, VerifierKey, open_note, parse_checkpoint_text, parse_note
from .life import LifeLeaf
from .report import LogReport, Problem


@dataclass(frozen=True)
class Named:
    """A writer as a leaf of a log of the same tenant names it."""

    by: LogReport
    leaf: LifeLeaf
    writer: str
    checkpoint: Checkpoint | None
    vouched: bool  # a trusted key signed that checkpoint


@dataclass(frozen=True)
class End:
    """A log that grows no more: since when, and the leaf that says so."""

    since_ns: int
    by: LogReport
    index: int


def check_roster(
    logs: Sequence[LogReport], keys: Sequence[VerifierKey], *, sealed_only: bool = False
) -> dict[str, End]:
    """Check that all of one tenant's writers are here; which of them ended, by their id.

    With `sealed_only` a log may lack what was still hot when its checkpoint was signed.
    """
    here = {log.writer: log for log in logs if log.writer}
    ends: dict[str, End] = {}
    for named in _named(logs, keys):
        log = here.get(named.writer)
        if log is None or not (log.size or log.life.roots):
            message = (
                f"leaf {named.leaf.index} of {named.by.writer} names the writer {named.writer}, "
                "and nothing of its log is here"
            )
            problem = Problem("writer_missing", message, log_index=named.leaf.index)
            named.by.problems.append(problem)
        elif _agrees(named, log, sealed_only=sealed_only) and named.leaf.kind in (
            "genesis",
            "writer-retired",
        ):
            ends[named.writer] = End(named.leaf.received_ns, named.by, named.leaf.index)
    for log in logs:
        end = _own_end(log)
        if end is not None:
            ends[log.writer] = end
    return ends


def _named(logs: Sequence[LogReport], keys: Sequence[VerifierKey]) -> Iterator[Named]:
    for log in logs:
        for leaf in log.life.leaves:
            said = leaf.detail.get("former") if leaf.kind == "genesis" else leaf.detail
            if leaf.kind not in ("genesis", "writer-added", "writer-retired"):
                continue
            writer = said.get("writer") if isinstance(said, Mapping) else None
            if isinstance(writer, str) and isinstance(said, Mapping) and writer != log.writer:
                checkpoint, vouched = _checkpoint(log.tenant, writer, said.get("checkpoint"), keys)
                yield Named(log, leaf, writer, checkpoint, vouched)


def _checkpoint(
    tenant: str, writer: str, text: object, keys: Sequence[VerifierKey]
) -> tuple[Checkpoint | None, bool]:
    """The checkpoint in a leaf, if it is of that log; whether a trusted key signed it."""
    if not isinstance(text, str):
        return None, False
    try:
        checkpoint = parse_checkpoint_text(parse_note(text.encode()).text)
    except (NoteInvalid, UnicodeEncodeError):
        return None, False
    if not checkpoint.origin.endswith(f"/{tenant}/{writer}"):
        return None, False
    try:
        open_note(text.encode(), [key for key in keys if key.name == checkpoint.origin])
    except NoteInvalid:
        return checkpoint, False
    return checkpoint, True


def _agrees(named: Named, log: LogReport, *, sealed_only: bool) -> bool:
    """Whether the named log holds what was signed of it, and, retired, no more than that."""
    signed = named.checkpoint
    if signed is None:
        return False  # nobody can say whether the log has all that it had
    largest = max(log.life.roots, default=0)
    where = f"leaf {named.leaf.index} of {named.by.writer}"
    if signed.size > largest and sealed_only:
        return False
    if signed.size > largest:
        message = f"{where} names a checkpoint of {signed.size} leaves, {largest} are signed here"
        log.problems.append(Problem("writer_behind", message))
        return False
    root = log.life.roots.get(signed.size)
    if named.vouched and root is not None and root != signed.root:
        message = f"{where} holds another signed checkpoint of {signed.size} leaves"
        log.problems.append(Problem("fork", message))
        return False
    if named.leaf.kind == "writer-retired" and signed.size < largest:
        message = f"{where} retired this log at {signed.size} leaves, and it went on"
        log.problems.append(Problem("writer_went_on", message))
        return False
    return True


def _own_end(log: LogReport) -> End | None:
    """Where a log's last signed leaf says that it ends."""
    last = log.life.leaves[-1] if log.life.leaves else None
    if last is None or last.kind != "writer-retired" or last.index != log.life.size - 1:
        return None
    if last.detail.get("writer") != log.writer:
        return None
    return End(last.received_ns, log, last.index)
