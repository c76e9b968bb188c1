"""One segment, checked from its bytes up. Runs in worker processes; shares nothing but its file."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..columns import COLUMNS, SEGMENT_SCHEMA
from ..files import read_regular
from ..layout import SegmentName, date_of
from ..rowcheck import check_batch
from .event_ids import Marker
from .leaves import LeavesReport
from .report import Problem
from .skipping import Skipping
from .windows import Windows, check_windows

_BATCH_ROWS = 4_096  # their values stay in the processor's cache from check to check


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
        skipping = Skipping(parquet.metadata, raw, report.tell_hidden(file))
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
            skipping.see(rows)
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
