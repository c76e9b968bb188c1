"""Sorted hashes in a file without a name: memory that the kernel takes back when it needs it.

Nothing in it outlives the process, which alone knows how the hashes are made, so nothing of it is
ever durable: the next process reads the ids from the segments.
"""

import mmap
import os
import tempfile
import weakref
from pathlib import Path

import numpy as np

from .idtable import Array

_BYTES = 8


class HashFile:
    """Arrays of 64-bit hashes, one after the other; made with the first. Not thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = -1
        self._hashes: Array = np.empty(0, np.uint64)

    def append(self, hashes: Array) -> slice:
        """Keep an array; its place. Raises OSError where the disk refuses, and keeps nothing."""
        if self._descriptor < 0:
            self._open()
        first = len(self._hashes)
        # Written, not assigned to mapped pages: on a full disk that would end the process.
        view, at = hashes.data.cast("B"), first * _BYTES
        while view:
            written = os.pwrite(self._descriptor, view, at)
            view, at = view[written:], at + written
        mapped = mmap.mmap(self._descriptor, at, prot=mmap.PROT_READ)
        self._hashes = np.frombuffer(mapped, np.uint64)
        return slice(first, len(self._hashes))

    def read(self, place: slice) -> Array:
        """The array at a place, as pages of the file. Not to be held on to."""
        return self._hashes[place]

    def _open(self) -> None:
        with tempfile.TemporaryFile(dir=self._folder, buffering=0) as file:
            self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)
