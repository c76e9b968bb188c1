"""The ids of one segment's events, each with what its record says, in 64 to 130 bytes an id.

Python objects would take three times as much, in pieces so small that the process could not be
sure to give the memory back. Here it is three arrays, large ones mappings of their own. Identity
rests on all 128 bits of an id's key: the hash of the key only says where to look first.
"""

import mmap
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
CELL_WORDS = 2  # an id's key, a content's digest, a number's digest: 16 bytes each
_ROW_WORDS = 3 * CELL_WORDS
_ROWS_MIN = 64
_MAPPED_MIN = 1 << 18  # a process may have some 65,000 mappings, and a store many logs
_SLOTS_A_ROW = 2


@dataclass(frozen=True)
class IdKeys:
    """The ids of a batch: 16 bytes each, and a hash of these that only this process knows."""

    keys: Array
    hashes: Array

    def __len__(self) -> int:
        return len(self.hashes)

    def texts(self) -> list[bytes]:
        """Each key as bytes."""
        raw = self.keys.tobytes()
        return [raw[at : at + 16] for at in range(0, len(raw), 16)]

    def repeated(self) -> Array:
        """Which rows may have the id of another row."""
        ordered = np.sort(self.hashes)
        twice = ordered[1:][ordered[1:] == ordered[:-1]]
        return np.isin(self.hashes, twice, kind="sort") if len(twice) else np.zeros(len(self), bool)


class IdTable:
    """A hash table from an id's key to a row: the key, a content and a number. Not thread-safe."""

    def __init__(self) -> None:
        self._rows = _zeros(_ROWS_MIN * _ROW_WORDS, np.uint64).reshape(-1, _ROW_WORDS)
        self._hashes = _zeros(_ROWS_MIN, np.uint64)
        self._slots = _zeros(_ROWS_MIN * _SLOTS_A_ROW, np.uint32)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """The memory that it holds."""
        return int(self._rows.nbytes + self._hashes.nbytes + self._slots.nbytes)

    @property
    def hashes(self) -> Array:
        """The hashes of all its ids."""
        return self._hashes[: self._count]

    def row(self, place: int) -> tuple[bytes, bytes]:
        """The content and the number that stand at a place."""
        raw = self._rows[place].tobytes()
        return raw[16:32], raw[32:]

    def find(self, ids: IdKeys) -> Array:
        """The place of each id, -1 where it is not here."""
        places = np.full(len(ids), -1, np.int64)
        if not self._count:
            return places
        waiting = np.arange(len(ids))
        slots, steps = self._start(ids.hashes)
        last = np.uint64(len(self._slots) - 1)
        while len(waiting):
            found = self._slots[slots]
            there = np.flatnonzero(found)
            waiting, at = waiting[there], found[there].astype(np.int64) - 1
            same = (self._rows[at, :CELL_WORDS] == ids.keys[waiting]).all(axis=1)
            places[waiting[same]] = at[same]
            others = ~same
            waiting, steps = waiting[others], steps[there][others]
            slots = (slots[there][others] + steps) & last
        return places

    def add(self, ids: IdKeys, contents: Array, numbers: Array | None) -> None:
        """Add ids that are not here, each once."""
        first, self._count = self._count, self._count + len(ids)
        if self._count > len(self._rows):
            self._grow()
        rows = self._rows[first : self._count]
        rows[:, :CELL_WORDS] = ids.keys
        rows[:, CELL_WORDS : 2 * CELL_WORDS] = contents
        rows[:, 2 * CELL_WORDS :] = 0 if numbers is None else numbers
        self._hashes[first : self._count] = ids.hashes
        if self._count * _SLOTS_A_ROW > len(self._slots):
            self._index()
        else:
            self._claim(first)

    def truncate(self, count: int) -> None:
        """Forget all but the first `count` ids."""
        if count < self._count:
            self._count = count
            self._index()

    def _grow(self) -> None:
        rows = self._rows
        size = max(2 * len(rows), 1 << (self._count - 1).bit_length())
        self._rows = _zeros(size * _ROW_WORDS, np.uint64).reshape(-1, _ROW_WORDS)
        self._rows[: len(rows)] = rows
        hashes = self._hashes
        self._hashes = _zeros(size, np.uint64)
        self._hashes[: len(hashes)] = hashes

    def _index(self) -> None:
        size = max(_ROWS_MIN, 1 << (self._count - 1).bit_length() if self._count else 0)
        self._slots = _zeros(2 * size * _SLOTS_A_ROW, np.uint32)
        self._claim(0)

    def _claim(self, first: int) -> None:
        """Give each row from `first` on the first free slot of its way through the table."""
        waiting = np.arange(first + 1, self._count + 1, dtype=np.uint32)
        slots, steps = self._start(self._hashes[first : self._count])
        last = np.uint64(len(self._slots) - 1)
        while len(waiting):
            free = self._slots[slots] == 0
            self._slots[slots[free]] = waiting[free]  # of several rows one wins
            lost = self._slots[slots] != waiting
            waiting, steps = waiting[lost], steps[lost]
            slots = (slots[lost] + steps) & last

    def _start(self, hashes: Array) -> tuple[Array, Array]:
        """Where the way of each id begins, and its stride: odd, so that it meets every slot."""
        slots = hashes & np.uint64(len(self._slots) - 1)
        return slots, (hashes >> np.uint64(32)) | np.uint64(1)


def _zeros(count: int, kind: type[np.uint32 | np.uint64]) -> Array:
    """Zeros; many of them in memory that goes back to the system with them."""
    size = count * np.dtype(kind).itemsize
    if size < _MAPPED_MIN:
        return np.zeros(count, kind)
    return np.frombuffer(mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), kind)
