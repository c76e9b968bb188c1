"""The hot log: one sequence of frame files for all tenants of a writer, on local disk.

Files stand in `<hot>/<writer>/`, named by their first frame's number. A file whose name ends in
`-r` was made by recovery and replaces every file before it. Only `HotLog` writes, only the
writer's thread calls it.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from .durable import make_folder, sync_folder
from .errors import FrameInvalid
from .frames import Damage, Frame, encode_frame, own_rows, read_frame, scan, write_rows

_SUFFIX = ".frames"
_RECOVERED = f"-r{_SUFFIX}"
_UNFINISHED = ".unfinished"
_SET_ASIDE = "set-aside"
FILE_BYTES = 64 << 20
_RUN_BYTES = 4 << 20  # frames that are read at a time


@dataclass(frozen=True)
class FrameRef:
    """Where an acknowledged frame stands, and which leaves it holds."""

    path: Path
    offset: int
    length: int
    tenant: str
    first: int
    rows: int
    value_bytes: int
    day: str

    @property
    def end(self) -> int:
        """One past the frame's last log index."""
        return self.first + self.rows


@dataclass(frozen=True)
class NewFrame:
    """Rows on their way into a frame."""

    tenant: str
    batch: pa.RecordBatch
    day: str


def hot_files(hot: Path, writer: str) -> list[Path]:
    """A writer's frame files in order, without those that recovery replaced."""
    folder = hot / writer
    found = sorted(folder.glob(f"*{_SUFFIX}"), key=_order) if folder.is_dir() else []
    recovered = [at for at, path in enumerate(found) if path.name.endswith(_RECOVERED)]
    return found[recovered[-1] :] if recovered else found


def set_aside_files(hot: Path, writer: str) -> list[Path]:
    """Files that recovery moved out of a writer's sequence, for people to look at."""
    folder = hot / writer / _SET_ASIDE
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _order(path: Path) -> tuple[str, bool]:
    return path.name.split(".")[0].removesuffix("-r"), path.name.endswith(_RECOVERED)


def clear_unfinished(hot: Path, writer: str) -> None:
    """Delete what a recovery was writing when it was killed; only the writer's own process may."""
    for path in (hot / writer).glob(f"*{_UNFINISHED}"):
        path.unlink()


def hot_writers(hot: Path) -> list[str]:
    """Every writer that has a folder of hot frames here."""
    return sorted(path.name for path in hot.iterdir() if path.is_dir()) if hot.is_dir() else []


def read_hot(hot: Path, writer: str) -> Iterator[tuple[Path, Frame | Damage]]:
    """Every frame and damage of a writer's hot files, in order.

    A file that the writer sealed and deleted meanwhile is passed over: its rows are in segments.
    """
    for path in hot_files(hot, writer):
        try:
            for found in scan(path):
                yield path, found
        except FileNotFoundError:
            continue
        except OSError as error:
            yield path, Damage(0, 0, torn=False, message=f"cannot be read: {error}")


def _free_name(path: Path) -> Path:
    """The path, or it with the first number that makes it a new name."""
    number = 1
    free = path
    while free.exists():
        free = path.with_name(f"{path.name}.{number}")
        number += 1
    return free


def _runs(refs: Sequence[FrameRef]) -> Iterator[list[FrameRef]]:
    """Frames that stand side by side, which are read together."""
    run: list[FrameRef] = []
    size = 0
    for ref in refs:
        follows = run and (ref.path, ref.offset) == (run[-1].path, run[-1].offset + run[-1].length)
        if run and not (follows and size + ref.length <= _RUN_BYTES):
            yield run
            run, size = [], 0
        run.append(ref)
        size += ref.length
    if run:
        yield run


def read_frame_at(path: Path, offset: int, length: int) -> Frame:
    """The frame that stands there. Raises FrameInvalid and OSError; its MAC is not checked."""
    with path.open("rb") as file:
        file.seek(offset)
        return replace(read_frame(file.read(length), 0), offset=offset)


class HotLog:
    """Appends frames and makes them durable. Raises OSError where the disk refuses."""

    def __init__(self, hot: Path, writer: str, *, key: bytes, next_number: int) -> None:
        self._folder = hot / writer
        self._writer = writer
        self._key = key
        self._number = next_number
        self._descriptor = -1
        self._path = Path()
        self._good = 0
        self._live: dict[Path, int] = {}
        make_folder(self._folder)

    @property
    def next_number(self) -> int:
        """The number that the next frame will have."""
        return self._number

    def is_open(self, ref: FrameRef) -> bool:
        """Whether the frame stands in the file that grows, which stays whatever is released."""
        return ref.path == self._path

    def append(self, frames: Sequence[NewFrame]) -> list[FrameRef]:
        """Write frames and fsync once. On OSError nothing of them stays in the file."""
        if self._descriptor < 0 or self._good >= FILE_BYTES:
            self._open_file(self._folder / f"{self._number:020d}{_SUFFIX}")
        return self._append_here(frames)

    def _append_here(self, frames: Sequence[NewFrame]) -> list[FrameRef]:
        refs, pieces = [], []
        offset = self._good
        for place, frame in enumerate(frames):
            raw = encode_frame(
                self._number + place,
                frame.tenant,
                write_rows(frame.batch),
                key=self._key,
                writer=self._writer,
            )
            first = frame.batch.column("log_index")[0].as_py()
            refs.append(
                FrameRef(
                    self._path,
                    offset,
                    len(raw),
                    frame.tenant,
                    first,
                    frame.batch.num_rows,
                    frame.batch.get_total_buffer_size(),
                    frame.day,
                )
            )
            pieces.append(raw)
            offset += len(raw)
        self._write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        self._good = offset
        self._number += len(frames)
        for ref in refs:
            self.adopt(ref)
        return refs

    def _write(self, raw: bytes) -> None:
        # A failed write or fsync may have left bytes behind: cut them off before anything else is
        # appended, so that what was refused can never be replayed beside what replaced it.
        if os.fstat(self._descriptor).st_size != self._good:
            os.ftruncate(self._descriptor, self._good)
            os.fsync(self._descriptor)
        try:
            view = memoryview(raw)
            at = self._good
            while view:
                written = os.pwrite(self._descriptor, view, at)
                view, at = view[written:], at + written
            os.fdatasync(
                self._descriptor
            )  # THE COMMIT POINT: acknowledged after this, never before
        except OSError:
            os.ftruncate(self._descriptor, self._good)
            os.fsync(self._descriptor)
            raise

    def _open_file(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
        descriptor = os.open(path, flags, 0o600)
        try:
            sync_folder(self._folder)
        except OSError:
            os.close(descriptor)
            raise
        self._close_file()
        self._descriptor, self._path, self._good = descriptor, path, 0

    def adopt(self, ref: FrameRef) -> None:
        """Count a frame that stands in one of the files."""
        self._live[ref.path] = self._live.get(ref.path, 0) + 1

    def release(self, refs: Sequence[FrameRef]) -> None:
        """Forget frames that are sealed under a checkpoint; delete files without any left."""
        for ref in refs:
            self._live[ref.path] -= 1
        for path in [path for path, count in self._live.items() if count == 0]:
            if path == self._path:
                if self._good < FILE_BYTES // 4:
                    continue  # a small current file goes on
                self._close_file()
            del self._live[path]
            path.unlink(missing_ok=True)

    def rotate(self) -> None:
        """End the current file: the next frame begins another, and this one goes with its last."""
        self.close()

    def replace_all(self, frames: Iterable[NewFrame], old: Sequence[Path]) -> list[FrameRef]:
        """Recovery: write all that survived into one new file, then set the old files aside.

        Until the new file has its name, the old ones count; from then on, it does.
        """
        path = self._folder / f"{self._number:020d}{_RECOVERED}"
        self._open_file(path.with_suffix(_UNFINISHED))
        refs = [self._append_here([frame])[0] for frame in frames]
        self._path.rename(path)
        sync_folder(self._folder)
        self._path = path
        refs = [replace(ref, path=path) for ref in refs]
        self._live = {path: len(refs)} if refs else {}
        self.set_aside(old)
        return refs

    def set_aside(self, paths: Sequence[Path]) -> None:
        """Move files out of the sequence, for people to look at."""
        folder = self._folder / _SET_ASIDE
        for path in paths:
            make_folder(folder)
            path.rename(_free_name(folder / path.name))
        if paths:
            sync_folder(folder)
            sync_folder(self._folder)

    def read(self, refs: Sequence[FrameRef]) -> Iterator[pa.RecordBatch]:
        """The rows of each frame in order, from disk, authenticated. Raises FrameInvalid."""
        for run in _runs(refs):
            with run[0].path.open("rb") as file:
                file.seek(run[0].offset)
                raw = file.read(run[-1].offset + run[-1].length - run[0].offset)
            places = (ref.offset - run[0].offset for ref in run)
            frames = [read_frame(raw, place, summed=False) for place in places]
            batches = own_rows(frames, self._key, self._writer)
            for ref, frame, batch in zip(run, frames, batches, strict=True):
                if frame.tenant != ref.tenant or batch.num_rows != ref.rows:
                    raise FrameInvalid(f"{ref.path} was replaced")
                yield batch

    def close(self) -> None:
        """Close the current file; delete it if no frame of it is needed."""
        path = self._path
        open_now = self._descriptor >= 0
        self._close_file()
        if open_now and not self._live.get(path):
            self._live.pop(path, None)
            path.unlink(missing_ok=True)

    def _close_file(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._path = Path()
