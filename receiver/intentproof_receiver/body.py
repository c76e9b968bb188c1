"""An HTTP body: read, and decompressed in steps, with every limit counted as it grows."""

import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Protocol, TypeAlias

import cramjam
import zstandard

from .errors import InvalidRequest, TooLarge, UnsupportedMedia
from .inflight import Lease

ENCODINGS = ("identity", "gzip", "deflate", "zstd", "snappy", "x-snappy-framed")
_STEP = 1 << 20  # bytes decompressed at a time, before the limit is looked at again
_ZSTD_STEP = 256  # bytes fed at a time: at most 8 MiB come out
_ZSTD_WINDOW_MIN = 8 << 20  # RFC 8878 section 3.1.1.1.2: what every decoder should take
_PARTS_MAX = 10_000  # members, frames or chunks of one body: an empty one costs time, and no bytes
_GZIP_STEP = 64 << 10  # bytes fed at a time: what is behind a member is copied with each
_GZIP_WINDOW = 31
_ZLIB_WINDOW = 15
_RAW_WINDOW = -15
# https://github.com/google/snappy: format_description.txt (3 bytes become 64 at most), and
# framing_format.txt (what stands first; the 4 bytes before each chunk).
_SNAPPY_GROWTH = (64, 3)
_SNAPPY_FRAMED = b"\xff\x06\x00\x00sNaPpY"
_SNAPPY_CHUNK_HEAD = 4

Hold: TypeAlias = Callable[[int], None]


class Decoder(Protocol):
    """A streaming decoder; both methods raise InvalidRequest for bytes that it cannot read."""

    def feed(self, data: bytes, hold: Hold) -> Iterator[bytes]:
        """What `data` decompresses to, in steps; `hold` is told of the bytes of each.

        What is over 8 MiB is told before memory is given to it. What `hold` raises goes through.
        """
        ...

    def finish(self) -> None:
        """Check that the stream has ended."""
        ...


class _Parts:
    """Counts what a compressed body is made of. Raises TooLarge beyond _PARTS_MAX."""

    def __init__(self) -> None:
        self._count = 0

    def count(self) -> None:
        self._count += 1
        if self._count > _PARTS_MAX:
            raise TooLarge(f"a body of over {_PARTS_MAX} compressed parts")


class _Zlib:
    """gzip, also of several members, and deflate, which some clients send without its wrapper."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._inner = zlib.decompressobj(_GZIP_WINDOW if name == "gzip" else _ZLIB_WINDOW)
        self._begun = False
        self._parts = _Parts()

    def feed(self, data: bytes, hold: Hold) -> Iterator[bytes]:
        if data and not self._begun:
            self._begun = True
            if self._name == "deflate" and not _has_zlib_header(data):
                self._inner = zlib.decompressobj(_RAW_WINDOW)
        for start in range(0, len(data), _GZIP_STEP):
            yield from self._feed(data[start : start + _GZIP_STEP], hold)

    def _feed(self, data: bytes, hold: Hold) -> Iterator[bytes]:
        step = b""
        while data or (len(step) == _STEP and not self._inner.eof):  # what it holds back, too
            if self._inner.eof:
                if self._name != "gzip":
                    raise InvalidRequest("body", f"bytes after the end of the {self._name} stream")
                self._parts.count()
                self._inner = zlib.decompressobj(_GZIP_WINDOW)
            try:
                step = self._inner.decompress(data, _STEP)
            except zlib.error as error:
                raise InvalidRequest("body", f"not {self._name}") from error
            hold(len(step))
            yield step
            data = self._inner.unconsumed_tail or self._inner.unused_data

    def finish(self) -> None:
        if self._begun and not self._inner.eof:
            raise InvalidRequest("body", f"the {self._name} stream is cut short")


def _has_zlib_header(data: bytes) -> bool:
    """RFC 1950: method 8, and the first two bytes are a multiple of 31."""
    return data[0] & 0x0F == 8 and (len(data) < 2 or int.from_bytes(data[:2]) % 31 == 0)


class _Zstd:
    def __init__(self, window_max: int) -> None:
        self._window_max = window_max
        self._make = zstandard.ZstdDecompressor(max_window_size=window_max).decompressobj
        self._inner = self._make()
        self._begun = False
        self._parts = _Parts()

    def feed(self, data: bytes, hold: Hold) -> Iterator[bytes]:
        self._check_window(data)
        # Small inputs: the library decompresses a whole input at once, and 4 bytes of zstd may
        # become 128 KiB.
        for start in range(0, len(data), _ZSTD_STEP):
            piece = data[start : start + _ZSTD_STEP]
            while piece:
                if self._inner.eof:
                    self._parts.count()
                    self._inner = self._make()
                self._begun = True
                try:
                    step = self._inner.decompress(piece)
                except zstandard.ZstdError as error:
                    raise InvalidRequest("body", "not zstd") from error
                hold(len(step))
                yield step
                piece = self._inner.unused_data

    def _check_window(self, data: bytes) -> None:
        """A frame that asks for more memory than a message may have is too large, not damaged."""
        try:
            window = zstandard.get_frame_parameters(data).window_size
        except zstandard.ZstdError as error:
            raise InvalidRequest("body", "not zstd") from error
        if window > self._window_max:
            raise TooLarge(f"a zstd window of {window} bytes, the limit is {self._window_max}")

    def finish(self) -> None:
        if self._begun and not self._inner.eof:
            raise InvalidRequest("body", "the zstd stream is cut short")


class _Snappy:
    """Snappy, one block or framed.

    The Collector's `snappy` is a block and was framed in older versions, so that both are told
    apart by how they begin, as its own receiver does (confighttp, compression.go).
    """

    def __init__(self, *, framed: bool) -> None:
        self._framed = framed

    def feed(self, data: bytes, hold: Hold) -> Iterator[Any]:
        if self._framed or data.startswith(_SNAPPY_FRAMED):
            yield from self._chunks(data, hold)
        elif data:
            yield self._block(data, hold)

    def _block(self, data: bytes, hold: Hold) -> Any:
        """A block tells its size, which is not believed where it cannot be so large."""
        try:
            size = cramjam.snappy.decompress_raw_len(data)
            most, least = _SNAPPY_GROWTH
            if size * least > len(data) * most:
                raise InvalidRequest("body", "not snappy")
            hold(size)
            return cramjam.snappy.decompress_raw(data, output_len=size)
        except cramjam.DecompressionError as error:
            raise InvalidRequest("body", "not snappy") from error

    def _chunks(self, data: bytes, hold: Hold) -> Iterator[Any]:
        """Chunk by chunk, each of 64 KiB at most; the library checks sizes and checksums."""
        at = 0
        parts = _Parts()
        while at < len(data):
            parts.count()
            size = int.from_bytes(data[at + 1 : at + _SNAPPY_CHUNK_HEAD], "little")
            chunk = data[at : at + _SNAPPY_CHUNK_HEAD + size]
            if at == 0 and chunk != _SNAPPY_FRAMED:
                raise InvalidRequest("body", "not framed snappy")
            try:
                step = cramjam.snappy.decompress(_SNAPPY_FRAMED + chunk)
            except cramjam.DecompressionError as error:
                raise InvalidRequest("body", "not framed snappy") from error
            hold(len(step))
            yield step
            at += len(chunk)

    def finish(self) -> None:
        """A block and a chunk are whole, or were refused."""


def decoder_of(encoding: str, *, bytes_max: int) -> Decoder | None:
    """The decoder of a Content-Encoding, None for identity. Raises UnsupportedMedia for others."""
    name = encoding.strip().lower() or "identity"
    if name == "identity":
        return None
    if name in ("gzip", "x-gzip"):
        return _Zlib("gzip")
    if name in ("deflate", "zlib"):
        return _Zlib("deflate")
    if name == "zstd":
        return _Zstd(max(bytes_max, _ZSTD_WINDOW_MIN))
    if name in ("snappy", "x-snappy-framed"):
        return _Snappy(framed=name != "snappy")
    raise UnsupportedMedia(f"Content-Encoding {name[:40]!r}: one of {', '.join(ENCODINGS)}")


async def read_body(
    chunks: AsyncIterator[bytes], *, length: int | None, bytes_max: int, lease: Lease
) -> bytes:
    """The whole body as sent; raises TooLarge beyond `bytes_max`.

    `length` is the Content-Length, held before the first byte is asked for; without one every
    chunk is held as it comes.
    """
    if length is not None:
        if length > bytes_max:
            raise TooLarge(f"a body of {length} bytes, the limit is {bytes_max}")
        lease.grow(length)
    received = 0
    parts: list[bytes] = []
    async for chunk in chunks:
        received += len(chunk)
        if received > bytes_max:
            raise TooLarge(f"a body over {bytes_max} bytes")
        if length is None:
            lease.grow(len(chunk))
        parts.append(chunk)
    return b"".join(parts)


def unpack(body: bytes, decoder: Decoder | None, *, bytes_max: int, lease: Lease) -> bytes:
    """The body after decompression; raises TooLarge beyond `bytes_max`. What it adds is held."""
    if decoder is None:
        return body
    size = 0

    def hold(more: int) -> None:
        nonlocal size
        size += more
        if size > bytes_max:
            raise TooLarge(f"a body over {bytes_max} bytes after decompression")
        lease.grow(more)

    parts = list(decoder.feed(body, hold))
    decoder.finish()
    return b"".join(parts)
