"""A log's tree on disk: its hash tiles (C2SP tlog-tiles), and roots from them.

Tiles make restarts and proofs cheap. They are rebuildable while the leaves exist, and evidence
once retention has dropped the leaves; a verifier recomputes them.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from .durable import write_files
from .errors import StoreError
from .layout import TILE_LEVELS, TILE_WIDTH, tile_path
from .merkle import HASH_BYTES, Frontier, frontier_ranges, subtree_root

_TILE_BYTES = TILE_WIDTH * HASH_BYTES
_TILES_AT_ONCE = 64


class TileTree:
    """Appends leaf hashes and writes tiles. One thread only; blocks on the disk."""

    def __init__(self, folder: Path, size: int, tails: list[bytearray]) -> None:
        self._folder = folder
        self._size = size
        # tails[L]: hashes of level L that no full tile holds yet.
        self._tails = tails

    @classmethod
    def open(cls, log_folder: Path, size: int) -> "TileTree":
        """The tree of `size` leaves, from its tiles. Raises StoreError where they do not reach."""
        folder = log_folder / "tile"
        tails: list[bytearray] = []
        level = 0
        while size >> (TILE_LEVELS * level):
            count = size >> (TILE_LEVELS * level)
            index, width = divmod(count, TILE_WIDTH)
            tails.append(bytearray(read_tile(folder, level, index, width) if width else b""))
            level += 1
        return cls(folder, size, tails)

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return self._size

    def root(self) -> bytes:
        """The tree's root. Reads a tile for each level that is not at hand."""
        nodes = [self._node(level, index) for level, index in frontier_ranges(self._size)]
        return Frontier(self._size, nodes).root()

    def _node(self, level: int, index: int) -> bytes:
        """The root of the subtree of 2^level leaves at `index`, from the hashes not in full tiles.

        Full subtrees at the end of a tree stand in the tails: a full tile is one hash above.
        """
        tile_level, within = divmod(level, TILE_LEVELS)
        tail = self._tails[tile_level]
        above = self._size >> (TILE_LEVELS * tile_level)
        start = (index << within) - (above - len(tail) // HASH_BYTES)
        run = bytes(tail[start * HASH_BYTES : (start + (1 << within)) * HASH_BYTES])
        return subtree_root(run)

    def extend(self, hashed_leaves: bytes, *, rest: Callable[[], None] = lambda: None) -> None:
        """Append leaf hashes, 32 bytes each, and write every tile that became full.

        If the disk refuses, the tree is as before, and the same call may be made again. `rest` is
        called between pieces of the work.
        """
        tails = [bytearray(tail) for tail in self._tails]
        size = self.size + len(hashed_leaves) // HASH_BYTES
        filled = [
            (self._path(level, index), tile)
            for level, index, tile in _full_tiles(tails, size, hashed_leaves)
        ]
        for at in range(0, len(filled), _TILES_AT_ONCE):
            rest()
            write_files(filled[at : at + _TILES_AT_ONCE])
        _drop_partial({path for path, _ in filled})
        self._size, self._tails = size, tails

    def write_partial(self) -> None:
        """Write the partial tile of each level, as a checkpoint of this size needs them."""
        partial = []
        for level, tail in enumerate(self._tails):
            if tail:
                index = (self.size >> (TILE_LEVELS * level)) // TILE_WIDTH
                partial.append((self._path(level, index, len(tail) // HASH_BYTES), bytes(tail)))
        write_files(partial)

    def _path(self, level: int, index: int, width: int = TILE_WIDTH) -> Path:
        return self._folder / tile_path(level, index, width)


def read_tile(folder: Path, level: int, index: int, width: int) -> bytes:
    """The first `width` hashes of a tile, from the full one or any partial that reaches.

    Raises StoreError where none does.
    """
    full = folder / tile_path(level, index)
    partial = full.with_name(full.name + ".p")
    # The exact width first: a wider partial tile may be of a checkpoint that never came to be.
    others = sorted(partial.iterdir()) if partial.is_dir() else []
    for path in (full, partial / str(width), *others):
        if path.is_file() and (path == full or path.name.isdigit()):
            raw = path.read_bytes()
            if len(raw) >= width * HASH_BYTES:
                return raw[: width * HASH_BYTES]
    raise StoreError(f"no tile {level}/{index} of {width} hashes in {folder}")


def _drop_partial(full: set[Path]) -> None:
    """Delete the partial tiles that full ones make needless (C2SP tlog-tiles)."""
    for folder in {path.parent for path in full}:
        for partials in folder.glob("*.p"):
            if partials.with_suffix("") in full:
                for partial in partials.iterdir():
                    partial.unlink()
                partials.rmdir()


def _full_tiles(
    tails: list[bytearray], size: int, hashed_leaves: bytes
) -> Iterator[tuple[int, int, bytes]]:
    """(level, index, hashes) of the tiles that new leaves fill; `tails` keep what is left."""
    level, hashes = 0, hashed_leaves
    while hashes:
        if level == len(tails):
            tails.append(bytearray())
        tail = tails[level]
        tail += hashes
        first = ((size >> (TILE_LEVELS * level)) - len(tail) // HASH_BYTES) // TILE_WIDTH
        full = len(tail) // _TILE_BYTES
        parents = bytearray()
        for at in range(full):
            tile = bytes(tail[at * _TILE_BYTES : (at + 1) * _TILE_BYTES])
            yield level, first + at, tile
            parents += subtree_root(tile)
        del tail[: full * _TILE_BYTES]
        level, hashes = level + 1, bytes(parents)


def tile_hashes(folder: Path, first: int, end: int) -> bytes:
    """The leaf hashes [first, end) from the tiles of level 0. Raises StoreError."""
    found = bytearray()
    at = first
    while at < end:
        index, start = divmod(at, TILE_WIDTH)
        stop = min(TILE_WIDTH, end - index * TILE_WIDTH)
        found += read_tile(folder, 0, index, stop)[start * HASH_BYTES :]
        at = index * TILE_WIDTH + stop
    return bytes(found)
