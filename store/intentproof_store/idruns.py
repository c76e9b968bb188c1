"""Ids of older segments, by date: sorted runs of 64-bit hashes, eight bytes an id.

An id that is found here may stand in a segment of that date, and is looked up there; one that is
not, does not. Past `RUN_IDS_MAX` ids the oldest dates lose their runs and every id may stand in
them: slower, never wrong.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from .idtable import Array, IdKeys
from .lookup import segment_ids

RUN_IDS_MAX = 32_000_000  # 256 MiB, where a log takes that many in the dates looked at
_RUNS_A_DATE_MAX = 8


class IdRuns:
    """The segments of one log by date, and hashes of the ids in them. One thread only."""

    def __init__(self, keys: Callable[[pa.Array], IdKeys]) -> None:
        self._keys = keys
        self._runs: dict[str, list[Array]] = {}
        self._segments: dict[str, list[Path]] = {}
        self._unread: set[str] = set()
        self._unfiltered: set[str] = set()

    def __len__(self) -> int:
        return sum(len(run) for runs in self._runs.values() for run in runs)

    def __bool__(self) -> bool:
        return bool(self._segments)

    def add_unread(self, day: str, paths: Iterable[Path]) -> None:
        """Tell of segments whose ids are to be read when they are asked for."""
        self._segments.setdefault(day, []).extend(paths)
        self._unread.add(day)

    def add_segment(self, day: str, path: Path) -> None:
        """Tell of a segment whose ids are known, or come by `add_run`."""
        self._segments.setdefault(day, []).append(path)

    def paths(self, days: Iterable[str] | None = None) -> list[Path]:
        """The segments of these dates, or of all."""
        return [path for day in (days or self._segments) for path in self._segments[day]]

    def days(self, start: str, today: str) -> list[str]:
        """The dates to look at: from the window's start on, today always.

        Dates later than today exist where the clock was set back.
        """
        return sorted(day for day in self._segments if day >= min(start, today))

    def maybe(self, hashes: Array, day: str) -> Array:
        """Which of the ids may stand in that day's segments."""
        if day in self._unread:
            self._read(day)
        if day in self._unfiltered:
            return np.ones(len(hashes), bool)
        found = np.zeros(len(hashes), bool)
        for run in self._runs.get(day, ()):
            at = np.searchsorted(run, hashes)
            at[at == len(run)] = 0
            found |= run[at] == hashes
        return found

    def _read(self, day: str) -> None:
        self._unread.discard(day)
        if day not in self._unfiltered:  # else too many to remember
            hashes = [self._keys(segment_ids(path)).hashes for path in self._segments[day]]
            self.add_run(day, np.concatenate(hashes))

    def add_run(self, day: str, hashes: Array) -> None:
        """Remember ids of a segment of that date."""
        if not len(hashes):
            return
        runs = self._runs.setdefault(day, [])
        runs.append(np.sort(hashes))
        if len(runs) > _RUNS_A_DATE_MAX:
            self._runs[day] = [np.sort(np.concatenate(runs))]
        while len(self) > RUN_IDS_MAX:
            oldest = min(self._runs)
            del self._runs[oldest]
            self._unfiltered.add(oldest)
