"""The tree that `verify` builds by itself."""

import pytest
from intentproof_store.merkle import Frontier, leaf_hash, root_of, subtree_root
from intentproof_store.verify.leaves import LeavesReport
from intentproof_store.verify.log_check import Gathered, _in_order, _TiledFrontier
from intentproof_store.verify.report import LogReport

from tests.store.test_tree import HASHES, joined


@pytest.mark.parametrize("step", [1, 100, 255, 256, 257, 5_000, 70_000])
def test_the_tiles_above_the_leaves_are_the_roots_below_them(step: int) -> None:
    """However the leaves come, every full tile gives one hash to the level above it."""
    frontier, plain = _TiledFrontier(), Frontier()
    for at in range(0, len(HASHES), step):
        frontier.extend(joined(at, min(at + step, len(HASHES))))
    plain.extend(joined(0, len(HASHES)))
    assert (frontier.size, frontier.nodes) == (plain.size, plain.nodes)
    tiles = [joined(at, at + 256) for at in range(0, len(HASHES) - 255, 256)]
    first = b"".join(subtree_root(tile) for tile in tiles)
    assert bytes(frontier.tiles[0]) == first
    assert bytes(frontier.tiles[1]) == root_of(HASHES[:65_536])
    assert len(frontier.tiles) == 2


def leaves(first: int, end: int, mark: int = 0) -> LeavesReport:
    report = LeavesReport.of(first, end - first)
    report.own_hashes[:] = b"".join(leaf_hash(b"%d %d" % (mark, at)) for at in range(first, end))
    return report


@pytest.mark.parametrize("mark", [0, 1])
def test_hot_leaves_that_are_sealed_too_must_be_the_same(mark: int) -> None:
    """A hot frame and a segment that tell other leaves for one place are a problem."""
    report = LogReport("acme", "w-00000001")
    pieces = _in_order(report, Gathered([leaves(0, 9)], [leaves(3, 5, mark)]))
    assert [piece.first for piece in pieces] == [0]
    assert [problem.code for problem in report.problems] == ["hot_differs"] * mark


def test_hot_leaves_stand_where_their_segment_is_gone() -> None:
    """Hot leaves between two segments are taken at their place, and nothing is missing."""
    report = LogReport("acme", "w-00000001")
    sealed = [leaves(0, 4), leaves(8, 12)]
    pieces = _in_order(report, Gathered(sealed, [leaves(12, 14), leaves(4, 8)]))
    assert [piece.first for piece in pieces] == [0, 4, 8, 12]
    assert report.problems == []
