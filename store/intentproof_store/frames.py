"""Hot frames: how acknowledged rows stand on disk until they are sealed. Pure but for reading.

    magic "IPF1" · number u64 · tenant length u16 · body length u32 · CRC-32 u32 · MAC 32 bytes
    · tenant · body                                                      (little endian)

The checksum finds accidents without any key; Arrow IPC alone misses 83 % of bit flips. The MAC,
under a key outside the store, finds frames that somebody else wrote. The body is one Arrow IPC
record batch, without its schema, of the segment's columns.
"""

import hashlib
import hmac
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from .columns import SEGMENT_SCHEMA
from .errors import FrameInvalid, FrameTorn
from .files import read_regular

MAGIC = b"IPF1"
_HEAD = struct.Struct("<4sQHII32s")
_BODY_BYTES_MAX = 1 << 30
# Threads would cost more in handing over than they save: a frame is a few hundred kilobytes.
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)


_READ_OPTIONS = pa.ipc.IpcReadOptions(use_threads=False)
_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"  # Arrow's end of stream


def _schema_message() -> bytes:
    """What a stream of our rows begins with, and no frame holds."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SEGMENT_SCHEMA, options=_OPTIONS):
        pass
    return bytes(sink.getvalue()).removesuffix(_END)


_SCHEMA = _schema_message()


@dataclass(frozen=True)
class Frame:
    """One frame as read: its bytes are whole; whose they are, only `authenticate` tells."""

    number: int
    tenant: str
    body: bytes | memoryview
    mac: bytes
    offset: int
    length: int

    def authenticate(self, key: bytes, writer: str) -> None:
        """Raise FrameInvalid unless the frame was written with `key` by `writer`."""
        expected = _mac(key, writer, self.number, self.tenant.encode(), self.body)
        if not hmac.compare_digest(expected, self.mac):
            raise FrameInvalid(f"frame {self.number} was not written by this receiver")

    def rows(self) -> pa.RecordBatch:
        """The frame's rows, with the columns of a segment. Raises FrameInvalid."""
        return read_rows(self.body)


@dataclass(frozen=True)
class Damage:
    """Bytes of a hot file that are no whole frame. `torn`: the file ends within the frame."""

    offset: int
    length: int
    torn: bool
    message: str


def write_rows(batch: pa.RecordBatch) -> memoryview:
    """A frame's body: the batch as an Arrow IPC message. It is large, and copied once only."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SEGMENT_SCHEMA, options=_OPTIONS) as stream:
        stream.write_batch(batch)
    written = sink.getvalue()
    return memoryview(written)[len(_SCHEMA) : written.size - len(_END)]


def read_rows(body: bytes | memoryview) -> pa.RecordBatch:
    """The rows of a frame's body. Raises FrameInvalid."""
    try:
        (batch,) = _read_batches([body])
        batch.validate(full=True)
    except Exception as error:  # altered bytes make the library raise anything
        raise FrameInvalid(f"a frame's rows cannot be read: {error}") from error
    return batch


def own_rows(frames: Sequence[Frame], key: bytes, writer: str) -> list[pa.RecordBatch]:
    """The rows of frames that we wrote: what their MACs cover needs no other look.

    Raises FrameInvalid. Many in one call of Arrow's, and so the interpreter's lock is asked for
    once: whoever answers requests meanwhile would have to wait for it at each.
    """
    for frame in frames:
        frame.authenticate(key, writer)
    return _read_batches([frame.body for frame in frames])


def _read_batches(bodies: Sequence[bytes | memoryview]) -> list[pa.RecordBatch]:
    # As a stream, because only of a stream Arrow can be told to use no threads.
    stream = pa.ipc.open_stream(b"".join((_SCHEMA, *bodies)), options=_READ_OPTIONS)
    batches: list[pa.RecordBatch] = stream.read_all().to_batches()
    if len(batches) != len(bodies):
        raise FrameInvalid("a frame without rows")
    return batches


def encode_frame(
    number: int, tenant: str, body: bytes | memoryview, *, key: bytes, writer: str
) -> bytes:
    """The bytes of one frame. Raises FrameInvalid for a body that no reader would take."""
    if len(body) > _BODY_BYTES_MAX:
        raise FrameInvalid(f"a frame of {len(body)} bytes, the limit is {_BODY_BYTES_MAX}")
    name = tenant.encode()
    mac = _mac(key, writer, number, name, body)
    checksum = _checksum(number, mac, name, body)
    head = _HEAD.pack(MAGIC, number, len(name), len(body), checksum, mac)
    return b"".join((head, name, body))


def _checksum(number: int, mac: bytes, name: bytes, body: bytes | memoryview) -> int:
    return zlib.crc32(body, zlib.crc32(name, zlib.crc32(mac, number & 0xFFFFFFFF)))


def _mac(key: bytes, writer: str, number: int, tenant: bytes, body: bytes | memoryview) -> bytes:
    keyed = hmac.new(key, digestmod=hashlib.sha256)
    keyed.update(b"intentproof.hot.v1\0" + writer.encode() + b"\0")
    keyed.update(struct.pack("<QH", number, len(tenant)) + tenant)
    keyed.update(body)
    return keyed.digest()


def read_frame(raw: bytes, offset: int, *, summed: bool = True) -> Frame:
    """The frame at `offset`. Raises FrameInvalid.

    With `summed` false its checksum is not looked at, for whoever looks at its MAC anyway.
    """
    if len(raw) - offset < _HEAD.size:
        raise FrameTorn("the file ends within a frame's head")
    magic, number, name_bytes, body_bytes, checksum, mac = _HEAD.unpack_from(raw, offset)
    if magic != MAGIC or body_bytes > _BODY_BYTES_MAX:
        raise FrameInvalid("no frame starts here")
    start = offset + _HEAD.size
    end = start + name_bytes + body_bytes
    if end > len(raw):
        raise FrameTorn("the file ends within a frame")
    view = memoryview(raw)  # a body is large, and copied where it must be only
    name, body = bytes(view[start : start + name_bytes]), view[start + name_bytes : end]
    if summed and _checksum(number, mac, name, body) != checksum:
        raise FrameInvalid(f"the checksum of frame {number} does not hold")
    return Frame(number, name.decode(errors="replace"), body, mac, offset, end - offset)


def scan(path: Path) -> Iterator[Frame | Damage]:
    """Every whole frame of a file, in order, and what lies between them.

    After damage the scan goes on at the next place where a frame with a right checksum starts.
    Reads the file once; a file that is still being written ends in a torn frame.
    """
    raw = read_regular(path)
    offset = 0
    while offset < len(raw):
        try:
            frame = read_frame(raw, offset)
        except FrameInvalid as error:
            resumed = _next_frame(raw, offset + 1)
            end = len(raw) if resumed is None else resumed
            torn = resumed is None and isinstance(error, FrameTorn)
            yield Damage(offset, end - offset, torn, str(error))
            offset = end
        else:
            yield frame
            offset += frame.length


def _next_frame(raw: bytes, start: int) -> int | None:
    while (found := raw.find(MAGIC, start)) >= 0:
        try:
            read_frame(raw, found)
        except FrameInvalid:
            start = found + 1
        else:
            return found
    return None
