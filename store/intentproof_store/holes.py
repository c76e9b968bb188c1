"""Holes in the numbers that producers give their events, as one log sees them. Pure.

The numbers stand in the leaves, so that a hole can be computed from the log by anybody: the view
`gaps` does, and a number that comes late closes its hole there. A leaf tells of a hole that stood
for a while, so that whoever reads the log alone is told, too. Memory is bounded: of many streams
the ones that were silent longest are forgotten, and of a stream the oldest holes.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_STREAMS_MAX = 4_096  # of one log
_HOLES_MAX = 64  # of one stream
_TOLD_MAX = 64  # in one leaf, whose limit is 32 KiB


@dataclass
class _Hole:
    first: int
    last: int
    since: float


@dataclass
class _Stream:
    next_number: int
    holes: list[_Hole] = field(default_factory=list)


class Holes:
    """The holes of one log's streams. One thread only."""

    def __init__(self) -> None:
        self._streams: OrderedDict[str, _Stream] = OrderedDict()
        # Of the holes that are kept, or older: it is asked far more often than changed.
        self._oldest = inf

    def see(self, events: pa.RecordBatch, now: float) -> None:
        """Take the numbers of events that are in the log. What came before the first is not known.

        `now` is monotonic seconds.
        """
        given = pc.fill_null(pc.greater(events.column("sequence"), 0), fill_value=False)
        numbered = pc.and_(given, pc.is_valid(events.column("stream_id")))
        if not pc.any(numbered).as_py():
            return
        streams = events.column("stream_id").filter(numbered).dictionary_encode()
        numbers = events.column("sequence").filter(numbered).to_numpy()
        codes = streams.indices.to_numpy()
        # Grouped once: producers choose how many streams there are.
        order = np.argsort(codes, kind="stable")
        codes, numbers = codes[order], numbers[order]
        starts = np.flatnonzero(np.diff(codes, prepend=-1))
        names = streams.dictionary.to_pylist()
        for code, own in zip(codes[starts], np.split(numbers, starts[1:]), strict=True):
            if names[code]:
                self._see(names[code], np.unique(own), now)

    def _see(self, stream_id: str, numbers: "np.ndarray[Any, Any]", now: float) -> None:
        stream = self._streams.setdefault(stream_id, _Stream(int(numbers[0])))
        self._streams.move_to_end(stream_id)
        while len(self._streams) > _STREAMS_MAX:
            self._streams.popitem(last=False)
        late = numbers[: np.searchsorted(numbers, stream.next_number)]
        stream.holes = [part for hole in stream.holes for part in _without(hole, late)]
        del stream.holes[:-_HOLES_MAX]
        new = numbers[len(late) :]
        if not len(new):
            return
        before = np.concatenate(([stream.next_number - 1], new[:-1]))
        for at in np.flatnonzero(new > before + 1).tolist():
            stream.holes.append(_Hole(int(before[at]) + 1, int(new[at]) - 1, now))
            self._oldest = min(self._oldest, now)
        del stream.holes[:-_HOLES_MAX]
        stream.next_number = int(new[-1]) + 1

    def is_due(self, stood_seconds: float, now: float) -> bool:
        """Whether a hole may have stood for that long: `take` knows."""
        return now - self._oldest >= stood_seconds

    def take(self, stood_seconds: float, now: float) -> list[dict[str, Any]]:
        """The holes that stood for that long, up to a leaf's worth; each is told once."""
        told: list[dict[str, Any]] = []
        for stream_id, stream in self._streams.items():
            kept = []
            for hole in stream.holes:
                if now - hole.since >= stood_seconds and len(told) < _TOLD_MAX:
                    told.append({"first": hole.first, "last": hole.last, "stream_id": stream_id})
                else:
                    kept.append(hole)
            stream.holes = kept
        left = (hole.since for stream in self._streams.values() for hole in stream.holes)
        self._oldest = min(left, default=inf)
        return told


def _without(hole: _Hole, late: "np.ndarray[Any, Any]") -> list[_Hole]:
    """What is left of a hole when numbers came late; they are sorted."""
    inside = late[np.searchsorted(late, hole.first) : np.searchsorted(late, hole.last + 1)]
    if not len(inside):
        return [hole]
    edges = [hole.first - 1, *inside.tolist(), hole.last + 1]
    return [
        _Hole(before + 1, after - 1, hole.since)
        for before, after in pairwise(edges)
        if after - before > 1
    ]


def sequence_hole(holes: list[dict[str, Any]]) -> dict[str, Any]:
    """The detail of the `gap` leaf that tells of holes."""
    return {
        "holes": holes,
        "message": "numbers that producers gave did not arrive at this receiver",
        "reason": "sequence_hole",
    }
