"""Ids of older segments, by date: sorted runs of 64-bit hashes, eight bytes an id.

An id that is found here may stand in a segment of that date, and is looked up there; one that is
not, does not. Past `HELD_IDS_MAX` ids the runs of a date go from memory into a file.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from .idfile import HashFile
from .idtable import Array, IdKeys
from .lookup import segment_ids

# 16 MiB a log. More would be fewer runs in the file, each of which is searched for each batch: a
# batch of 8,192 events takes a millisecond a run.
HELD_IDS_MAX = 2_000_000
_RUNS_A_DATE_MAX = 8


class IdRuns:
    """The segments of one log by date, and hashes of the ids in them. One thread only.

    `folder` is where the file is made, which has no name.
    """

    def __init__(self, keys: Callable[[pa.Array], IdKeys], folder: Path) -> None:
        self._keys = keys
        self._held: dict[str, list[Array]] = {}
        self._file = HashFile(folder)
        self._filed: dict[str, list[slice]] = {}
        self._segments: dict[str, list[Path]] = {}
        self._unread: dict[str, list[Path]] = {}

    def __len__(self) -> int:
        """How many ids are in memory."""
        return sum(map(_ids, self._held.values()))

    def __bool__(self) -> bool:
        return bool(self._segments)

    def add_unread(self, day: str, paths: Iterable[Path]) -> None:
        """Tell of segments whose ids are to be read when they are asked for."""
        paths = list(paths)
        self._segments.setdefault(day, []).extend(paths)
        self._unread.setdefault(day, []).extend(paths)

    def add_segment(self, day: str, path: Path) -> None:
        """Tell of a segment whose ids are known, or come by `add_run`."""
        self._segments.setdefault(day, []).append(path)

    def replace(self, day: str, old: Path, new: Path | None) -> None:
        """Another file took a segment's place, or none: its leaves were dropped."""
        for known in (self._segments, self._unread):
            if old in known.get(day, ()):
                others = [each for each in known[day] if each != old]
                known[day] = others if new is None else [*others, new]
                if not known[day]:
                    del known[day]

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
        order = np.argsort(hashes)
        wanted = hashes[order]  # in order, they are looked for four times as fast
        found = np.zeros(len(hashes), bool)
        filed = map(self._file.read, self._filed.get(day, ()))
        for run in (*self._held.get(day, ()), *filed):
            at = np.searchsorted(run, wanted)
            at[at == len(run)] = 0
            found[order] |= run[at] == wanted
        return found

    def _read(self, day: str) -> None:
        unread = self._unread[day]
        while unread:
            self.add_run(day, self._keys(segment_ids(unread[-1])).hashes)
            unread.pop()  # not before: what could not be read is read for the next batch
        del self._unread[day]

    def add_run(self, day: str, hashes: Array) -> None:
        """Remember ids of a segment of that date."""
        if not len(hashes):
            return
        runs = self._held.setdefault(day, [])
        runs.append(np.sort(hashes))
        if len(runs) > _RUNS_A_DATE_MAX:
            self._held[day] = [_merged(runs)]
        while len(self) > HELD_IDS_MAX and self._file_largest():
            pass

    def _file_largest(self) -> bool:
        """Move the date with most ids in memory into the file; whether the disk took it."""
        day = max(self._held, key=lambda each: _ids(self._held[each]))
        try:
            place = self._file.append(_merged(self._held[day]))
        except OSError:
            return False  # it stays in memory, and is tried again with the next run
        self._filed.setdefault(day, []).append(place)
        del self._held[day]
        return True


def _ids(runs: Sequence[Array]) -> int:
    return sum(map(len, runs))


def _merged(runs: Sequence[Array]) -> Array:
    merged: Array = np.concatenate(runs)
    merged.sort()
    return merged
