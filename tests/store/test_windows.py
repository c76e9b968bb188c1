"""When a leaf may have been received, by the times that others gave."""

from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_store.note import Checkpoint
from intentproof_store.policy import Judgement
from intentproof_store.verify.leaves import LeavesReport
from intentproof_store.verify.report import StampedTime
from intentproof_store.verify.windows import (
    Moment,
    Windows,
    check_moment,
    check_windows,
    windows_of,
)

from tests.examples import examples

SECOND_NS = 10**9
TIME_S = 1_795_262_400

seconds = st.integers(0, 100)
moments = st.lists(st.builds(Moment, st.integers(0, 12), st.none() | seconds, seconds), min_size=1)


@settings(max_examples=examples(200), deadline=None)
@given(moments=moments, received=st.lists(seconds, min_size=1, max_size=12))
def test_every_moment_counts(moments: list[Moment], received: list[int]) -> None:
    """Of a batch at once and of one leaf alone it is told the same: any moment that it breaks."""
    windows = Windows(tuple(sorted(moments, key=lambda each: each.size)))
    wrong = [
        index
        for index, at_s in enumerate(received)
        if any(
            each.earliest_s is not None and at_s < each.earliest_s
            if each.size <= index
            else at_s > each.latest_s
            for each in moments
        )
    ]
    rows = pa.RecordBatch.from_pydict(
        {
            "log_index": pa.array(range(len(received)), pa.int64()),
            "received_ns": pa.array([at_s * SECOND_NS for at_s in received], pa.int64()),
        }
    )
    report = LeavesReport.of(0, len(received))
    check_windows(report, windows, rows, "x.parquet")
    assert [problem.log_index for problem in report.problems] == wrong
    alone = [check_moment(windows, at, at_s * SECOND_NS) for at, at_s in enumerate(received)]
    assert [each.log_index for each in alone if each is not None] == wrong


def test_witnesses_and_stamps_together() -> None:
    """A cosignature is close to its checkpoint, a stamp may come an hour later."""
    of = Checkpoint("log.example/acme/w-00000000", 5, bytes(32))
    met = Judgement(
        of, {"w1": TIME_S}, is_met=True, witnessed_at=TIME_S, missing=(), unsupported=()
    )
    unmet = replace(met, times={}, is_met=False, witnessed_at=None, missing=("w1",))
    judged = {5: met, 3: unmet}
    found = windows_of(judged, [StampedTime(4, TIME_S - 10, "anchor.4", by_log=True)])
    assert found is not None
    assert found.bounds_s(3) == (None, TIME_S + 290)
    assert found.bounds_s(4) == (TIME_S - 3_610, TIME_S + 300)
    assert found.bounds_s(5) == (TIME_S - 300, None)


def test_a_stamp_that_somebody_else_asked_for_bounds_nothing_above_it() -> None:
    """Who holds the disk can have an old checkpoint stamped today, and an old anchor, too."""
    own = StampedTime(4, TIME_S, "anchor.4", by_log=True)
    again = StampedTime(4, TIME_S + 90_000, "anchor.4.again", by_log=True)
    others = StampedTime(4, TIME_S - 90_000, "anchor.4.others")
    found = windows_of({}, [again, others, own])
    assert found is not None
    assert found.bounds_s(4) == (TIME_S - 3_600, None)
    alone = windows_of({}, [others])
    assert alone is not None
    assert (alone.bounds_s(4), alone.bounds_s(3)) == ((None, None), (None, TIME_S - 89_700))


@pytest.mark.parametrize("seconds", [2**63 // SECOND_NS, 2**63])
def test_times_beyond_the_year_2262_are_none(seconds: int) -> None:
    """Leaves tell nanoseconds in 64 bits: of such a time nothing follows."""
    assert windows_of({}, [StampedTime(4, seconds, "anchor.4")]) is None
    assert windows_of({}, []) is None
