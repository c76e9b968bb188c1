"""What durable means here, down to the system calls: write aside, fsync, rename, fsync the folder.

Nothing else in this room renames or fsyncs a file of the store.
"""

import ctypes
import os
import re
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_ASIDE = re.compile(r"\..+\.[0-9]+\.[0-9]+\.tmp")
_SYNCFS_MIN = 4  # files from which one call for the whole file system is cheaper


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Blocks on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, durably. Blocks on the disk."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def write_file(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Put `content` at `path` in one step, over what is there. Blocks on the disk."""
    make_folder(path.parent)
    aside = _write_aside(path, content, mode)
    aside.replace(path)
    sync_folder(path.parent)


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    """`write_file` of what comes in pieces. Nothing is left where they end in an error."""
    make_folder(path.parent)
    aside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with aside.open("wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_files(files: Sequence[tuple[Path, bytes]]) -> None:
    """Put many small files in place, over what is there, with one wait for the disk. Blocks.

    Each is whole or absent after a crash; which of them are there is not promised.
    """
    if not files:
        return
    folders = {path.parent for path, _ in files}
    for folder in folders:
        make_folder(folder)
    asides = [(_write_aside(path, content, 0o644, sync=False), path) for path, content in files]
    try:
        _sync_all([aside for aside, _ in asides])
    except OSError:
        for aside, _ in asides:
            aside.unlink(missing_ok=True)
        raise
    for aside, path in asides:
        aside.replace(path)
    for folder in folders:
        sync_folder(folder)


def _sync_all(paths: Sequence[Path]) -> None:
    """One system call for all where there is one (Linux), else one a file."""
    if len(paths) < _SYNCFS_MIN or not hasattr(_LIBC, "syncfs"):
        for path in paths:
            sync_file(path)
        return
    descriptor = os.open(paths[0], os.O_RDONLY)
    try:
        if _LIBC.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(paths[0]))
    finally:
        os.close(descriptor)


def create_file(
    path: Path, content: bytes, *, mode: int = 0o644, aside: Path | None = None
) -> bool:
    """Put `content` at `path` in one step if nothing is there; whether it was put. Blocks.

    `aside` is where it is written first, on the same file system; by default beside `path`.
    """
    make_folder(path.parent)
    if aside is not None:
        make_folder(aside.parent)
    aside = _write_aside(path, content, mode, aside=aside)
    try:
        os.link(aside, path)  # unlike rename, fails where the name exists
    except FileExistsError:
        return False
    finally:
        aside.unlink()
        sync_folder(path.parent)
    return True


def move_into_place(finished: Path, path: Path) -> None:
    """Move a file that is already fsynced to its name. Blocks on the disk."""
    finished.replace(path)
    sync_folder(path.parent)


def replace_secret(finished: Path, path: Path) -> None:
    """Move a file over another, whose bytes are then overwritten. Blocks on the disk.

    A file system that copies on writing, or a disk that levels wear, may keep them nevertheless.
    """
    with path.open("r+b") as old:
        move_into_place(finished, path)
        old.write(bytes(os.fstat(old.fileno()).st_size))
        old.flush()
        os.fsync(old.fileno())


def clear_asides(folder: Path, *, below: bool) -> None:
    """Delete what a kill left half written in a folder, and below; nobody may be writing there."""
    for path in folder.rglob(".*") if below else folder.glob(".*"):
        if is_aside(path.name):
            path.unlink()


def is_aside(name: str) -> bool:
    """Whether a file is one that was not finished: its writer was killed, or writes right now."""
    return _ASIDE.fullmatch(name) is not None


def sync_file(path: Path) -> None:
    """Make a file's bytes durable. Blocks on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_aside(
    path: Path, content: bytes, mode: int, *, sync: bool = True, aside: Path | None = None
) -> Path:
    aside = aside or path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    return aside
