"""Hot frames back into the writer's state (contract §4: authentic frames, in sequence).

What is damaged, forged or out of place is set aside and told in the log by a `gap` leaf. Rows
behind a loss survive: at their places where a checkpoint covers the lost leaves, whose hashes
then stand in its tiles; one after the other where nothing was signed over them yet.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from intentproof_schemas import LeafInvalid

from .checkpoints import checkpoint_sizes
from .errors import FrameInvalid, LedgerBehind, StoreError
from .frames import Damage, Frame
from .hotlog import FrameRef, HotLog, NewFrame, hot_files, read_frame_at, read_hot
from .identity import Identity
from .layout import date_of
from .logfactory import LogFactory, Replay
from .merkle import leaf_hash
from .rowcheck import check_batch
from .rows import RowMaker
from .tenantlog import KEPT_KINDS
from .tree import TileTree, tile_hashes

_log = logging.getLogger("intentproof.store")
_TOLD = ("log_index", "kind", "detail")


class Replayer:
    """Takes the hot frames of one writer back, in order. One thread only."""

    def __init__(
        self,
        hot: Path,
        identity: Identity,
        factory: LogFactory,
        replays: dict[str, Replay],
        today: str,
    ) -> None:
        self._hot = hot
        self._identity = identity
        self._factory = factory
        self._replays = replays
        self._today = today
        self._reports: list[dict[str, Any]] = []
        self._torn: set[Path] = set()
        self._shifts: dict[FrameRef, int] = {}
        self.next_number = 1

    def run(self) -> None:
        """Take rows to their logs in the order of the frames' numbers, and damage to the reports.

        A number is authenticated with its frame, the place on the disk is not.
        """
        found: dict[int, tuple[Path, int, int]] = {}
        highest = 0
        for path, frame in read_hot(self._hot, self._identity.writer):
            if isinstance(frame, Damage):
                self._damaged(path, frame)
            elif self._is_ours(path, frame):
                if frame.number in found:
                    self._refuse(path, frame, f"frame {frame.number} again")
                    continue
                if frame.number < highest:
                    self._refuse(path, frame, f"frame {frame.number} out of its place")
                highest = max(highest, frame.number)
                found[frame.number] = (path, frame.offset, frame.length)
        for number in sorted(found):
            path, offset, length = found[number]
            if number != self.next_number and number != _named(path):
                message = f"frame {number} where {max(self.next_number, _named(path))} was due"
                self._damaged(path, Damage(offset, 0, torn=False, message=message))
            self._frame(path, read_frame_at(path, offset, length))
            self.next_number = number + 1
        if self._reports or self._torn:
            for tenant, replay in self._replays.items():
                self._bridge_end(tenant, replay)

    def _is_ours(self, path: Path, frame: Frame) -> bool:
        try:
            frame.authenticate(self._identity.hot_key, self._identity.writer)
        except FrameInvalid as error:
            self._refuse(path, frame, str(error))
            return False
        return True

    def _refuse(self, path: Path, frame: Frame, message: str) -> None:
        self._damaged(path, Damage(frame.offset, frame.length, torn=False, message=message))

    def _damaged(self, path: Path, damage: Damage) -> None:
        level = logging.INFO if damage.torn else logging.ERROR
        fields = {"file": path.name, "offset": damage.offset, "bytes": damage.length}
        _log.log(level, "hot bytes that are no frame of ours", extra={"fields": fields})
        if damage.torn:
            self._torn.add(path)
        else:
            self._reports.append({**fields, "message": damage.message})

    def _frame(self, path: Path, frame: Frame) -> None:
        try:
            batch = self._sound_rows(frame)
        except (FrameInvalid, LeafInvalid) as error:
            self._refuse(path, frame, str(error))
            return
        replay = self._replays.get(frame.tenant)
        if replay is None:
            replay = Replay(*self._factory.blank(frame.tenant, self._today))
            self._replays[frame.tenant] = replay
        first = batch.column("log_index")[0].as_py()
        if first + batch.num_rows <= replay.log.size:
            return  # sealed already
        if first < replay.log.size:
            self._refuse(path, frame, "leaves twice")
            return
        day = date_of(batch.column("received_ns")[0].as_py())
        if first > replay.log.size or (replay.log.refs and day != replay.log.day):
            self._cut(replay, day)
        shift = self._bridge(frame.tenant, replay, first) if first > replay.log.size else 0
        self._take(replay, _ref(path, frame, batch, first - shift, day), batch, shift)

    def _sound_rows(self, frame: Frame) -> pa.RecordBatch:
        batch = frame.rows()
        report = check_batch(batch, tenant=frame.tenant, writer=self._identity.writer)
        if report.problems or report.unsupported or batch.num_rows == 0:
            why = report.problems[0].message if report.problems else "rows of an unknown version"
            raise FrameInvalid(f"frame {frame.number}: {why}")
        return batch

    def _cut(self, replay: Replay, next_day: str) -> None:
        job = replay.log.cut(next_day)
        if job is not None:
            replay.jobs.append(job)

    def _bridge(self, tenant: str, replay: Replay, first: int) -> int:
        """Pass over lost leaves before `first`; by how many places later ones move up."""
        size = replay.log.size
        folder = self._factory.log_folder(tenant)
        signed = max(checkpoint_sizes(folder), default=0)
        hole_end = max(size, min(signed, first))
        if hole_end > size:
            replay.log.unsigned.append(self._signed_hashes(tenant, size, hole_end, signed))
            replay.log.size = hole_end
        replay.lost.append((size, first))
        return first - hole_end

    def _bridge_end(self, tenant: str, replay: Replay) -> None:
        """Pass over signed leaves that were lost at the end of the damaged files."""
        signed = max(checkpoint_sizes(self._factory.log_folder(tenant)), default=0)
        if replay.log.size < signed:
            self._cut(replay, replay.log.day)
            self._bridge(tenant, replay, signed)

    def _signed_hashes(self, tenant: str, first: int, end: int, signed: int) -> bytes:
        folder = self._factory.log_folder(tenant)
        try:
            if TileTree.open(folder, signed).root() != self._factory.signed_root(tenant, signed):
                raise StoreError(f"the tiles of {tenant} are not what was signed")
            return tile_hashes(folder / "tile", first, end)
        except StoreError as error:
            raise LedgerBehind(
                f"leaves {first} to {end - 1} of {tenant} are lost, and the log cannot go on "
                f"without them ({error}): start a new log with --new-writer"
            ) from error

    def _take(self, replay: Replay, ref: FrameRef, batch: pa.RecordBatch, shift: int) -> None:
        if not replay.log.refs:
            replay.log.day = ref.day
        if ref.first == 0:
            replay.log.unsigned_genesis = leaf_hash(batch.column("leaf")[0].as_py())
        replay.log.took([ref])
        if shift:
            self._shifts[ref] = shift
        kept = batch.filter(pc.is_in(batch.column("kind"), value_set=pa.array(KEPT_KINDS)))
        for told in zip(*(kept.column(name).to_pylist() for name in _TOLD), strict=True):
            replay.log.learn(*told)
        replay.log.sameness.restore(batch)
        replay.log.last_received_ns = batch.column("received_ns")[-1].as_py()

    def settle(self, hot: HotLog, now_ns: int) -> None:
        """Adopt the frames where they stand, or write anew what survived and tell of the rest."""
        old = hot_files(self._hot, self._identity.writer)
        if self._reports or any(replay.lost for replay in self._replays.values()):
            self._rewrite(hot, old)
            self._tell(hot, now_ns)
            return
        needed = set()
        for ref in self._refs():
            hot.adopt(ref)
            needed.add(ref.path)
        hot.set_aside([path for path in self._torn if path not in needed])
        for path in old:
            if path not in needed and path not in self._torn:
                path.unlink()  # all of it is sealed: a crash came before this step

    def _refs(self) -> Iterator[FrameRef]:
        for replay in self._replays.values():
            for job in replay.jobs:
                yield from job.refs
            yield from replay.log.refs

    def _rewrite(self, hot: HotLog, old: list[Path]) -> None:
        refs = list(self._refs())
        moved: dict[FrameRef | bytes, FrameRef] = dict(
            zip(refs, hot.replace_all(map(self._again, refs, [hot] * len(refs)), old), strict=True)
        )
        for replay in self._replays.values():
            replay.jobs = [
                replace(
                    job,
                    refs=tuple(moved[ref] for ref in job.refs),
                    leaves=tuple(moved.get(piece, piece) for piece in job.leaves),
                )
                for job in replay.jobs
            ]
            replay.log.refs = [moved[ref] for ref in replay.log.refs]
            replay.log.unsigned = [moved.get(piece, piece) for piece in replay.log.unsigned]

    def _again(self, ref: FrameRef, hot: HotLog) -> NewFrame:
        (batch,) = hot.read([ref])
        shift = self._shifts.get(ref, 0)
        if shift:
            indexes = pc.subtract(batch.column("log_index"), shift)
            batch = batch.set_column(0, batch.schema.field(0), indexes)
        return NewFrame(ref.tenant, batch, ref.day)

    def _tell(self, hot: HotLog, now_ns: int) -> None:
        """A `gap` leaf in every log that was read, which says what was lost or set aside."""
        today = date_of(now_ns)
        for tenant, replay in self._replays.items():
            if replay.log.day != today:
                self._cut(replay, today)
            maker = RowMaker(tenant, self._identity.writer, now_ns)
            maker.add_detail(
                "gap",
                {
                    "files": sorted({report["file"] for report in self._reports}),
                    "lost": [f"{first}-{end - 1}" for first, end in replay.lost],
                    "message": "hot bytes were damaged, forged or missing, and set aside",
                    "reason": "hot_damaged",
                },
            )
            refs = hot.append([NewFrame(tenant, maker.batch(replay.log.size), today)])
            replay.log.took(refs)


def _ref(path: Path, frame: Frame, batch: pa.RecordBatch, first: int, day: str) -> FrameRef:
    return FrameRef(
        path, frame.offset, frame.length, frame.tenant, first, batch.num_rows, batch.nbytes, day
    )


def _named(path: Path) -> int:
    """The number of its first frame, by which a file is named."""
    return int(path.name.split(".")[0].removesuffix("-r"))
