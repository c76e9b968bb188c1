"""A JSON file in --home: changed by one process at a time, seen by others when it has changed."""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from .errors import Unusable

LOOK_EVERY_S = 1.0  # how soon a running receiver sees a change
Content = TypeVar("Content")
Stamp: TypeAlias = tuple[int, int, int]
"""Nanoseconds of its last change, inode, bytes."""


def stamp_of(path: Path) -> Stamp | None:
    """What changes with a file's content; None where it cannot be looked at.

    Of a link its target's: Kubernetes swaps a folder behind links.
    """
    try:
        now = path.stat()
    except OSError:
        return None
    return now.st_mtime_ns, now.st_ino, now.st_size


class Watched(Generic[Content]):
    """What a file says. Thread-safe; `read` is called again when the file has changed.

    `read` raises where the file cannot be used; then the next look tries again.
    """

    def __init__(self, path: Path, read: Callable[[Path], Content]) -> None:
        self._path = path
        self._read = read
        self._lock = threading.Lock()
        self._content: Content | None = None
        self._seen: Stamp | None = None
        self._looked = float("-inf")

    def content(self, *, now: bool = False) -> Content:
        """What the file said a second ago at most; with `now`, what it says now."""
        with self._lock:
            if self._content is None or now or time.monotonic() - self._looked >= LOOK_EVERY_S:
                self._content = self._look(self._content)
            return self._content

    def _look(self, known: Content | None) -> Content:
        seen = stamp_of(self._path)  # where there is none, `read` says what is wrong
        if known is None or seen is None or seen != self._seen:
            known = self._read(self._path)
            self._seen = seen
        self._looked = time.monotonic()
        return known


@contextmanager
def changing(
    path: Path, read: Callable[[Path], Content], text: Callable[[Content], bytes], nothing: Content
) -> Iterator[Content]:
    """What the file says, to be changed by one process at a time; written whole, or not at all."""
    home = path.parent
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unusable(f"--home {home}: cannot write there: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        content = read(path) if path.exists() else nothing
        yield content
        write_file(path, text(content))
    finally:
        os.close(lock)


def write_file(path: Path, content: bytes) -> None:
    """Put a file in place, whole or not at all, and durably. Blocks. Raises OSError."""
    unfinished = path.with_suffix(".tmp")
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)  # the point of no return: readers see the new content from here
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
