"""One segment, checked from its bytes up. Runs in worker processes; shares nothing but its file."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..columns import COLUMNS, SEGMENT_SCHEMA
from ..files import read_regular
from ..layout import SegmentName, date_of
from ..merkle import HASH_BYTES
from ..rowcheck import BatchReport, Erased, check_batch
from .event_ids import Marker, OrderedMarks, Words
from .life import LIFE_KINDS, Array, LifeLeaf, Run, life_leaf, runs_of
from .report import Problem
from .spill import Kept, Spill
from .windows import Windows, check_windows

_PROBLEMS_MAX = 100  # of one segment: one altered byte may contradict every row
_BATCH_ROWS = 4_096  # their values stay in the processor's cache from check to check
_ABSENT = bytes(HASH_BYTES)
_TOLD_KINDS = ("genesis", "erasure", "retention", "quarantine", "gap")
_READ_KINDS = tuple(dict.fromkeys((*_TOLD_KINDS, *LIFE_KINDS)))


@dataclass(frozen=True)
class SegmentTask:
    """A segment to check, and what its signed note says."""

    path: Path
    tenant: str
    name: SegmentName
    day: str
    sha256: str
    seed: int
    timed: bool = False
    windows: Windows | None = None


@dataclass
class LeavesReport:
    """What consecutive leaves say: their hashes, 32 bytes each, zeros where a leaf is absent.

    What there is of each leaf moves into a spill when all were taken, by `keep`.
    """

    first: int
    rows: int
    own_hashes: bytearray
    own_events: bytearray
    problems: list[Problem] = field(default_factory=list)
    erased: list[Erased] = field(default_factory=list)
    details: list[tuple[int, str, str]] = field(default_factory=list)
    taken: int = 0
    life: list[LifeLeaf] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    moments: list[tuple[Array, Array]] = field(default_factory=list)
    marks: list[tuple[Words, Words]] = field(default_factory=list)
    ordered: OrderedMarks | None = None
    kept: tuple[Kept, Kept] | None = None

    @classmethod
    def of(cls, first: int, rows: int) -> "LeavesReport":
        """An empty report of so many leaves."""
        return cls(first, rows, bytearray(rows * HASH_BYTES), bytearray(rows))

    @property
    def end(self) -> int:
        """One past the last leaf."""
        return self.first + self.rows

    @property
    def whole(self) -> bool:
        """Whether every leaf could be read; of a damaged file, some may be absent."""
        return self.taken == self.rows

    @property
    def hashes(self) -> bytearray | Kept:
        """The leaf hashes, 32 bytes each."""
        return self.own_hashes if self.kept is None else self.kept[0]

    @property
    def event_indexes(self) -> bytes:
        """A byte for each leaf, 1 where it is an event's."""
        return bytes(self.own_events) if self.kept is None else self.kept[1][:]

    def keep(self, spill: Spill) -> None:
        """Move what there is of each leaf into a spill."""
        self.ordered, self.marks = OrderedMarks.of(self.marks, spill), []
        self.kept = spill.keep(self.own_hashes), spill.keep(self.own_events)
        self.own_hashes, self.own_events = bytearray(), bytearray()

    def _place_all(self, indexes: pa.Array, hashes: list[bytes]) -> bool:
        """Put all hashes in their places at once; False, and nothing put, where one has none."""
        if indexes.null_count or not hashes:
            return False
        places = indexes.to_numpy() - self.first
        if places.min() < 0 or places.max() >= self.rows:
            return False
        table = np.frombuffer(self.own_hashes, np.uint8).reshape(-1, HASH_BYTES)
        free = np.ones(self.rows, bool)
        free[places] = False
        if len(places) != len(free) - np.count_nonzero(free) or table[places].any():
            return False
        table[places] = np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, HASH_BYTES)
        self.taken += len(hashes)
        return True

    def _place_each(
        self, indexes: list[int | None], is_event: list[bool], hashes: list[bytes], file: str
    ) -> None:
        """Put each hash in its place, as far as it has one that is free."""
        for index, event, hashed in zip(indexes, is_event, hashes, strict=True):
            place = -1 if index is None else (index - self.first) * HASH_BYTES
            inside = 0 <= place < len(self.own_hashes)
            if inside and event:
                self.own_events[place // HASH_BYTES] = 1
            if not inside or self.own_hashes[place : place + HASH_BYTES] != _ABSENT:
                message = f"log index {index} is twice or outside the segment"
                self.problems.append(Problem("column_differs", message, file, index))
                continue
            self.own_hashes[place : place + HASH_BYTES] = hashed
            self.taken += 1

    def add(
        self, batch: pa.RecordBatch, checked: BatchReport, file: str, *, marker: Marker
    ) -> None:
        """Take a checked batch; a log index outside or twice is a problem."""
        column = batch.column("log_index")
        is_event = pc.equal(batch.column("kind"), "event")
        if self._place_all(column, checked.leaf_hashes):
            events = column.filter(is_event).to_numpy() - self.first
            np.frombuffer(self.own_events, np.uint8)[events] = 1
        else:
            self._place_each(column.to_pylist(), is_event.to_pylist(), checked.leaf_hashes, file)
        known = batch.select(["log_index", "event_id"])
        known = known.filter(pc.and_(is_event, pc.is_valid(column)))
        indexes = known.column("log_index").to_numpy().astype(np.uint64)
        self.marks.append((indexes, marker.marks(known.column("event_id"))))
        for problem in checked.problems[: _PROBLEMS_MAX - len(self.problems)]:
            self.problems.append(Problem(problem.code, problem.message, file, problem.log_index))
        for index in checked.unsupported:
            self.problems.append(Problem("unsupported", "a later leaf version", file, index))
        for index, kind in checked.unknown_kinds:
            message = f"a leaf of a kind that this verifier does not know: {kind!r}"
            self.problems.append(Problem("unknown_kind", message, file, index))
        self.erased.extend(checked.erased)
        told = batch.filter(pc.is_in(batch.column("kind"), value_set=pa.array(_READ_KINDS)))
        for leaf, index in zip(
            told.column("leaf").to_pylist(), told.column("log_index").to_pylist(), strict=True
        ):
            # From the hashed bytes, never from a column beside them.
            members = _members(leaf)
            kind = members.get("kind", "")
            if kind in _TOLD_KINDS:
                self.details.append((index, kind, members.get("detail", "{}")))
            if kind in LIFE_KINDS and (lived := life_leaf(index, members)) is not None:
                self.life.append(lived)

    def add_times(self, batch: pa.RecordBatch) -> None:
        """Take the times at which leaves were received."""
        indexes, received_ns = batch.column("log_index"), batch.column("received_ns")
        if not indexes.null_count and not received_ns.null_count:
            self.moments.append((indexes.to_numpy(), received_ns.to_numpy()))

    def settle_times(self) -> None:
        """Keep of the times what they say of silences."""
        if self.moments:
            indexes, times = (np.concatenate(each) for each in zip(*self.moments, strict=True))
            self.runs, self.moments = runs_of(indexes, times), []


def _members(leaf: bytes | None) -> dict[str, str]:
    try:
        members = orjson.loads(leaf or b"")
    except ValueError:
        return {}
    return members if isinstance(members, dict) else {}


def check_segment(task: SegmentTask) -> LeavesReport:
    """Check a segment's file: its SHA-256, its columns, each row, each leaf's place and date."""
    file = task.path.name
    report = LeavesReport.of(task.name.first, task.name.rows)
    try:
        raw = read_regular(task.path)  # once: what is checked below is what was hashed
        if hashlib.sha256(raw).hexdigest() != task.sha256:
            message = "the file's bytes are not what was signed"
            report.problems.append(Problem("sha256_differs", message, file))
        _check_rows(task, report, raw)
    except Exception as error:  # noqa: BLE001 - damaged bytes make the library raise anything
        report.problems.append(Problem("not_parquet", f"cannot be read: {error}", file))
    return report


def _check_rows(task: SegmentTask, report: LeavesReport, raw: bytes) -> None:
    file = task.path.name
    # The file's own schema, without what pandas or Arrow may have added to its metadata.
    with pq.ParquetFile(
        pa.BufferReader(raw), page_checksum_verification=True, pre_buffer=False
    ) as parquet:
        names = parquet.schema_arrow.names
        if list(names[: len(COLUMNS)]) != list(COLUMNS):
            report.problems.append(Problem("not_parquet", "columns are missing", file))
            return
        if len(names) > len(COLUMNS) and not _of_later_version(parquet):
            extra = ", ".join(names[len(COLUMNS) :])
            report.problems.append(
                Problem("extra_columns", f"columns that no leaf vouches for: {extra}", file)
            )
        before: tuple[str, int] | None = None
        marker = Marker(task.seed)
        # One thread: the columns are many and small, handing them around costs more than reading.
        for batch in parquet.iter_batches(
            batch_size=_BATCH_ROWS, columns=list(COLUMNS), use_threads=False
        ):
            rows = batch.cast(SEGMENT_SCHEMA)
            checked = check_batch(rows, tenant=task.tenant, writer=task.name.writer)
            report.add(rows, checked, file, marker=marker)
            if task.timed:
                report.add_times(rows)
            check_windows(report, task.windows, rows, file)
            _check_dates(task, report, rows)
            before = _check_order(report, rows, before, file)
    report.settle_times()


def _of_later_version(parquet: pq.ParquetFile) -> bool:
    """Whether any leaf is of a version that this verifier does not know."""
    known = b'"v":"intentproof.leaf.v1"'
    return any(
        known not in (leaf or b"")
        for batch in parquet.iter_batches(columns=["leaf"])
        for leaf in batch.column(0).to_pylist()
    )


def _check_dates(task: SegmentTask, report: LeavesReport, rows: pa.RecordBatch) -> None:
    bounds = pc.min_max(rows.column("received_ns")).as_py()
    for received_ns in (bounds["min"], bounds["max"]):
        if received_ns is not None and date_of(received_ns) != task.day:
            message = f"the folder says {task.day}, a leaf was received on {date_of(received_ns)}"
            report.problems.append(Problem("wrong_date", message, task.path.name))
            return


def _check_order(
    report: LeavesReport, rows: pa.RecordBatch, before: tuple[str, int] | None, file: str
) -> tuple[str, int] | None:
    """Rows stand by trace id, then log index; a reader's statistics rely on it."""
    traces, indexes = rows.column("trace_id"), rows.column("log_index")
    if not traces.null_count and not indexes.null_count and _is_sorted(traces, indexes):
        ends = [_key(traces[at].as_py(), indexes[at].as_py()) for at in (0, -1)]
        if before is None or ends[0] >= before:
            return ends[1]
    keys = [_key(*each) for each in zip(traces.to_pylist(), indexes.to_pylist(), strict=True)]
    if keys != sorted(keys) or (before is not None and keys and keys[0] < before):
        report.problems.append(
            Problem("column_differs", "rows are not sorted by trace id and log index", file)
        )
    return keys[-1] if keys else before


def _is_sorted(traces: pa.Array, indexes: pa.Array) -> bool:
    """Whether there are rows, and none comes before the one above it. No column has nulls."""
    if not len(traces):
        return False
    trace, above = traces.slice(1), traces.slice(0, len(traces) - 1)
    follows = pc.greater_equal(indexes.slice(1), indexes.slice(0, len(indexes) - 1))
    rises = pc.or_(pc.greater(trace, above), pc.and_(pc.equal(trace, above), follows))
    return pc.all(rises).as_py() is not False  # null where there is one row


def _key(trace_id: str | None, log_index: int | None) -> tuple[str, int]:
    # Rows without a trace id come last: U+FFFF is after every hex digit.
    return (
        trace_id if trace_id is not None else "\uffff",
        log_index if log_index is not None else -1,
    )
