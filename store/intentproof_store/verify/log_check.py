"""One log: its leaves in order, the roots that they make, and what was signed of them.

The steps, as `check_log` numbers them:

1. Leaves from segments and hot frames, in order; where both have one, they agree.
2. Places that nobody holds: hashes from the tiles bridge them. The leaves are missing, unless a
   signed retention leaf says that they were dropped.
3. At each signed size the root is what was signed.
4. Tiles are what the leaves make.
5. Sealed leaves above every checkpoint have a hot record; leaves under one are all at hand.
6. The first leaf is the genesis.
7. Erased halves are named by an erasure or retention leaf; quarantined bytes are whole.
8. No event stands in the log twice.
"""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import StoreError
from ..layout import TILE_LEVELS
from ..merkle import HASH_BYTES, Frontier, node_hash
from ..tree import tile_hashes
from .erased import Claims, check_erased, claims_of, tell_missing
from .leaves import LeavesReport
from .life import Life
from .notes import SignedSizes
from .report import LogReport, Problem
from .spill import Spill
from .tile_check import check_tiles
from .told import check_quarantine, check_repeated, tell_losses

_REMARKS = ("unsupported", "unknown_kind", "gap", "erasure_unfinished", "stamp_untrusted")


@dataclass(frozen=True)
class LogFolders:
    """Where a log's own files are."""

    log: Path
    quarantine: Path


@dataclass(frozen=True)
class Gathered:
    """All the leaves of a log that are at hand, each report in the order of its first leaf."""

    sealed: Sequence[LeavesReport]
    hot: Sequence[LeavesReport]


class _TiledFrontier(Frontier):
    """A frontier that keeps the hashes of the tiles above the leaves: it makes each on its way."""

    __slots__ = ("tiles",)

    def __init__(self) -> None:
        super().__init__()
        self.tiles: list[bytearray] = []  # of level 1 on

    def append_subtree(self, root: bytes, level: int) -> None:
        """As in a frontier; every eighth level above the leaves stands in a tile."""
        node, above, end = root, self.size >> level, self.size + (1 << level)
        self._keep(node, level)
        while above & 1:
            node = node_hash(self.nodes.pop(), node)
            above >>= 1
            level += 1
            self._keep(node, level)
        self.nodes.append(node)
        self.size = end

    def _keep(self, node: bytes, level: int) -> None:
        if level and level % TILE_LEVELS == 0:
            if level // TILE_LEVELS > len(self.tiles):
                self.tiles.append(bytearray())
            self.tiles[level // TILE_LEVELS - 1] += node


class _Walk:
    """The tree while it grows, with the hashes of the tiles' levels."""

    def __init__(self) -> None:
        self.frontier = _TiledFrontier()
        self.leaves = Spill()
        self.roots: dict[int, bytes] = {}

    @property
    def levels(self) -> list[bytearray | Spill]:
        """The hashes of every level of tiles."""
        return [self.leaves, *self.frontier.tiles]

    def extend(self, hashes: bytes, stops: Iterator[int], stop: int | None) -> int | None:
        """Append leaf hashes, noting the root at every stop; the next stop."""
        at = 0
        while at < len(hashes):
            end = len(hashes)
            if stop is not None:
                end = min(end, at + (stop - self.frontier.size) * HASH_BYTES)
            self.frontier.extend(hashes[at:end])
            at = end
            while stop is not None and stop <= self.frontier.size:
                self.roots[stop] = self.frontier.root()
                stop = next(stops, None)
        self.leaves.append(hashes)
        return stop


def check_log(
    report: LogReport,
    gathered: Gathered,
    signed: SignedSizes,
    folders: LogFolders,
    *,
    sealed_only: bool,
) -> None:
    """Judge one log; what is found goes into `report`."""
    sealed_end = max((leaves.end for leaves in gathered.sealed), default=0)
    sizes = sorted(size for size in signed.roots if not sealed_only or size <= sealed_end)
    report.checkpoint_size = sizes[-1] if sizes else 0
    for leaves in (*gathered.sealed, *gathered.hot):
        report.problems.extend(leaves.problems)  # what is nearest to the bytes comes first
    pieces = _in_order(report, gathered)  # (1)
    claims = claims_of(pieces, report.checkpoint_size)
    walk = _walk(report, pieces, sizes, folders, claims)  # (2)
    check_repeated(report, pieces)  # (8)
    if all(leaves.whole for leaves in pieces):  # of a damaged file only itself is to blame
        _check_roots(report, walk, signed, sizes)  # (3)
        check_tiles(report, walk.levels, folders.log / "tile")  # (4)
        _check_genesis(report, gathered)  # (6)
    _check_cover(report, gathered, walk, sizes, sealed_end, sealed_only=sealed_only)  # (5)
    check_erased(report, pieces, claims)  # (7)
    check_quarantine(
        report, (*gathered.sealed, *gathered.hot), folders.quarantine, claims.quarantined
    )
    tell_losses(report, (*gathered.sealed, *gathered.hot))
    report.life = Life.of(pieces, report.checkpoint_size, signed)
    report.size = walk.frontier.size
    report.root = base64.b64encode(walk.frontier.root()).decode()
    if not any(problem.code not in _REMARKS for problem in report.problems):
        report.events_verified = _events_below(pieces, _vouched(report, signed))


def _vouched(report: LogReport, signed: SignedSizes) -> int:
    """Up to which leaf checkpoints count; what only the store itself vouches for is told."""
    if signed.judgements is not None:
        return report.anchor_size
    if signed.vouched is None or signed.vouched >= report.size:
        return report.checkpoint_size
    report.beyond = report.size - signed.vouched
    message = (
        f"{report.beyond} leaves above the checkpoint that you brought: give --key to judge them"
    )
    report.problems.append(Problem("not_vouched", message, log_index=signed.vouched))
    return signed.vouched


def _in_order(report: LogReport, gathered: Gathered) -> list[LeavesReport]:
    """Segments first; of hot frames, what no segment has. Both sides must tell the same."""
    pieces = list(gathered.sealed)
    end = max((leaves.end for leaves in pieces), default=0)
    for leaves in gathered.hot:
        overlap = _find(gathered.sealed, leaves.first)
        if overlap is not None:
            _compare(report, overlap, leaves)
        elif leaves.first >= end:
            pieces.append(leaves)
            end = leaves.end
        else:
            pieces.append(leaves)
    return sorted(pieces, key=lambda leaves: leaves.first)


def _find(sealed: Sequence[LeavesReport], index: int) -> LeavesReport | None:
    return next((leaves for leaves in sealed if leaves.first <= index < leaves.end), None)


def _compare(report: LogReport, sealed: LeavesReport, hot: LeavesReport) -> None:
    start = (hot.first - sealed.first) * HASH_BYTES
    standing = sealed.hashes[start : start + len(hot.hashes)]
    if standing != hot.hashes[: len(standing)]:
        message = "a hot frame and the segment of the same leaves differ"
        report.problems.append(Problem("hot_differs", message, log_index=hot.first))


def _walk(
    report: LogReport,
    pieces: Sequence[LeavesReport],
    sizes: Sequence[int],
    folders: LogFolders,
    claims: Claims,
) -> _Walk:
    walk = _Walk()
    stops = iter(sizes)
    stop = next(stops, None)
    while stop == 0:
        walk.roots[0] = walk.frontier.root()
        stop = next(stops, None)
    for leaves in pieces:
        if leaves.first > walk.frontier.size:
            bridge = _bridge(report, walk.frontier.size, leaves.first, folders, claims)
            if bridge is None:
                return walk
            stop = walk.extend(bridge, stops, stop)
        if leaves.end > walk.frontier.size:
            skip = (walk.frontier.size - leaves.first) * HASH_BYTES
            stop = walk.extend(bytes(leaves.hashes[skip:]), stops, stop)
    return walk


def _bridge(
    report: LogReport, first: int, end: int, folders: LogFolders, claims: Claims
) -> bytes | None:
    """Hashes of leaves that nobody holds, from the tiles, so that later roots can be checked."""
    tell_missing(report, claims, first, end)
    try:
        return tile_hashes(folders.log / "tile", first, end)
    except (StoreError, OSError):
        return None


def _check_roots(report: LogReport, walk: _Walk, signed: SignedSizes, sizes: Sequence[int]) -> None:
    """A root that differs is tampering, unless a later signed root fits: then two notes fork."""
    differing = [s for s in sizes if s in walk.roots and walk.roots[s] != signed.roots[s]]
    fitting = [s for s in sizes if s in walk.roots and walk.roots[s] == signed.roots[s]]
    for size in differing:
        if fitting and fitting[-1] > size:
            message = f"the signed roots of {size} and of {fitting[-1]} leaves cannot both be true"
            report.problems.append(Problem("fork", message, f"checkpoint.{size}"))
        else:
            message = f"the root of the first {size} leaves is not the one that was signed"
            report.problems.append(Problem("root_differs", message, f"checkpoint.{size}"))
    anchors = signed.anchors(fitting)
    report.anchor_size = max(anchors, default=0)
    report.anchored = signed.trusted and bool(anchors) and not differing


def _check_cover(
    report: LogReport,
    gathered: Gathered,
    walk: _Walk,
    sizes: Sequence[int],
    sealed_end: int,
    *,
    sealed_only: bool,
) -> None:
    largest = report.checkpoint_size
    if not sizes:
        report.problems.append(Problem("no_checkpoint", "no checkpoint of this log holds"))
    if walk.frontier.size < largest:
        message = f"a checkpoint covers {largest} leaves, {walk.frontier.size} are at hand"
        report.problems.append(Problem("leaves_missing", message, log_index=walk.frontier.size))
    report.hot = sum(max(0, leaves.end - max(leaves.first, sealed_end)) for leaves in gathered.hot)
    if sealed_only:
        report.beyond = max(0, walk.frontier.size - largest)
        return
    report.unsigned_sealed = sum(
        max(0, leaves.end - max(leaves.first, largest)) for leaves in gathered.sealed
    )
    hot = sum(max(0, h.end - max(h.first, largest)) for h in gathered.hot if h.first < sealed_end)
    if report.unsigned_sealed > hot:
        message = f"{report.unsigned_sealed} sealed leaves above every checkpoint, not hot"
        report.problems.append(Problem("unsigned_sealed", message, log_index=largest))


def _check_genesis(report: LogReport, gathered: Gathered) -> None:
    for leaves in (*gathered.sealed, *gathered.hot):
        if leaves.first == 0 and not any(
            index == 0 and kind == "genesis" for index, kind, _ in leaves.details
        ):
            message = "the log does not begin with its genesis leaf"
            report.problems.append(Problem("genesis_differs", message, log_index=0))
            return


def _events_below(pieces: Sequence[LeavesReport], size: int) -> int:
    return sum(leaves.event_indexes[: max(0, size - leaves.first)].count(1) for leaves in pieces)
