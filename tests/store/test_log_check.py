"""The tree that `verify` builds by itself."""

import pytest
from intentproof_store.merkle import Frontier, root_of, subtree_root
from intentproof_store.verify.log_check import _TiledFrontier

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
