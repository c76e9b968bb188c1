"""Whether the tiles that stand are what the leaves make."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..files import read_regular
from ..layout import TILE_WIDTH, tile_path
from ..merkle import HASH_BYTES
from .report import LogReport, Problem
from .spill import Spill


def check_tiles(report: LogReport, levels: Sequence[bytearray | Spill], folder: Path) -> None:
    """Each tile that stands is what the leaves make, as far as the leaves reach."""
    for level, hashes in enumerate(levels):
        for index in range(len(hashes) // (TILE_WIDTH * HASH_BYTES) + 1):
            start = index * TILE_WIDTH * HASH_BYTES
            expected = hashes[start : start + TILE_WIDTH * HASH_BYTES]
            for path in _standing(folder / tile_path(level, index)):
                _check_tile(report, path, folder, bytes(expected))


def _standing(full: Path) -> Iterable[Path]:
    if os.path.lexists(full):
        yield full
    partial = full.with_name(full.name + ".p")
    if partial.is_dir():
        yield from sorted(path for path in partial.iterdir() if path.name.isdigit())


def _check_tile(report: LogReport, path: Path, folder: Path, expected: bytes) -> None:
    try:
        raw = read_regular(path)
    except FileNotFoundError:
        return  # a partial tile that became full while we read
    except OSError as error:
        name = f"tile/{path.relative_to(folder)}"
        report.problems.append(Problem("tile_differs", f"cannot be read: {error}", name))
        return
    width = int(path.name) if path.parent.name.endswith(".p") else TILE_WIDTH
    shared = min(len(raw), len(expected))
    if len(raw) != width * HASH_BYTES or raw[:shared] != expected[:shared]:
        message = "a tile is not what the leaves make"
        report.problems.append(Problem("tile_differs", message, f"tile/{path.relative_to(folder)}"))
