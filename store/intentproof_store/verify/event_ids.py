"""Is an event's id twice in one log? Found without keeping the ids.

Each id becomes a mark of 128 bits by multilinear hashing (Carter and Wegman; Lemire and Kaser,
"Strongly universal string hashing is fast"): the upper halves of sums of 32-bit words times random
64-bit numbers, which are drawn anew for each run. Two ids have one mark with a chance of 2^-128,
also where somebody chose them: producers choose ids, and must not be able to accuse a log.
"""

import secrets

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Words = npt.NDArray[np.uint64]

_LANES = 4  # 32 bits each
_ID_BYTES_MAX = 256  # contract section 2; of a longer one, the beginning and the length count
_WORD_BYTES = 4
_SHIFT = np.uint64(32)


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
