"""Dropping a whole segment, so that its leaves' hashes still prove what they proved."""

from collections.abc import Callable
from pathlib import Path

from .errors import StoreError
from .merkle import Frontier, frontier_ranges
from .segments import Segment
from .tilenodes import TileNodes
from .tree import tile_hashes


def check_tiles(folder: Path, segment: Segment, signed_root: Callable[[int], bytes]) -> None:
    """Raise StoreError unless the tiles hold the hashes of a segment's leaves.

    Once the leaves are gone the tiles are evidence: they must make the root that was signed when
    the segment was sealed. Reads the segment's tiles and O(log n) others; blocks on the disk.
    """
    first, end = segment.name.first, segment.name.last + 1
    nodes = TileNodes(folder, end)
    tree = Frontier(first, [nodes.node(level, index) for level, index in frontier_ranges(first)])
    tree.extend(tile_hashes(folder / "tile", first, end))
    if tree.root() != signed_root(end):
        raise StoreError(
            f"the tiles in {folder} do not make the root that was signed over {end} leaves: "
            f"{segment.path} is kept, because they would be all that is left of it"
        )
