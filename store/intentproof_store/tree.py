"""A log's tree on disk: its hash tiles (C2SP tlog-tiles), and roots from them.

Tiles make restarts and proofs cheap. They are rebuildable while the leaves exist, and evidence
once retention has dropped the leaves; a verifier recomputes them.
"""

from collections.abc import Iterator
from pathlib import Path

from .durable import write_file
from .errors import StoreError
from .layout import TILE_WIDTH, tile_path
from .merkle import HASH_BYTES, Frontier, frontier_ranges, root_of

_TILE_LEVELS = 8  # of the tree in one tile: 2^8 = 256
_TILE_BYTES = TILE_WIDTH * HASH_BYTES


class TileTree:
    """Appends leaf hashes and writes tiles. One thread only; blocks on the disk."""

    def __init__(self, folder: Path, frontier: Frontier, tails: list[bytearray]) -> None:
        self._folder = folder
        self._frontier = frontier
        # tails[L]: hashes of level L that no full tile holds yet.
        self._tails = tails

    @classmethod
    def open(cls, log_folder: Path, size: int) -> "TileTree":
        """The tree of `size` leaves, from its tiles. Raises StoreError where they do not reach."""
        folder = log_folder / "tile"
        tails: list[bytearray] = []
        level = 0
        while size >> (_TILE_LEVELS * level):
            count = size >> (_TILE_LEVELS * level)
            index, width = divmod(count, TILE_WIDTH)
            tails.append(bytearray(read_tile(folder, level, index, width) if width else b""))
            level += 1
        frontier = Frontier(size, [_node(folder, at, n) for at, n in frontier_ranges(size)])
        return cls(folder, frontier, tails)

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return self._frontier.size

    def root(self) -> bytes:
        """The tree's root."""
        return self._frontier.root()

    def extend(self, hashed_leaves: bytes) -> None:
        """Append leaf hashes, 32 bytes each, and write every tile that became full.

        If the disk refuses, the tree is as before, and the same call may be made again.
        """
        tails = [bytearray(tail) for tail in self._tails]
        frontier = self._frontier.copy()
        frontier.extend(hashed_leaves)
        for level, index, tile in _full_tiles(tails, frontier.size, hashed_leaves):
            self._write(level, index, tile)
        self._frontier, self._tails = frontier, tails

    def write_partial(self) -> None:
        """Write the partial tile of each level, as a checkpoint of this size needs them."""
        for level, tail in enumerate(self._tails):
            if tail:
                index = (self.size >> (_TILE_LEVELS * level)) // TILE_WIDTH
                self._write(level, index, bytes(tail))

    def _write(self, level: int, index: int, tile: bytes) -> None:
        path = self._folder / tile_path(level, index, len(tile) // HASH_BYTES)
        write_file(path, tile)
        if len(tile) == TILE_WIDTH * HASH_BYTES:
            partial = path.with_name(path.name + ".p")
            if partial.is_dir():
                for old in partial.iterdir():
                    old.unlink()
                partial.rmdir()


def read_tile(folder: Path, level: int, index: int, width: int) -> bytes:
    """The first `width` hashes of a tile, from the full one or any partial that reaches.

    Raises StoreError where none does.
    """
    full = folder / tile_path(level, index)
    partial = full.with_name(full.name + ".p")
    reach = sorted(partial.iterdir()) if partial.is_dir() else []
    for path in (full, *reach):
        if path.is_file() and (path == full or path.name.isdigit()):
            raw = path.read_bytes()
            if len(raw) >= width * HASH_BYTES:
                return raw[: width * HASH_BYTES]
    raise StoreError(f"no tile {level}/{index} of {width} hashes in {folder}")


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
        first = ((size >> (_TILE_LEVELS * level)) - len(tail) // HASH_BYTES) // TILE_WIDTH
        full = len(tail) // _TILE_BYTES
        parents = bytearray()
        for at in range(full):
            tile = bytes(tail[at * _TILE_BYTES : (at + 1) * _TILE_BYTES])
            yield level, first + at, tile
            parents += root_of(_split(tile))
        del tail[: full * _TILE_BYTES]
        level, hashes = level + 1, bytes(parents)


def _node(folder: Path, level: int, index: int) -> bytes:
    """The root of the subtree of 2^level leaves at `index`, from the tile that holds it."""
    tile_level, within = divmod(level, _TILE_LEVELS)
    first = index << within
    tile_index, start = divmod(first, TILE_WIDTH)
    count = 1 << within
    raw = read_tile(folder, tile_level, tile_index, start + count)
    return root_of(_split(raw[start * HASH_BYTES :]))


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


def _split(hashes: bytes) -> list[bytes]:
    return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
