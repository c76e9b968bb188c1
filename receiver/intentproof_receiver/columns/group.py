"""Spans of a block by shape: the same keys in the same order, with values of the same types."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from .wire import Numbers, SpanColumns

PAIRS_MAX = 128  # attributes of a span whose shape is worth a plan
_TYPES = 8
_random = np.random.default_rng(0x1A7E)
# Odd, so that no key at any place is without effect. Spans that only seem to be alike are found.
_WEIGHTS = _random.integers(0, 1 << 63, PAIRS_MAX, np.uint64) * np.uint64(2) + np.uint64(1)

Keys = tuple[bytes, ...]
Types = tuple[int, ...]


@dataclass(frozen=True)
class Shape:
    """What spans of one group have in common."""

    keys: Keys
    types: Types


@dataclass(frozen=True)
class Group:
    """Spans of one shape: their places in the block, in order."""

    spans: SpanColumns
    shape: Shape
    rows: Numbers

    def only(self, kept: Numbers) -> "Group":
        """The group without the spans for which `kept` is false."""
        return Group(self.spans, self.shape, self.rows[kept])

    def values(self, place: int) -> pa.Array:
        """The values of the attribute at a place of the shape."""
        at = self.spans.starts[self.rows] + place
        return self.spans.values[self.shape.types[place]].take(pa.array(at))

    def field(self, name: str) -> pa.Array:
        """A field of the spans."""
        return _taken(self.spans.fields.column(name), self.rows)

    def names(self) -> pa.Array:
        """The spans' names."""
        return _taken(self.spans.names, self.rows)


def _taken(column: pa.Array, rows: Numbers) -> pa.Array:
    return column if len(rows) == len(column) else column.take(pa.array(rows))


def groups_of(spans: SpanColumns, usable: Numbers, *, smallest: int) -> Iterator[Group]:
    """The usable spans by shape, where at least `smallest` have it; the others are in no group."""
    counts = np.diff(spans.starts)
    rows = np.flatnonzero(usable & (counts <= PAIRS_MAX))
    if len(rows) < smallest:
        return
    encoded = spans.keys.dictionary_encode()
    codes = encoded.indices.to_numpy().astype(np.int64) * _TYPES + spans.types
    keys = encoded.dictionary.to_pylist()
    for alike in _alike(codes, spans.starts, counts, rows):
        if len(alike) < smallest:
            continue
        count = int(counts[alike[0]])
        matrix = codes[spans.starts[alike][:, None] + np.arange(count)]
        alike = alike[(matrix == matrix[0]).all(axis=1)]
        first = matrix[0].tolist()
        shape = Shape(
            tuple(keys[code // _TYPES] for code in first), tuple(code % _TYPES for code in first)
        )
        yield Group(spans, shape, alike)


def _alike(codes: Numbers, starts: Numbers, counts: Numbers, rows: Numbers) -> Iterator[Numbers]:
    """Rows whose attributes have one weighted sum and number: most likely of one shape."""
    count = int(counts[0])
    if count and len(rows) == len(counts) and (counts == count).all():
        matrix = codes.reshape(-1, count)
        if (matrix == matrix[0]).all():  # as it is where one program sends
            yield rows
            return
    places = np.arange(len(codes)) - np.repeat(starts[:-1], counts)
    weighted = (codes + 1).astype(np.uint64) * _WEIGHTS[np.minimum(places, PAIRS_MAX - 1)]
    sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(weighted)))
    marks = (sums[starts[1:]] - sums[starts[:-1]])[rows]
    marks = marks * np.uint64(PAIRS_MAX + 1) + counts[rows].astype(np.uint64)
    order = np.argsort(marks, kind="stable")
    edges = np.flatnonzero(np.diff(marks[order])) + 1
    yield from np.split(rows[order], edges)
