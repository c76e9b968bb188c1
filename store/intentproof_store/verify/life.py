"""What a log tells of its own life, from its hashed bytes: when it was alive, and who else writes.

Pure. The leaves that matter here are few; of all others only their times of receipt count.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import orjson

from ..note import VerifierKey

SECOND_NS = 10**9
SILENCE_NS = 60 * SECOND_NS  # no log promises a sign of life more often
LIFE_KINDS = ("genesis", "heartbeat", "gap", "writer-added", "writer-retired", "key-rotation")

Array = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class LifeLeaf:
    """A leaf of one of LIFE_KINDS."""

    index: int
    kind: str
    received_ns: int
    detail: Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """Leaves one after the other, each received within a minute of the one before."""

    first: int
    end: int
    from_ns: int
    to_ns: int


class Piece(Protocol):
    """Consecutive leaves, as far as this module looks at them."""

    @property
    def life(self) -> Sequence[LifeLeaf]:
        """The leaves of LIFE_KINDS."""

    @property
    def runs(self) -> Sequence[Run]:
        """When they were received; empty where nobody asked."""


class Signed(Protocol):
    """What was signed of a log, as far as this module looks at it."""

    @property
    def roots(self) -> Mapping[int, bytes]:
        """Roots by size."""

    @property
    def signers(self) -> Mapping[int, set[VerifierKey]]:
        """Keys by size."""

    def times_ns(self) -> Mapping[int, int] | None:
        """When witnesses cosigned, by size; None where no quorum of them is asked for."""


@dataclass(frozen=True)
class Life:
    """One log's life as far as a checkpoint covers it.

    `roots` and `signers`: what was signed, and by which keys of the reader's, by size.
    `witnessed_ns`: when each size reached the quorum of witnesses; None where none is asked for.
    """

    leaves: Sequence[LifeLeaf] = ()
    runs: Sequence[Run] = ()
    size: int = 0
    roots: Mapping[int, bytes] = field(default_factory=dict)
    signers: Mapping[int, set[VerifierKey]] = field(default_factory=dict)
    witnessed_ns: Mapping[int, int] | None = None

    @classmethod
    def of(cls, pieces: Iterable[Piece], size: int, signed: Signed) -> "Life":
        """The life below the signed size, from pieces in the order of their leaves."""
        leaves, runs = [], []
        for piece in pieces:
            leaves += [leaf for leaf in piece.life if leaf.index < size]
            runs += [_clipped(run, size) for run in piece.runs if run.first < size]
        return cls(
            sorted(leaves, key=lambda leaf: leaf.index),
            runs,
            size,
            signed.roots,
            signed.signers,
            signed.times_ns(),
        )

    def silences(self) -> Iterator[tuple[int, int, int]]:
        """(index, from, to): nothing was received in between, then the leaf at that index."""
        for before, after in pairwise(self.runs):
            if before.end == after.first and after.from_ns - before.to_ns > SILENCE_NS:
                yield after.first, before.to_ns, after.from_ns

    def holes(self) -> Iterator[tuple[int, int, int]]:
        """(index, from, to): the leaves received in between, from that index on, are not here."""
        for before, after in pairwise(self.runs):
            if before.end != after.first:
                yield before.end, before.to_ns, after.from_ns


def _clipped(run: Run, size: int) -> Run:
    """The run below a size; of a part, only its beginning is certain."""
    return run if run.end <= size else Run(run.first, size, run.from_ns, run.from_ns)


def life_leaf(index: int, members: Mapping[str, Any]) -> LifeLeaf | None:
    """A leaf by its parsed bytes, None where it cannot be read."""
    try:
        detail = orjson.loads(members.get("detail", "{}"))
        received_ns = int(members["received_ns"])
    except (ValueError, TypeError, KeyError):
        return None
    if not isinstance(detail, dict):
        return None
    return LifeLeaf(index, str(members.get("kind", "")), received_ns, detail)


def runs_of(indexes: Array, received_ns: Array) -> list[Run]:
    """The runs of leaves at these indexes, in any order, received at these times."""
    if not len(indexes):
        return []
    order = np.argsort(indexes, kind="stable")
    at, when = indexes[order], received_ns[order]
    breaks = np.flatnonzero(np.abs(np.diff(when)) > SILENCE_NS) + 1
    starts = np.concatenate(([0], breaks))
    ends = np.concatenate((breaks, [len(at)]))
    return [
        Run(int(at[start]), int(at[end - 1]) + 1, int(when[start]), int(when[end - 1]))
        for start, end in zip(starts, ends, strict=True)
    ]
