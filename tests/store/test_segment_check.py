"""What `verify` says of a segment's rows beyond what each says of itself."""

import pyarrow as pa
import pytest
from intentproof_store.verify.segment_check import LeavesReport, _check_order


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
