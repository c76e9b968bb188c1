"""Sealed segments: writing one, and finding those that count (contract §5)."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .columns import BLOOM_COLUMNS, COLUMNS
from .durable import sync_file
from .errors import NoteInvalid
from .files import read_regular
from .footers import chunk_of
from .layout import Layout, SegmentName, parse_date_folder, parse_segment_file
from .note import SegmentNote, VerifierKey, open_note, parse_note, parse_segment_text
from .rowgroups import GROUP_SCHEMA, row_groups, rows_a_group

_DICTIONARY = (
    "kind",
    "writer",
    "intent",
    "action",
    "status",
    "service_name",
    "attributes",
    "run_id",
    "stage",
    "stream_id",
    "provenance",
    "mapping_rule",
)
# Numbers that grow in steps, and ids without repeats, are smaller without a dictionary.
_ENCODINGS = {
    "log_index": "DELTA_BINARY_PACKED",
    "started_ns": "DELTA_BINARY_PACKED",
    "completed_ns": "DELTA_BINARY_PACKED",
    "received_ns": "DELTA_BINARY_PACKED",
    "started_at": "DELTA_BINARY_PACKED",
    "completed_at": "DELTA_BINARY_PACKED",
    "received_at": "DELTA_BINARY_PACKED",
    "sequence": "DELTA_BINARY_PACKED",
}
# Nobody seeks the smallest salt: what is random or long has no statistics.
_UNRANKED = frozenset(
    (
        *("intent", "inputs", "output", "error", "attributes", "detail"),
        *("context_salt", "payload_salt", "leaf"),
    )
)
_STATISTICS = tuple(name for name in COLUMNS if name not in _UNRANKED)
_HASH_BLOCK = 1 << 20


@dataclass(frozen=True)
class Segment:
    """A segment that readers take: its file, its name, its date and its note."""

    path: Path
    day: str
    name: SegmentName
    note: SegmentNote

    def covers(self, other: "Segment") -> bool:
        """Whether it has every leaf of another one."""
        mine, theirs = self.name, other.name
        return (
            mine.writer == theirs.writer and mine.first <= theirs.first and theirs.last <= mine.last
        )


@dataclass(frozen=True)
class SegmentProblem:
    """A file among the segments that readers leave out, and why."""

    path: Path
    code: str
    message: str


def write_segment(
    batches: list[pa.RecordBatch], path: Path, *, rest: Callable[[], None] = lambda: None
) -> tuple[int, str]:
    """Write rows, sorted by trace id and log index, and fsync; the file's length and SHA-256.

    The caller's rows are consecutive leaves. The list is emptied; memory holds the rows once, and
    a row group's narrow columns beside them. `rest` is called between pieces of the work.
    """
    group_rows = rows_a_group(batches)
    bloom = {name: {"ndv": group_rows, "fpp": 0.01} for name in BLOOM_COLUMNS}
    with pq.ParquetWriter(
        path,
        GROUP_SCHEMA,
        store_schema=False,  # of the types that Parquet has, readers make those of the contract
        compression="zstd",
        compression_level=1,
        use_dictionary=list(_DICTIONARY),
        column_encoding=_ENCODINGS,
        bloom_filter_options=bloom,
        write_statistics=list(_STATISTICS),
        write_page_checksum=True,
    ) as writer:
        for group in row_groups(batches, group_rows):
            writer.write_table(group, row_group_size=group_rows)
            del group  # it holds on to the values of all groups
            rest()
    pa.default_memory_pool().release_unused()  # or the receiver would hold a segment's worth idle
    sync_file(path)
    return path.stat().st_size, file_sha256(path)


def file_sha256(path: Path) -> str:
    """The hex SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def find_segments(
    layout: Layout,
    tenant: str,
    *,
    keys: Sequence[VerifierKey] = (),
    checked: dict[tuple[Path, int, int], Segment | SegmentProblem] | None = None,
    superseded: list[Segment] | None = None,
) -> tuple[list[Segment], list[SegmentProblem]]:
    """The segments of a tenant that count, by writer and place, and what is left out.

    A file counts if its name is a segment's, a note covers it with its byte length (signed, where
    `keys` has a key of that log), and its rows are as many as and where its name says. Of those, a
    smaller revision of the same range and a range strictly inside another are superseded; any
    other overlap is a problem. `checked` remembers judgements of unchanged files between calls.
    `superseded` takes what is: of its bytes nothing was judged here.
    """
    problems: list[SegmentProblem] = []
    valid: list[Segment] = []
    for path in _files(layout.tenant_events(tenant)):
        try:
            status = path.stat()
        except OSError as error:
            if path.is_symlink():
                problems.append(SegmentProblem(path, "not_a_segment", f"leads nowhere: {error}"))
            continue
        mark = (path, status.st_size, status.st_mtime_ns)
        found = checked.get(mark) if checked is not None else None
        if found is None:
            found = _examine(layout, tenant, path, status.st_size, keys)
            if checked is not None:
                checked[mark] = found
        if isinstance(found, Segment):
            valid.append(found)
        else:
            problems.append(found)
    kept, overlaps = _without_superseded(valid, [] if superseded is None else superseded)
    return kept, problems + overlaps


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if not path.is_dir() or parse_segment_file(path.name) is not None:
            yield path


def _examine(
    layout: Layout, tenant: str, path: Path, size_bytes: int, keys: Sequence[VerifierKey]
) -> Segment | SegmentProblem:
    name = parse_segment_file(path.name)
    day = parse_date_folder(path.parent.name)
    if name is None or day is None or path.parent.parent != layout.tenant_events(tenant):
        return SegmentProblem(path, "not_a_segment", "a file that is not named like a segment")
    if not path.is_file():
        return SegmentProblem(path, "not_a_segment", "not a regular file")
    if name.last < name.first:
        return SegmentProblem(path, "not_a_segment", "a name whose last leaf is before its first")
    note_path = layout.log(tenant, name.writer) / name.note()
    try:
        note = read_segment_note(read_regular(note_path), keys)
    except FileNotFoundError:
        return SegmentProblem(path, "unsigned_file", "no signed note covers this file")
    except (NoteInvalid, OSError) as error:
        return SegmentProblem(path, "note_invalid", f"{note_path.name}: {error}")
    suffix = f"/{tenant}/{name.writer}"
    if not note.origin.endswith(suffix) or (note.first, note.last, note.rev) != (
        name.first,
        name.last,
        name.rev,
    ):
        return SegmentProblem(path, "note_invalid", "the signed note is of another segment")
    if note.size_bytes != size_bytes:
        return SegmentProblem(
            path, "wrong_length", f"{size_bytes} bytes, its note says {note.size_bytes}"
        )
    trouble = _misplaced_rows(path, name)
    return trouble or Segment(path, day, name, note)


def read_segment_note(raw: bytes, keys: Sequence[VerifierKey]) -> SegmentNote:
    """A segment's note; verified if one of the keys is of its log. Raises NoteInvalid."""
    note = parse_note(raw)
    segment = parse_segment_text(note.text)
    if any(key.name == segment.origin for key in keys):
        open_note(raw, keys)
    return segment


def _misplaced_rows(path: Path, name: SegmentName) -> SegmentProblem | None:
    try:
        metadata = pq.read_metadata(path)
        rows, bounds = metadata.num_rows, _index_bounds(metadata)
    except Exception as error:  # noqa: BLE001 - a damaged footer makes the library raise anything
        return SegmentProblem(path, "not_parquet", f"cannot be read as Parquet: {error}")
    if rows != name.rows:
        return SegmentProblem(path, "wrong_rows", f"{rows} rows, its name says {name.rows}")
    if bounds != (name.first, name.last):
        return SegmentProblem(path, "wrong_rows", "its log_index statistics are not first and last")
    return None


def _index_bounds(metadata: Any) -> tuple[int, int] | None:
    """Smallest and largest log_index by the file's statistics."""
    lows, highs = [], []
    for at in range(metadata.num_row_groups):
        column = chunk_of(metadata, at, 0)
        statistics = column.statistics
        if column.path_in_schema != "log_index" or statistics is None or not statistics.has_min_max:
            return None
        lows.append(statistics.min)
        highs.append(statistics.max)
    return (min(lows), max(highs)) if lows else None


def _without_superseded(
    valid: Sequence[Segment], superseded: list[Segment]
) -> tuple[list[Segment], list[SegmentProblem]]:
    kept: list[Segment] = []
    problems: list[SegmentProblem] = []
    ordered = sorted(valid, key=lambda s: (s.name.writer, s.name.first, -s.name.last, -s.name.rev))
    for segment in ordered:
        before = kept[-1] if kept and kept[-1].name.writer == segment.name.writer else None
        if before is None or segment.name.first > before.name.last:
            kept.append(segment)
        elif segment.name.last > before.name.last:
            problems.append(
                SegmentProblem(
                    segment.path, "overlap", f"its leaves overlap those of {before.path.name}"
                )
            )
        elif (segment.name.first, segment.name.last, segment.name.rev) == (
            before.name.first,
            before.name.last,
            before.name.rev,
        ):
            problems.append(
                SegmentProblem(segment.path, "overlap", f"stands at {before.path.parent} as well")
            )
        else:
            superseded.append(segment)
    return kept, problems
