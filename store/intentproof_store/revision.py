"""The next revision of a sealed segment: the same leaves, without what was erased (contract §5).

Nothing that stands on the disk is signed again unless it is, byte for byte, what this writer
signed before: whoever holds the disk would else have an alteration signed by erasing beside it.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from intentproof_schemas import EVENT_KINDS

from .columns import HALVES, SEGMENT_SCHEMA
from .durable import make_folder, move_into_place
from .errors import StoreError
from .files import read_regular
from .identity import Identity
from .layout import Layout, parse_segment_file, quarantine_file
from .ranges import Array, Ranges
from .segment_notes import put_segment_note
from .segments import Segment, write_segment

CONTEXT, PAYLOAD, ALL = "context", "payload", "all"
_MEMBERS = {half: (*columns, f"{half}_salt") for half, columns in HALVES.items()}
_MEMBERS[ALL] = (*_MEMBERS[CONTEXT], *_MEMBERS[PAYLOAD])


@dataclass(frozen=True)
class Revised:
    """What became of a segment: its rows that lost something, and the file that holds them now."""

    segment: Segment
    path: Path
    rows: int
    quarantine_files: tuple[str, ...]


def read_signed(segment: Segment) -> pa.Table:
    """A segment's rows, of the bytes that its note was signed for. Raises StoreError, OSError."""
    raw = read_regular(segment.path)
    if hashlib.sha256(raw).hexdigest() != segment.note.sha256:
        raise StoreError(
            f"{segment.path} is not what was signed, and is not touched: `verify` says more"
        )
    with pq.ParquetFile(pa.BufferReader(raw)) as parquet:
        return parquet.read(use_threads=False).cast(SEGMENT_SCHEMA)


def quarantined_in(rows: pa.Table, ranges: Ranges) -> tuple[str, ...]:
    """The names of the files that the quarantine leaves among these rows commit to."""
    named = pc.and_(pc.equal(rows.column("kind"), "quarantine"), pa.array(_inside(rows, ranges)))
    details = rows.filter(named).column("detail").to_pylist()
    return tuple(quarantine_file(orjson.loads(detail)["sha256"]) for detail in details)


def erase_in(
    layout: Layout,
    identity: Identity,
    tenant: str,
    segment: Segment,
    ranges: Ranges,
    members: str,
    *,
    rest: Callable[[], None] = lambda: None,
) -> Revised:
    """Publish a segment without a half of the events in `ranges`; as it is where they lack it.

    1. The rows are read from bytes that are what was signed.
    2. The next revision is written aside and fsynced.
    3. Its signed note is put in place.
    4. The file is moved into place: from now on it supersedes the one before, which still stands.

    Killed between any two steps, the same call does what is left. Blocks on the disk.
    """
    rows = read_signed(segment)  # (1)
    gone = _still_there(rows, ranges, members)
    quarantined = quarantined_in(rows, ranges)
    if not gone.any():
        return Revised(segment, segment.path, 0, quarantined)
    batches = _without(rows, gone, members).to_batches()
    del rows
    wanted = replace(segment.name, rev=segment.name.rev + 1)
    make_folder(layout.unfinished)
    aside = layout.unfinished / wanted.file()
    try:
        size_bytes, digest = write_segment(batches, aside, rest=rest)  # (2)
        name = put_segment_note(layout, identity, tenant, wanted, size_bytes, digest)  # (3)
        path = layout.segment(tenant, segment.day, name)
        move_into_place(aside, path)  # (4)
    finally:
        aside.unlink(missing_ok=True)
    return Revised(segment, path, int(gone.sum()), quarantined)


def _inside(rows: pa.Table, ranges: Ranges) -> Array:
    return ranges.contains(rows.column("log_index").combine_chunks().to_numpy())


def _still_there(rows: pa.Table, ranges: Ranges, members: str) -> Array:
    """Which rows are events in `ranges` that have the half, or one of both."""
    of_events = pc.is_in(rows.column("kind"), value_set=pa.array(EVENT_KINDS))
    halves = (CONTEXT, PAYLOAD) if members == ALL else (members,)
    present = np.zeros(rows.num_rows, bool)
    for half in halves:
        present |= _truths(pc.is_valid(rows.column(f"{half}_salt")))
    return present & _truths(of_events) & _inside(rows, ranges)


def _truths(column: pa.ChunkedArray) -> Array:
    made: Array = column.combine_chunks().to_numpy(zero_copy_only=False)
    return made


def _without(rows: pa.Table, gone: Array, members: str) -> pa.Table:
    mask = pa.array(gone)
    for name in _MEMBERS[members]:
        at = rows.schema.get_field_index(name)
        kind = rows.schema.field(name).type
        kept = [
            pc.if_else(mask.slice(start, len(chunk)), pa.scalar(None, kind), chunk)
            for start, chunk in _chunks(rows.column(name))
        ]
        rows = rows.set_column(at, rows.schema.field(name), pa.chunked_array(kept, kind))
    return rows


def _chunks(column: pa.ChunkedArray) -> list[tuple[int, pa.Array]]:
    found, start = [], 0
    for chunk in column.chunks:
        found.append((start, chunk))
        start += len(chunk)
    return found


def superseded_by(path: Path) -> list[Path]:
    """The files beside a segment's that are earlier revisions of the same leaves."""
    mine = parse_segment_file(path.name)
    found = []
    for each in sorted(path.parent.glob("*.parquet")):
        name = parse_segment_file(each.name)
        if mine and name and replace(name, rev=mine.rev) == mine and name.rev < mine.rev:
            found.append(each)
    return found
