"""A bundle's files as one archive, and back. Pure. There is one way to write each set of files.

The archive is POSIX ustar: regular files alone, every header field but name and size fixed, two
zero blocks at the end and nothing behind them. Compressed it is one zstd frame with its checksum,
and behind it a skippable frame with the SHA-256 of the first, which `zstd -d` passes over: many
compressed texts give the same content, and this is the one that was written.
"""

import hashlib
from collections.abc import Iterable, Iterator

import zstandard

from ..errors import BundleInvalid

UNPACKED_BYTES_MAX = 512 << 20
PACKED_BYTES_MAX = 512 << 20
WINDOW_BYTES_MAX = 128 << 20  # the memory that a frame may ask of whoever reads it
MEMBERS_MAX = 500_000

_BLOCK = 512
_NAME_BYTES_MAX = 100
_MAGIC = b"ustar\x0000"
_MAGIC_AT = 257
_END = bytes(2 * _BLOCK)
_LEVEL = 9
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# RFC 8878 section 3.1.2: a magic number of skippable frames, and the length of what follows.
_SEAL_HEAD = b"\x5e\x2a\x4d\x18" + (32).to_bytes(4, "little")
_SEAL_BYTES = len(_SEAL_HEAD) + 32
_STEP = 1 << 10  # a step unpacks to 32 MiB at most: 128 KiB of every four bytes


def is_archive(raw: bytes) -> bool:
    """Whether the bytes begin as a bundle does, compressed or not."""
    return is_packed(raw) or raw[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] == _MAGIC


def is_packed(raw: bytes) -> bool:
    """Whether the bytes begin as a compressed bundle does."""
    return raw.startswith(_ZSTD_MAGIC)


def archive(files: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """The archive of files that stand by name. Raises BundleInvalid for what does not fit."""
    unpacked = len(_END)
    for name, content in files:
        padding = bytes(-len(content) % _BLOCK)
        unpacked += _BLOCK + len(content) + len(padding)
        if unpacked > UNPACKED_BYTES_MAX:
            raise _too_large()
        yield _header(name, len(content)) + content + padding
    yield _END


def _header(name: str, size: int) -> bytes:
    """A header block; POSIX.1-2017, pax, "ustar Interchange Format"."""
    raw = name.encode()
    if not 0 < len(raw) <= _NAME_BYTES_MAX:
        raise BundleInvalid("archive_invalid", "a name is empty or over 100 bytes", name)
    start = raw.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2
    start += b"%011o\0" % size + b"%011o\0" % 0
    end = b"0" + bytes(100) + _MAGIC + bytes(64) + b"0000000\0" * 2 + bytes(155 + 12)
    total = sum(start) + sum(b" " * 8) + sum(end)
    return start + b"%06o\0 " % total + end


def read_archive(raw: bytes) -> dict[str, bytes]:
    """The files of an archive. Raises BundleInvalid unless it is the one that `archive` writes."""
    if len(raw) > UNPACKED_BYTES_MAX:
        raise _too_large()
    files: dict[str, bytes] = {}
    last, at = "", 0
    while raw[at : at + _BLOCK].strip(b"\0"):
        name, size = _read_header(raw[at : at + _BLOCK])
        at += _BLOCK
        content = raw[at : at + size]
        end = at + size + -size % _BLOCK
        if len(content) != size or raw[at + size : end].strip(b"\0") or end > len(raw):
            raise BundleInvalid("archive_invalid", "a file ends early, or is not padded", name)
        if name in files:
            raise BundleInvalid("duplicate_member", "the archive has this name twice", name)
        if name < last:
            raise BundleInvalid("archive_invalid", "not in its place: files stand by name", name)
        if len(files) >= MEMBERS_MAX:
            raise _too_large()
        files[name] = content
        last, at = name, end
    if raw[at:] != _END:
        raise BundleInvalid("archive_invalid", "the archive does not end as it must")
    return files


def _read_header(block: bytes) -> tuple[str, int]:
    try:
        name = block[:100].rstrip(b"\0").decode()
        size = int(block[124:135], 8)
        same = _header(name, size) == block
    except (ValueError, BundleInvalid) as error:  # also what is no UTF-8
        raise BundleInvalid("archive_invalid", "a header cannot be read") from error
    if not same:
        raise BundleInvalid("archive_invalid", "not a regular file as bundles have them", name)
    return name, size


def pack(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The archive compressed: the frame, then its seal."""
    raw = b"".join(pieces)
    frame = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(raw)
    yield frame
    yield _SEAL_HEAD + hashlib.sha256(frame).digest()


def unpack(raw: bytes) -> bytes:
    """The archive of a compressed one. Raises BundleInvalid where a bit is not as it was written.

    Never holds more than the limits above, whatever the bytes ask for.
    """
    if len(raw) > PACKED_BYTES_MAX:
        raise _too_large()
    frame, seal = raw[:-_SEAL_BYTES], raw[-_SEAL_BYTES:]
    if seal != _SEAL_HEAD + hashlib.sha256(frame).digest():
        raise BundleInvalid("archive_invalid", "the compressed bytes were cut off or changed")
    try:
        return _decompressed(frame)
    except zstandard.ZstdError as error:
        raise BundleInvalid("archive_invalid", f"this cannot be decompressed: {error}") from error


def _decompressed(frame: bytes) -> bytes:
    head = zstandard.get_frame_parameters(frame)
    if not head.has_checksum or head.dict_id:
        raise BundleInvalid("archive_invalid", "not a zstd frame as bundles have it")
    if head.window_size > WINDOW_BYTES_MAX:
        raise _too_large()
    reader = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES_MAX).decompressobj()
    pieces: list[bytes] = []
    unpacked = 0
    for at in range(0, len(frame), _STEP):
        pieces.append(reader.decompress(frame[at : at + _STEP]))
        unpacked += len(pieces[-1])
        if unpacked > UNPACKED_BYTES_MAX:
            raise _too_large()
        if reader.eof:
            break
    if not reader.eof or reader.unused_data or at + _STEP < len(frame):
        raise BundleInvalid("archive_invalid", "not exactly one zstd frame")
    return b"".join(pieces)


def _too_large() -> BundleInvalid:
    return BundleInvalid(
        "archive_too_large",
        f"over {UNPACKED_BYTES_MAX >> 20} MiB, {MEMBERS_MAX} files or a window of "
        f"{WINDOW_BYTES_MAX >> 20} MiB: bundles are smaller, ask for a shorter period",
    )
