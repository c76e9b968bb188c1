"""What `verify` says of a segment's rows beyond what each says of itself."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from intentproof_schemas import leaf_bytes, read_leaf
from intentproof_store.columns import SEGMENT_SCHEMA
from intentproof_store.layout import SegmentName, date_of
from intentproof_store.rowcheck import check_batch
from intentproof_store.rows import RowMaker
from intentproof_store.segments import file_sha256
from intentproof_store.verify.event_ids import Marker
from intentproof_store.verify.leaves import LeavesReport
from intentproof_store.verify.segment_check import (
    SegmentTask,
    _check_order,
    check_segment,
)

from tests.store.support import DAY_NS, NOON_NS, TENANT, WRITER, add_event, event


def check(*batches: list[tuple[str | None, int | None]]) -> list[str]:
    """The problems of rows that come in these batches."""
    report = LeavesReport.of(0, 1)
    before: tuple[str, int] | None = None
    for keys in batches:
        traces, indexes = zip(*keys, strict=True) if keys else ((), ())
        columns = [pa.array(traces, pa.string()), pa.array(indexes, pa.int64())]
        rows = pa.RecordBatch.from_arrays(columns, ["trace_id", "log_index"])
        before = _check_order(report, rows, before, "x.parquet")
    return [problem.code for problem in report.problems]


@pytest.mark.parametrize(
    ("batches", "wrong"),
    [
        ([[("a", 1), ("a", 2), ("b", 0)], [("b", 3), (None, 4)]], 0),
        ([[("a", 1)], [], [("a", 2)], [(None, 0)], [(None, 3)]], 0),
        ([[("a", 2), ("a", 1)]], 1),
        ([[("b", 1), ("a", 2)]], 1),
        ([[("a", 1), (None, 2), ("b", 3)]], 1),
        ([[("a", 1), ("b", None)]], 0),
        ([[("a", 1), ("a", None)]], 1),
        ([[("b", 1)], [("a", 2)]], 1),
        ([[("b", 2)], [("b", 1)]], 1),
        ([[(None, 1)], [("b", 2)]], 1),
        ([[("b", 2), ("a", 3)], [("a", 4)]], 1),
    ],
)
def test_rows_out_of_order_are_reported(
    batches: list[list[tuple[str | None, int | None]]], wrong: int
) -> None:
    """By trace id, then log index, rows without a trace id last, across batches too."""
    assert check(*batches) == ["column_differs"] * wrong


def rows_at(*indexes: int | None, **changes: Any) -> pa.RecordBatch:
    """True rows of events at these log indexes, with columns that are changed in all of them."""
    maker = RowMaker(TENANT, WRITER, NOON_NS)
    for number in range(len(indexes)):
        add_event(maker, event(number))
    rows = [
        row | changes | {"log_index": index}
        for row, index in zip(maker.batch(0).to_pylist(), indexes, strict=True)
    ]
    return pa.RecordBatch.from_pylist(rows, SEGMENT_SCHEMA)


def taken(leaves: int, *batches: pa.RecordBatch) -> LeavesReport:
    """What is told of a segment of leaves 10 and on, after these batches of its rows."""
    report = LeavesReport.of(10, leaves)
    marker = Marker(1)
    for rows in batches:
        checked = check_batch(rows, tenant=TENANT, writer=WRITER)
        report.add(rows, checked, "x.parquet", marker=marker)
    return report


@pytest.mark.parametrize(
    ("batches", "strange"),
    [
        ([(10, 11), (12, 13)], []),
        ([(13, 10), (12, 11)], []),
        ([(10, 11, 11, 13)], [11]),
        ([(10, 11), (11, 13)], [11]),
        ([(10, 11), (12, 14)], [14]),
        ([(9, 11), (12, 13)], [9]),
        ([(10, 11), (12, None)], [None]),
    ],
    ids=str,
)
def test_a_leaf_has_one_place_in_its_segment(
    batches: list[tuple[int | None, ...]], strange: list[int | None]
) -> None:
    """A log index that is twice, outside or absent is told, and the others keep their places."""
    report = taken(4, *(rows_at(*indexes) for indexes in batches))
    assert [problem.log_index for problem in report.problems] == strange
    assert all(problem.code == "column_differs" for problem in report.problems)
    assert report.taken == 4 - len(strange)
    assert report.whole == (not strange)
    assert report.event_indexes.count(1) == len({*sum(batches, ())} & {10, 11, 12, 13})


def test_the_problems_of_a_segment_are_bounded() -> None:
    """Of a segment whose rows are all altered a hundred problems are told, in batches too."""
    batches = [rows_at(*range(at, at + 60), action="other") for at in (10, 70)]
    assert len(taken(120, *batches).problems) == 100


def checked(path: Path, table: pa.Table) -> list[str]:
    """The problems of a segment of two leaves that holds this table, received at noon."""
    pq.write_table(table.sort_by([("trace_id", "ascending"), ("log_index", "ascending")]), path)
    name = SegmentName(WRITER, 0, table.num_rows - 1, 0)
    task = SegmentTask(path, TENANT, name, date_of(NOON_NS), file_sha256(path), 1)
    return [problem.code for problem in check_segment(task).problems]


@pytest.mark.parametrize("days", [(0, 0), (0, 1), (-1, 0), (1, 1)], ids=str)
def test_each_row_is_of_the_segments_date(tmp_path: Path, days: tuple[int, int]) -> None:
    """One row of the day before or after is enough to be told."""
    parts = []
    for index, day in enumerate(days):
        maker = RowMaker(TENANT, WRITER, NOON_NS + day * DAY_NS)
        add_event(maker, event(index))
        parts.append(maker.batch(index))
    found = checked(tmp_path / "x.parquet", pa.Table.from_batches(parts))
    assert found == (["wrong_date"] if any(days) else [])


@pytest.mark.parametrize("version", ["intentproof.leaf.v1", "intentproof.leaf.v2"])
def test_a_later_version_may_have_more_columns(tmp_path: Path, version: str) -> None:
    """A column more is tampering, but where a leaf is of a version that we do not know."""
    rows = rows_at(0, 1).to_pylist()
    rows[1]["leaf"] = leaf_bytes(read_leaf(rows[1]["leaf"]) | {"v": version})
    table = pa.Table.from_pylist(rows, SEGMENT_SCHEMA).append_column("more", pa.array([1, 2]))
    later = version.endswith("2")
    assert checked(tmp_path / "x.parquet", table) == (
        ["unsupported"] if later else ["extra_columns"]
    )


@pytest.mark.parametrize("kind", ["genesis", "erasure", "retention", "quarantine"])
def test_what_a_leaf_tells_is_kept(kind: str) -> None:
    """The details by which a log is judged are taken from their leaves, not from the columns."""
    maker = RowMaker(TENANT, WRITER, NOON_NS)
    maker.add_detail(kind, {"n": 1})
    (row,) = maker.batch(10).to_pylist()
    rows = pa.RecordBatch.from_pylist([row | {"detail": '{"n":2}'}], SEGMENT_SCHEMA)
    assert taken(1, rows).details == [(10, kind, '{"n":1}')]
