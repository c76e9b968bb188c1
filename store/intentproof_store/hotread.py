"""Hot frames as readers see them: whole, authentic where a key is at hand, and in sequence.

Takes no lock. A frame is read once: later calls read what was appended since.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from intentproof_schemas import TENANT, WRITER

from .errors import FrameInvalid
from .frames import Frame, read_frame, scan
from .hotlog import hot_files, hot_writers

Log = tuple[str, str]
"""Tenant and writer."""


@dataclass(frozen=True)
class ReadProblem:
    """Something that a reader left out, and why."""

    path: Path
    code: str
    message: str


@dataclass(frozen=True)
class HotRows:
    """The rows of one frame: consecutive leaves of one log."""

    log: Log
    path: Path
    first: int
    batch: pa.RecordBatch

    @property
    def end(self) -> int:
        """One past the last log index."""
        return self.first + int(self.batch.num_rows)


@dataclass
class _File:
    """What was read of one file. `last` is where its last frame starts, and that frame's MAC."""

    inode: int
    size_bytes: int
    modified_ns: int
    last: tuple[int, bytes] | None = None
    rows: list[HotRows] = field(default_factory=list)
    problems: list[ReadProblem] = field(default_factory=list)

    def is_as(self, status: os.stat_result) -> bool:
        """Whether the file is still what was read."""
        return (self.inode, self.size_bytes, self.modified_ns) == (
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
        )


class HotReader:
    """Reads a folder of hot frames again and again. Not thread-safe.

    With a `key`, frames that were not written under it are left out. `tenants` None means all.
    """

    def __init__(self, hot: Path, *, key: bytes | None, tenants: Sequence[str] | None) -> None:
        self._hot = hot
        self._key = key
        self._tenants = None if tenants is None else frozenset(tenants)
        self._files: dict[Path, _File] = {}

    def read(self) -> tuple[list[HotRows], list[ReadProblem]]:
        """Every frame's rows in the order of the files, and what could not be taken. Blocks.

        A file that is sealed and deleted meanwhile is passed over: its rows are in segments then.
        """
        found: dict[Path, _File] = {}
        strange: list[ReadProblem] = []
        for writer in filter(WRITER.fullmatch, hot_writers(self._hot)):
            for path in hot_files(self._hot, writer):
                if path.exists() and not path.is_file():
                    strange.append(ReadProblem(path, "frame_damaged", "not a regular file"))
                    continue  # a pipe would keep us for ever
                try:
                    found[path] = self._file(path, writer)
                except FileNotFoundError:
                    continue
        self._files = found
        rows = [each for file in found.values() for each in file.rows]
        return rows, strange + [each for file in found.values() for each in file.problems]

    def _file(self, path: Path, writer: str) -> _File:
        known = self._files.get(path)
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if known and known.is_as(status):
                return known
            start = known.last[0] if known and known.last else 0
            file.seek(start)
            raw = file.read()
        made = _File(status.st_ino, start + len(raw), status.st_mtime_ns)
        skip = 0
        if known and known.last:
            skip = _same_frame(raw, known.last[1]) if known.inode == made.inode else 0
            if not skip:
                del self._files[path]  # cut back and written again: begin anew
                return self._file(path, writer)
            made.last, made.rows, made.problems = known.last, known.rows[:], known.problems[:]
        if not self._take_all(made, path, writer, raw=raw, start=start, skip=skip):
            made = _File(status.st_ino, status.st_size, status.st_mtime_ns)
            self._rescan(made, path, writer)
        return made

    def _take_all(
        self, made: _File, path: Path, writer: str, *, raw: bytes, start: int, skip: int
    ) -> bool:
        """Take the frames of `raw` from `skip` on; False where bytes that are no frame follow."""
        offset = skip
        while offset < len(raw):
            try:
                frame = read_frame(raw, offset)
            except FrameInvalid:
                return False
            made.last = (start + offset, frame.mac)
            self._take(made, path, writer, frame)
            offset += frame.length
        return True

    def _rescan(self, made: _File, path: Path, writer: str) -> None:
        """Read a file with damage in it: frames go on behind it, and a torn end is none."""
        for found in scan(path):
            if isinstance(found, Frame):
                self._take(made, path, writer, found)
            elif not found.torn:
                words = f"{found.length} bytes at {found.offset}: {found.message}"
                made.problems.append(ReadProblem(path, "frame_damaged", words))

    def _take(self, made: _File, path: Path, writer: str, frame: Frame) -> None:
        if self._tenants is not None and frame.tenant not in self._tenants:
            return
        try:
            if self._key is not None:
                frame.authenticate(self._key, writer)
            made.rows.append(_rows(frame, path, writer))
        except FrameInvalid as error:
            made.problems.append(ReadProblem(path, "frame_forged", str(error)))


def _same_frame(raw: bytes, mac: bytes) -> int:
    """The length of the frame at the start of `raw` if it has that MAC, else 0."""
    try:
        frame = read_frame(raw, 0)
    except FrameInvalid:
        return 0
    return frame.length if frame.mac == mac else 0


def _rows(frame: Frame, path: Path, writer: str) -> HotRows:
    batch = frame.rows()
    indexes = batch.column("log_index")
    if not TENANT.fullmatch(frame.tenant) or not batch.num_rows or indexes.null_count:
        raise FrameInvalid(f"frame {frame.number} holds no rows of a tenant")
    first = int(indexes[0].as_py())
    if first < 0 or not np.array_equal(
        indexes.to_numpy(), np.arange(first, first + batch.num_rows)
    ):
        raise FrameInvalid(f"the rows of frame {frame.number} are not in sequence")
    if batch.column("writer").unique().to_pylist() != [writer]:
        raise FrameInvalid(f"frame {frame.number} holds rows of another writer")
    return HotRows((frame.tenant, writer), path, first, batch)


Ranges = Mapping[Log, Sequence[tuple[int, int]]]
"""Sealed leaves of each log: first and last, ascending, without overlaps."""


def unsealed(frames: Iterable[HotRows], sealed: Ranges) -> tuple[list[HotRows], list[ReadProblem]]:
    """The rows that no segment holds, and the frames that do not continue their log.

    What follows a hole stays out: its place in the log is settled when the receiver recovers.
    """
    kept: list[HotRows] = []
    out: dict[tuple[Path, Log], int] = {}
    ends: dict[Log, int] = {}
    for frame in frames:
        ranges = sealed.get(frame.log, ())
        end = ends.get(frame.log, frame.first)
        if frame.first < end or any(_uncovered(end, frame.first, ranges)):
            at = (frame.path, frame.log)
            out[at] = out.get(at, 0) + frame.batch.num_rows
            continue
        ends[frame.log] = frame.end
        for first, stop in _uncovered(frame.first, frame.end, ranges):
            rows = frame.batch.slice(first - frame.first, stop - first)
            kept.append(HotRows(frame.log, frame.path, first, rows))
    problems = [
        ReadProblem(path, "frame_out_of_sequence", f"{rows} rows do not continue {'/'.join(log)}")
        for (path, log), rows in out.items()
    ]
    return kept, problems


def _uncovered(
    first: int, end: int, ranges: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """The parts of [first, end) that lie in none of the ranges."""
    for low, high in ranges:
        if first >= end or low >= end:
            break
        if high < first:
            continue
        if low > first:
            yield first, low
        first = high + 1
    if first < end:
        yield first, end
