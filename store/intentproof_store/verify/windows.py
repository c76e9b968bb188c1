"""Whether a leaf was received when it says: between two checkpoints whose time witnesses gave.

A leaf above the witnessed checkpoint n came after it was signed, and a leaf below it existed when
it was cosigned. So `received_ns` lies between the times of the checkpoint before and of the one
that covers it. The tolerance is for clocks that differ, and for what lies between signing and
cosigning: a receiver sends no checkpoint that lags more than two minutes behind its log.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from intentproof_schemas import microseconds, timestamp

from .notes import SignedSizes
from .report import Problem

TOLERANCE_SECONDS = 300
_SECOND_NS = 10**9
_TIME_S_MAX = (2**63 - 1) // _SECOND_NS - TOLERANCE_SECONDS  # of int64 nanoseconds: the year 2262
_TOLD_MAX = 20  # of one segment: a clock that was wrong contradicts every row


@dataclass(frozen=True)
class Windows:
    """Sizes of the witnessed checkpoints, ascending, and when each reached its quorum (Unix s)."""

    sizes: tuple[int, ...]
    times_s: tuple[int, ...]

    def bounds_s(self, index: int) -> tuple[int | None, int | None]:
        """Earliest and latest second at which leaf `index` may have been received."""
        at = sum(size <= index for size in self.sizes)
        earliest = self.times_s[at - 1] - TOLERANCE_SECONDS if at else None
        latest = self.times_s[at] + TOLERANCE_SECONDS if at < len(self.sizes) else None
        return earliest, latest


class Pieces(Protocol):
    """Where problems of leaves go."""

    problems: list[Problem]


def windows_of(signed: SignedSizes) -> Windows | None:
    """The windows of a log, None where no witness gave a time."""
    times = {
        size: judgement.witnessed_at
        for size, judgement in (signed.judgements or {}).items()
        if judgement.witnessed_at is not None and judgement.witnessed_at <= _TIME_S_MAX
    }
    return Windows(tuple(sorted(times)), tuple(times[s] for s in sorted(times))) if times else None


def check_windows(report: Pieces, windows: Windows | None, rows: pa.RecordBatch, file: str) -> None:
    """Tell each leaf whose `received_ns` lies outside its window.

    The columns are compared with their leaves elsewhere; where one is null that is told there.
    """
    indexes, received = rows.column("log_index"), rows.column("received_ns")
    if windows is None or not rows.num_rows or indexes.null_count or received.null_count:
        return
    places, moments = indexes.to_numpy(), received.to_numpy()
    at = np.searchsorted(np.array(windows.sizes, np.int64), places, side="right")
    times_ns = np.array(windows.times_s, np.int64) * _SECOND_NS
    tolerance_ns = TOLERANCE_SECONDS * _SECOND_NS
    limits = np.iinfo(np.int64)
    earliest = np.concatenate(([limits.min], times_ns - tolerance_ns))[at]
    latest = np.concatenate((times_ns + tolerance_ns, [limits.max]))[at]
    outside = np.flatnonzero((moments < earliest) | (moments > latest))
    told = sum(problem.code == "outside_window" for problem in report.problems)
    for row in outside[: max(0, _TOLD_MAX - told)].tolist():
        index, received_ns = int(places[row]), int(moments[row])
        report.problems.append(
            Problem("outside_window", _words(windows, index, received_ns), file, index)
        )


def _words(windows: Windows, index: int, received_ns: int) -> str:
    earliest_s, latest_s = windows.bounds_s(index)
    between = [
        f"not before {_moment(earliest_s * _SECOND_NS)}" if earliest_s is not None else "",
        f"not after {_moment(latest_s * _SECOND_NS)}" if latest_s is not None else "",
    ]
    return (
        f"says it was received at {_moment(received_ns)}, but by the witnesses' times it was "
        f"{' and '.join(filter(None, between))}: back-dated, or the receiver's clock was wrong"
    )


def _moment(ns: int) -> str:
    return timestamp(microseconds(ns))
