"""The clerk: seals segments and signs checkpoints, behind the writer and never in its way.

One thread does the jobs in order. A job that the disk refuses is tried again; nothing of it is
forgotten. Steps of sealing, and what a crash after each leaves behind:

1. rows are read back from the hot frames, authenticated     nothing
2. the segment is written aside and fsynced                   a file under `unfinished/`: deleted
3. its signed note is put in place                            a note without a file: no problem
4. the file is moved into place                               the leaves are hot and sealed: the
                                                              reader takes the sealed ones
5. tiles and a checkpoint over it are written                 the next start signs it
6. the hot frames go                                          done
"""

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pyarrow as pa

from .checkpoints import Signer
from .durable import make_folder, move_into_place
from .errors import StoreError
from .hotlog import FrameRef
from .identity import Identity
from .layout import Layout, SegmentName
from .merkle import HASH_BYTES, leaf_hash
from .sameness import Generation
from .segment_notes import put_segment_note
from .segments import write_segment
from .tree import TileTree

_log = logging.getLogger("intentproof.store")
_RETRY_SECONDS = 1.0
_PIECE_SECONDS = 0.02  # of work after which requests come first


@dataclass(frozen=True)
class CheckpointJob:
    """Sign a checkpoint over the first `end` leaves. `leaves`: those since the last job.

    They are frames, which are read again, and the hashes of leaves that were lost, from tiles.
    """

    tenant: str
    leaves: tuple[FrameRef | bytes, ...]
    end: int


@dataclass(frozen=True)
class SealJob:
    """Seal these frames, the log's next ones. `leaves` as for a checkpoint."""

    tenant: str
    leaves: tuple[FrameRef | bytes, ...]
    end: int
    refs: tuple[FrameRef, ...]
    generation: Generation


@dataclass(frozen=True)
class Errand:
    """Other work in its turn. It does not raise; it returns what the writer's thread does next."""

    tenant: str
    work: Callable[[], Callable[[], None]]


@dataclass(frozen=True)
class Ran:
    """An errand is done; `then` is for the writer's thread."""

    then: Callable[[], None]


Job = CheckpointJob | SealJob | Errand


@dataclass(frozen=True)
class Sealed:
    """A segment is in place, with a checkpoint over it."""

    job: SealJob
    path: Path


class Clerk:
    """Runs jobs on a thread of its own, and calls `done` there for each seal and errand."""

    def __init__(
        self,
        layout: Layout,
        identity: Identity,
        signer: Signer,
        *,
        read: Callable[[Sequence[FrameRef]], Iterable[pa.RecordBatch]],
        done: Callable[[Sealed | Ran], None],
    ) -> None:
        self._layout = layout
        self._identity = identity
        self._signer = signer
        self._read = read
        self._done = done
        self._trees: dict[str, TileTree] = {}
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.seals = 0
        self._waiting: deque[float] = deque()  # when each job that is not done was queued
        self._idle = threading.Condition()
        self._closing = threading.Event()
        self._given_up: set[str] = set()
        self._rested = 0.0
        self.fault: str | None = None
        self.faults = 0
        self._thread = threading.Thread(target=self._run, name="intentproof-clerk", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def add_tree(self, tenant: str, tree: TileTree) -> None:
        """Tell of a log before its first job."""
        self._trees[tenant] = tree

    def submit(self, job: Job) -> None:
        """Queue a job."""
        with self._idle:
            self.seals += isinstance(job, SealJob)
            self._waiting.append(time.monotonic())
        self._jobs.put(job)

    @property
    def jobs(self) -> int:
        """Jobs that are not done. Any thread."""
        return len(self._waiting)

    @property
    def oldest_job(self) -> float:
        """When the oldest job that is not done was queued, monotonic; 0 if none. Any thread."""
        with self._idle:
            return self._waiting[0] if self._waiting else 0.0

    def wait_below(self, seals: int, timeout: float) -> bool:
        """Block until fewer than `seals` segments wait to be sealed; whether that came in time."""
        with self._idle:
            return self._idle.wait_for(lambda: self.seals < seals, timeout)

    def close(self) -> bool:
        """Finish what is queued, trying each job once more at most; whether all was done."""
        self._closing.set()
        self._jobs.put(None)
        self._thread.join()
        return self.fault is None

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._finish(job)
            with self._idle:
                self.seals -= isinstance(job, SealJob)
                self._waiting.popleft()
                self._idle.notify_all()

    def _finish(self, job: Job) -> None:
        self._rested = time.monotonic()
        # What comes after a job that could not be done must wait with it for the next start.
        while job.tenant not in self._given_up:
            try:
                self._do(job)
            except Exception as error:  # noqa: BLE001 - a bug of ours must not end the thread either
                self.fault = f"{type(error).__name__}: {error}"
                self.faults += 1
                _log.error(
                    "a job of the clerk failed",
                    extra={"fields": {"job": type(job).__name__, "reason": str(error)}},
                )
                if self._closing.is_set():
                    self._given_up.add(job.tenant)
                    return
                self._closing.wait(_RETRY_SECONDS)
            else:
                self.fault = None
                return

    def _do(self, job: Job) -> None:
        if isinstance(job, SealJob):
            path, hashed = self._seal(job)
            self._sign(job, hashed)
            self._done(Sealed(job, path))
        elif isinstance(job, Errand):
            self._done(Ran(job.work()))
        else:
            self._sign(job)

    def _sign(self, job: CheckpointJob | SealJob, hashed: bytes | None = None) -> None:
        """Sign what is on the disk; `hashed`: of the job's leaves, if they were just read there."""
        tree = self._trees[job.tenant]
        if tree.size < job.end:  # else an earlier try got this far
            if hashed is None:
                hashed = self._hash_again(job.leaves)
            if tree.size + len(hashed) // HASH_BYTES != job.end:
                raise StoreError(f"leaves before {job.end} of {job.tenant} are not sealed yet")
            tree.extend(hashed, rest=self.rest)
        tree.write_partial()
        self._signer.sign(job.tenant, tree.size, tree.root())

    def _hash_again(self, leaves: Sequence[FrameRef | bytes]) -> bytes:
        """The hashes of leaves as they stand on the disk, authenticated: of nothing else is a root.

        What memory held of them when they were written may have been wrong by then.
        """
        hashed = bytearray()
        for lost, pieces in groupby(leaves, key=lambda piece: isinstance(piece, bytes)):
            if lost:
                hashed += b"".join(piece for piece in pieces if isinstance(piece, bytes))
                continue
            refs = [piece for piece in pieces if isinstance(piece, FrameRef)]
            for batch in self._resting(self._read(refs)):
                hashed += _hashes(batch)
        return bytes(hashed)

    def _seal(self, job: SealJob) -> tuple[Path, bytes | None]:
        """The segment's place, and the hashes of the job's leaves where its reading gave them."""
        first, last = job.refs[0].first, job.refs[-1].end - 1
        done = self._in_place(job, first, last)
        if done is not None:
            return done, None  # an earlier try got this far
        # (1) The MAC holds only over the bytes that were written and hashed when acknowledged.
        new = _place_of_end(job.leaves, job.refs)
        batches: list[pa.RecordBatch] = []
        hashed = bytearray()
        for place, batch in enumerate(self._resting(self._read(job.refs))):
            batches.append(batch)
            if new is not None and place >= new:
                hashed += _hashes(batch)
        make_folder(self._layout.unfinished)
        aside = self._layout.unfinished / SegmentName(self._identity.writer, first, last, 0).file()
        try:
            size_bytes, digest = write_segment(batches, aside, rest=self.rest)  # (2)
            wanted = SegmentName(self._identity.writer, first, last, 0)
            name = put_segment_note(  # (3)
                self._layout, self._identity, job.tenant, wanted, size_bytes, digest
            )
            path = self._layout.segment(job.tenant, job.refs[0].day, name)
            make_folder(path.parent)
            move_into_place(aside, path)  # (4)
        finally:
            aside.unlink(missing_ok=True)
        return path, None if new is None else bytes(hashed)

    def _resting(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield batch
            self.rest()

    def rest(self) -> None:
        """Leave the machine to requests for as long as the piece of work before took. Clerk only.

        They share the interpreter's lock: what waited meanwhile is done before more has to wait.
        Not where segments wait, or somebody waits for the end.
        """
        worked = time.monotonic() - self._rested
        if worked < _PIECE_SECONDS:
            return
        if self.seals < 2:
            self._closing.wait(worked)
        self._rested = time.monotonic()

    def _in_place(self, job: SealJob, first: int, last: int) -> Path | None:
        day = self._layout.segment(
            job.tenant, job.refs[0].day, SegmentName(self._identity.writer, first, last, 0)
        ).parent
        pattern = SegmentName(self._identity.writer, first, last, 0).file().replace("000000.", "*.")
        return next(iter(sorted(day.glob(pattern), reverse=True)), None)


def _hashes(batch: pa.RecordBatch) -> bytes:
    return b"".join(map(leaf_hash, batch.column("leaf").to_pylist()))


def _place_of_end(leaves: tuple[FrameRef | bytes, ...], frames: tuple[FrameRef, ...]) -> int | None:
    """From which of the frames on `leaves` are, None where they are more than frames' end."""
    place = len(frames) - len(leaves)
    return place if place >= 0 and leaves == frames[place:] else None
