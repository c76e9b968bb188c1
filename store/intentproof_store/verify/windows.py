"""Whether a leaf was received when it says: between two checkpoints whose time others gave.

A leaf above checkpoint n came after it was signed, and a leaf below it existed when it was cosigned
or stamped. So `received_ns` lies between the times of the checkpoint before and of the one that
covers it. The tolerance is for clocks that differ, and for what lies between signing and the time:
a receiver has no checkpoint cosigned or stamped that lags more than two minutes behind its log.
Stamps come once an hour, and by less than that they cannot tell what is back-dated. Of two stamps
of a checkpoint the earlier counts, and that leaves above one are later only where the log's own key
asked for it: anybody can have an old checkpoint stamped today.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import pyarrow as pa
from intentproof_schemas import microseconds, timestamp

from ..policy import Judgement
from ..ranges import Array
from .report import Problem, StampedTime

TOLERANCE_SECONDS = 300
_STAMP_LAG_SECONDS = 3_600
_SECOND_NS = 10**9
_TIME_S_MAX = (2**63 - 1) // _SECOND_NS - TOLERANCE_SECONDS  # int64 nanoseconds: the year 2262
_LIMITS = np.iinfo(np.int64)
_TOLD_MAX = 20  # of one segment: a clock that was wrong contradicts every row


@dataclass(frozen=True)
class Moment:
    """Others vouch that a checkpoint of `size` leaves existed: when, in Unix seconds.

    Leaves above it are not from before `earliest_s`, where that is known, leaves under it not from
    after `latest_s`.
    """

    size: int
    earliest_s: int | None
    latest_s: int


@dataclass(frozen=True)
class Windows:
    """What moments say of each leaf; they are in order of size."""

    moments: tuple[Moment, ...]

    def bounds_s(self, index: int) -> tuple[int | None, int | None]:
        """Earliest and latest second at which leaf `index` may have been received."""
        earliest, latest = (int(each[0]) for each in self.bounds_ns(np.array([index])))
        return (
            None if earliest == _LIMITS.min else earliest // _SECOND_NS,
            None if latest == _LIMITS.max else latest // _SECOND_NS,
        )

    def bounds_ns(self, indexes: Array) -> tuple[Array, Array]:
        """The same of many leaves, in nanoseconds; the ends of int64 where nothing is known."""
        sizes, earliest, latest = self._table
        at = np.searchsorted(sizes, indexes, side="right")
        return earliest[at], latest[at]

    @cached_property
    def _table(self) -> tuple[Array, Array, Array]:
        """Sizes, and the bounds of leaves below the first, from there to the next, and so on.

        Made once: a log may have a moment for each minute of years.
        """
        sizes = np.array([each.size for each in self.moments], np.int64)
        earliest = [
            _LIMITS.min if each.earliest_s is None else each.earliest_s * _SECOND_NS
            for each in self.moments
        ]
        latest = [each.latest_s * _SECOND_NS for each in self.moments]
        # The last of the moments below a leaf may be less strict than one before it, and so above.
        after = np.maximum.accumulate(np.array([_LIMITS.min, *earliest], np.int64))
        before = np.minimum.accumulate(np.array([_LIMITS.max, *reversed(latest)], np.int64))
        return sizes, after, before[::-1]


class Pieces(Protocol):
    """Where problems of leaves go."""

    problems: list[Problem]


def windows_of(
    judgements: Mapping[int, Judgement], stamps: Sequence[StampedTime]
) -> Windows | None:
    """The windows of a log by witnesses and by time stamps, None where none gave a time.

    `judgements` are of its checkpoints, by size.
    """
    moments = [
        Moment(size, found.witnessed_at - TOLERANCE_SECONDS, found.witnessed_at + TOLERANCE_SECONDS)
        for size, found in judgements.items()
        if found.witnessed_at is not None
    ]
    moments += _stamped(stamps)
    known = [each for each in moments if each.latest_s <= _TIME_S_MAX]
    return Windows(tuple(sorted(known, key=lambda each: each.size))) if known else None


def _stamped(stamps: Sequence[StampedTime]) -> Iterator[Moment]:
    first: dict[int, StampedTime] = {}
    for each in sorted(stamps, key=lambda each: (not each.by_log, each.seconds)):
        first.setdefault(each.size, each)
    for size, each in first.items():
        earliest_s = each.seconds - _STAMP_LAG_SECONDS if each.by_log else None
        yield Moment(size, earliest_s, each.seconds + TOLERANCE_SECONDS)


def check_windows(report: Pieces, windows: Windows | None, rows: pa.RecordBatch, file: str) -> None:
    """Tell each leaf whose `received_ns` lies outside its window.

    The columns are compared with their leaves elsewhere; where one is null that is told there.
    """
    indexes, received = rows.column("log_index"), rows.column("received_ns")
    if windows is None or not rows.num_rows or indexes.null_count or received.null_count:
        return
    places, moments = indexes.to_numpy(), received.to_numpy()
    earliest, latest = windows.bounds_ns(places)
    outside = np.flatnonzero((moments < earliest) | (moments > latest))
    told = sum(problem.code == "outside_window" for problem in report.problems)
    for row in outside[: max(0, _TOLD_MAX - told)].tolist():
        index, received_ns = int(places[row]), int(moments[row])
        report.problems.append(
            Problem("outside_window", _words(windows, index, received_ns), file, index)
        )


def check_moment(windows: Windows, index: int, received_ns: int) -> Problem | None:
    """What is wrong with the time of one leaf, if anything."""
    earliest_s, latest_s = windows.bounds_s(index)
    if (earliest_s is None or received_ns >= earliest_s * _SECOND_NS) and (
        latest_s is None or received_ns <= latest_s * _SECOND_NS
    ):
        return None
    message = _words(windows, index, received_ns)
    return Problem("outside_window", message, log_index=index)


def _words(windows: Windows, index: int, received_ns: int) -> str:
    earliest_s, latest_s = windows.bounds_s(index)
    between = [
        f"not before {_moment(earliest_s * _SECOND_NS)}" if earliest_s is not None else "",
        f"not after {_moment(latest_s * _SECOND_NS)}" if latest_s is not None else "",
    ]
    return (
        f"says it was received at {_moment(received_ns)}, but by the times that others gave it was "
        f"{' and '.join(filter(None, between))}: back-dated, or the receiver's clock was wrong"
    )


def _moment(ns: int) -> str:
    return timestamp(microseconds(ns))
