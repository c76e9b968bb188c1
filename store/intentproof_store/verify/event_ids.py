"""Is an event's id twice in one log? Found without keeping the ids.

Each id becomes a mark of 128 bits by multilinear hashing (Carter and Wegman; Lemire and Kaser,
"Strongly universal string hashing is fast"): the upper halves of sums of 32-bit words times random
64-bit numbers, which are drawn anew for each run. Two ids have one mark with a chance of 2^-128,
also where somebody chose them: producers choose ids, and must not be able to accuse a log.
"""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .spill import Kept, Spill

Words = npt.NDArray[np.uint64]

_LANES = 4  # 32 bits each
_ID_BYTES_MAX = 256  # contract section 2; of a longer one, the beginning and the length count
_WORD_BYTES = 4
_SHIFT = np.uint64(32)
_ROW_WORDS = 3  # a leaf's log index, and its mark
_PARTS = 256  # by the first eight bits of a mark
_PARTS_SHIFT = np.uint64(56)
_MARKS_AT_ONCE = 1 << 18  # of one part of the marks, some 20 MiB while they are compared


def new_seed() -> int:
    """The seed of one run, for all its processes."""
    return secrets.randbits(128)


class Marker:
    """Makes marks; with the same seed, the same ones."""

    def __init__(self, seed: int) -> None:
        drawn = np.random.default_rng(seed)
        words = _ID_BYTES_MAX // _WORD_BYTES
        self._factors = drawn.integers(0, 2**64, (words, _LANES), np.uint64)
        self._lengths = drawn.integers(0, 2**64, (2, _LANES), np.uint64)

    def marks(self, ids: pa.StringArray) -> Words:
        """Two words for each id; a null is an empty text. Pure."""
        texts, lengths = _padded(ids)
        words = np.ascontiguousarray(texts).view(np.uint32).astype(np.uint64)
        sums = words @ self._factors[: words.shape[1]]  # modulo 2^64, as the method wants it
        sums += np.column_stack((np.ones_like(lengths), lengths)) @ self._lengths
        upper = sums >> _SHIFT
        marks: Words = (upper[:, 0::2] << _SHIFT) | upper[:, 1::2]
        return marks


def _padded(ids: pa.StringArray) -> tuple[npt.NDArray[np.uint8], Words]:
    """The ids' bytes as rows of one width, zeros behind them, and their lengths."""
    offsets = np.frombuffer(ids.buffers()[1], np.int32)[ids.offset : ids.offset + len(ids) + 1]
    data = np.frombuffer(ids.buffers()[2] or b"", np.uint8)
    lengths = np.diff(offsets)
    shown = np.minimum(lengths, _ID_BYTES_MAX)
    width = -(-int(shown.max(initial=1)) // _WORD_BYTES) * _WORD_BYTES
    texts = np.zeros((len(ids), width), np.uint8)
    if len(ids) and (lengths == lengths[0]).all() and lengths[0] <= _ID_BYTES_MAX:
        own = data[offsets[0] : offsets[-1]].reshape(len(ids), -1)
        texts[:, : own.shape[1]] = own
    else:
        filled = np.arange(width) < shown[:, None]
        texts[filled] = data[(offsets[:-1, None] + np.arange(width))[filled]]
    return texts, lengths.astype(np.uint64)


def repeated(marks: Words) -> list[tuple[int, int]]:
    """The places of marks that an earlier place has too, each with that earlier one."""
    if len(marks) < 2:
        return []
    order = np.argsort(marks[:, 0], kind="stable")
    first = marks[order, 0]
    close = np.flatnonzero(first[1:] == first[:-1])
    if not len(close):
        return []
    seen: dict[tuple[int, int], int] = {}
    found = []
    for place in sorted({int(order[at]) for at in (*close, *(close + 1))}):
        mark = (int(marks[place, 0]), int(marks[place, 1]))
        if mark in seen:
            found.append((place, seen[mark]))
        else:
            seen[mark] = place
    return found


@dataclass(frozen=True)
class OrderedMarks:
    """The marks of some leaves by their first word, and where each part of them begins.

    Rows of three words: a leaf's log index and its mark.
    """

    rows: Words | Kept
    begins: npt.NDArray[np.int64]

    @classmethod
    def of(cls, found: Sequence[tuple[Words, Words]], spill: Spill | None = None) -> "OrderedMarks":
        """Log indexes and marks, in memory or in a spill."""
        rows = np.vstack([np.empty((0, _ROW_WORDS), np.uint64), *map(np.column_stack, found)])
        rows = rows[np.argsort(rows[:, 1])]
        begins = np.searchsorted(rows[:, 1] >> _PARTS_SHIFT, np.arange(_PARTS + 1))
        return cls(rows if spill is None else spill.keep(rows.tobytes()), begins)

    def __len__(self) -> int:
        return int(self.begins[-1])

    def part(self, first: int, end: int) -> Words:
        """The rows of parts from the first to before the end."""
        begin, stop = int(self.begins[first]), int(self.begins[end])
        if isinstance(self.rows, Kept):
            size = _ROW_WORDS * 8
            raw = self.rows[begin * size : stop * size]
            return np.frombuffer(raw, np.uint64).reshape(-1, _ROW_WORDS)
        return self.rows[begin:stop]


def repeated_leaves(pieces: Sequence[OrderedMarks]) -> Iterator[tuple[int, int]]:
    """Log indexes of leaves that have one mark, the earlier one first.

    A part of all marks is in memory at a time.
    """
    parts = min(_PARTS, 1 << (sum(map(len, pieces)) // _MARKS_AT_ONCE).bit_length())
    for first in range(0, _PARTS, _PARTS // parts):
        rows = np.vstack([each.part(first, first + _PARTS // parts) for each in pieces])
        for one, other in repeated(rows[:, 1:]):
            lower, upper = sorted((int(rows[one, 0]), int(rows[other, 0])))
            if lower != upper:  # of overlapping files the same leaf is read twice
                yield lower, upper
