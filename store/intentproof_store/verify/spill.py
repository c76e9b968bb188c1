"""What a verifier keeps of each leaf, in memory that does not grow with the store.

Up to a limit bytes stand in memory; beyond it all of them are in a file without a name, in the
folder for temporary files (TMPDIR), which ends with the process.
"""

import os
import tempfile
import weakref

HELD_BYTES_MAX = 32 << 20


class Spill:
    """Bytes, one after the other. Not thread-safe; raises OSError where that disk refuses."""

    def __init__(self, *, held_bytes_max: int = HELD_BYTES_MAX) -> None:
        self._held_bytes_max = held_bytes_max
        self._held = bytearray()
        self._descriptor = -1
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, raw: bytes | bytearray | memoryview) -> None:
        """Add bytes at the end."""
        if self._descriptor < 0 and self._size + len(raw) > self._held_bytes_max:
            self._open()
        if self._descriptor < 0:
            self._held += raw
        else:
            _write(self._descriptor, memoryview(raw), self._size)
        self._size += len(raw)

    def keep(self, raw: bytes | bytearray | memoryview) -> "Kept":
        """Add bytes at the end; where they are."""
        first = self._size
        self.append(raw)
        return Kept(self, first, self._size)

    def __getitem__(self, where: slice) -> bytes:
        first, end, _ = where.indices(self._size)
        if self._descriptor < 0:
            return bytes(self._held[first:end])
        found = bytearray()
        while first + len(found) < end:
            part = os.pread(self._descriptor, end - first - len(found), first + len(found))
            if not part:
                raise OSError("a temporary file was cut off")
            found += part
        return bytes(found)

    def _open(self) -> None:
        with tempfile.TemporaryFile(buffering=0) as file:
            self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)
        _write(self._descriptor, memoryview(self._held), 0)
        self._held = bytearray()


class Kept:
    """Some of the bytes of a spill."""

    def __init__(self, spill: Spill, first: int, end: int) -> None:
        self._spill = spill
        self._first = first
        self._end = end

    def __len__(self) -> int:
        return self._end - self._first

    def __getitem__(self, where: slice) -> bytes:
        first, end, _ = where.indices(len(self))
        return self._spill[self._first + first : self._first + max(first, end)]


def _write(descriptor: int, raw: memoryview, at: int) -> None:
    while raw:
        written = os.pwrite(descriptor, raw, at)
        raw, at = raw[written:], at + written
