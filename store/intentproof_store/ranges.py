"""Sets of log indexes, as the details of leaves list them: one by one, or [first, last]. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

Array = np.ndarray[Any, Any]

INDEX_MAX = 2**53 - 1  # the largest integer that JSON shares


@dataclass(frozen=True)
class Ranges:
    """Log indexes as ascending inclusive ranges that neither overlap nor touch."""

    pairs: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, int]]) -> Self:
        """From ranges in any order, which may overlap."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted(pairs):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return cls(tuple(merged))

    @classmethod
    def of_indexes(cls, indexes: Iterable[int]) -> Self:
        """From single indexes in any order."""
        return cls.of((index, index) for index in indexes)

    @classmethod
    def of_sorted(cls, indexes: Array) -> Self:
        """From ascending indexes, each once."""
        if not len(indexes):
            return cls()
        ends = np.flatnonzero(np.diff(indexes) != 1)
        firsts = indexes[np.concatenate([[0], ends + 1])].tolist()
        lasts = indexes[np.concatenate([ends, [len(indexes) - 1]])].tolist()
        return cls(tuple(zip(firsts, lasts, strict=True)))

    @classmethod
    def read(cls, listed: object, *, below: int = INDEX_MAX + 1) -> Self:
        """From a detail's list. What is no index or range, and what is not `below`, is left out."""
        found: list[tuple[int, int]] = []
        for each in listed if isinstance(listed, list) else ():
            pair = each if isinstance(each, list) else [each, each]
            if len(pair) == 2 and all(type(number) is int for number in pair):
                first, last = max(0, pair[0]), min(pair[1], below - 1, INDEX_MAX)
                if first <= last:
                    found.append((first, last))
        return cls.of(found)

    def listed(self) -> list[int | list[int]]:
        """As a detail lists them."""
        return [first if first == last else [first, last] for first, last in self.pairs]

    def contains(self, indexes: Array) -> Array:
        """Which of these indexes are in the set."""
        if not self.pairs or not len(indexes):
            return np.zeros(len(indexes), bool)
        firsts, lasts = np.array(self.pairs, np.int64).T
        at = np.searchsorted(firsts, indexes, side="right") - 1
        inside: Array = (at >= 0) & (indexes <= lasts[np.maximum(at, 0)])
        return inside

    def meets(self, first: int, last: int) -> bool:
        """Whether any index of [first, last] is in the set."""
        at = bisect_right(self.pairs, last, key=_first) - 1
        return at >= 0 and self.pairs[at][1] >= first

    def meets_any(self, other: "Ranges") -> bool:
        """Whether the two sets have an index in common."""
        few, many = sorted((self, other), key=lambda each: len(each.pairs))
        return any(many.meets(first, last) for first, last in few.pairs)

    def covers(self, first: int, last: int) -> bool:
        """Whether every index of [first, last] is in the set."""
        at = bisect_right(self.pairs, first, key=_first) - 1
        return at >= 0 and self.pairs[at][1] >= last

    def lacks(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """The parts of [first, last] that are not in the set."""
        for low, high in self.pairs:
            if low > last:
                break
            if high < first:
                continue
            if low > first:
                yield first, low - 1
            first = high + 1
        if first <= last:
            yield first, last

    def pieces(self, bytes_max: int) -> Iterator["Ranges"]:
        """The set in parts whose lists take at most about `bytes_max` bytes of JSON each."""
        part: list[tuple[int, int]] = []
        size = 0
        for first, last in self.pairs:
            length = len(f"[{first},{last}],")
            if part and size + length > bytes_max:
                yield Ranges(tuple(part))
                part, size = [], 0
            part.append((first, last))
            size += length
        if part:
            yield Ranges(tuple(part))

    def parts(self, indexes_max: int) -> Iterator["Ranges"]:
        """The set in parts of at most so many indexes, in order."""
        part: list[tuple[int, int]] = []
        left = indexes_max
        for first, last in self.pairs:
            start = first
            while start <= last:
                end = min(last, start + left - 1)
                part.append((start, end))
                left -= end - start + 1
                start = end + 1
                if not left:
                    yield Ranges(tuple(part))
                    part, left = [], indexes_max
        if part:
            yield Ranges(tuple(part))

    def __len__(self) -> int:
        """How many indexes are in it."""
        return sum(last - first + 1 for first, last in self.pairs)

    def __bool__(self) -> bool:
        return bool(self.pairs)


def _first(pair: tuple[int, int]) -> int:
    return pair[0]
