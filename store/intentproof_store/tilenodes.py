"""Nodes of a log's tree from its hash tiles, for proofs that do not rehash the log."""

from pathlib import Path

from .layout import TILE_LEVELS, TILE_WIDTH
from .merkle import HASH_BYTES, subtree_root
from .tree import read_tile


class TileNodes:
    """The nodes of the tree of `size` leaves. Reads each tile once; blocks on the disk.

    What the tiles say is not checked here: a proof made of it is, against a signed root.
    """

    def __init__(self, log_folder: Path, size: int) -> None:
        self._folder = log_folder / "tile"
        self._size = size
        self._tiles: dict[tuple[int, int], bytes] = {}

    def node(self, level: int, index: int) -> bytes:
        """The root of the full subtree over leaves [index·2^level, (index+1)·2^level).

        Raises StoreError where no tile reaches.
        """
        tile_level, within = divmod(level, TILE_LEVELS)
        tile, start = divmod(index << within, TILE_WIDTH)
        hashes = self._tile(tile_level, tile)
        return subtree_root(hashes[start * HASH_BYTES :][: HASH_BYTES << within])

    def _tile(self, level: int, tile: int) -> bytes:
        hashes = self._tiles.get((level, tile))
        if hashes is None:
            width = min(TILE_WIDTH, (self._size >> (TILE_LEVELS * level)) - tile * TILE_WIDTH)
            hashes = self._tiles[level, tile] = read_tile(self._folder, level, tile, width)
        return hashes
