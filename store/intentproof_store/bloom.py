"""Asking a Parquet file's bloom filter for one value, by reading 32 bytes of it. Pure.

Split block bloom filters as https://github.com/apache/parquet-format/blob/master/BloomFilter.md
has them, and the XXH64 of https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md with
which their values are hashed.
"""

import struct

BLOCK_BYTES = 32
_SALTS = (
    *(0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D),
    *(0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31),
)
_MASK32, _MASK64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
_P1, _P2, _P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P4, _P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
_STRIPE_BYTES = 32


def bitset_place(offset: int, length: int) -> tuple[int, int]:
    """Where in its file a filter's bits are, and their bytes: a power of two, behind a header.

    `offset` and `length` are those of header and bits, as a footer has them.
    """
    size = 1 << (length.bit_length() - 1)
    return offset + length - size, size


def block_offset(hashed: int, size: int) -> int:
    """Where in a filter of so many bytes the block of a hash begins."""
    return ((hashed >> 32) * (size // BLOCK_BYTES) >> 32) * BLOCK_BYTES


def may_hold(block: bytes, hashed: int) -> bool:
    """Whether a block has all the bits of a hash. Without them, the value is not in the file."""
    key = hashed & _MASK32
    words = struct.unpack("<8I", block)
    return all(
        word >> ((key * salt & _MASK32) >> 27) & 1 for word, salt in zip(words, _SALTS, strict=True)
    )


def xxh64(raw: bytes) -> int:
    """The XXH64 of some bytes, with seed 0."""
    at = 0
    if len(raw) >= _STRIPE_BYTES:
        lanes = [(_P1 + _P2) & _MASK64, _P2, 0, -_P1 & _MASK64]
        while at + _STRIPE_BYTES <= len(raw):
            words = struct.unpack_from("<4Q", raw, at)
            lanes = [_round(lane, word) for lane, word in zip(lanes, words, strict=True)]
            at += _STRIPE_BYTES
        turns = zip(lanes, (1, 7, 12, 18), strict=True)
        hashed = sum(_turned(lane, by) for lane, by in turns) & _MASK64
        for lane in lanes:
            hashed = ((hashed ^ _round(0, lane)) * _P1 + _P4) & _MASK64
    else:
        hashed = _P5
    hashed = (hashed + len(raw)) & _MASK64
    while at + 8 <= len(raw):
        (word,) = struct.unpack_from("<Q", raw, at)
        hashed = (_turned(hashed ^ _round(0, word), 27) * _P1 + _P4) & _MASK64
        at += 8
    if at + 4 <= len(raw):
        (half,) = struct.unpack_from("<I", raw, at)
        hashed = (_turned(hashed ^ (half * _P1 & _MASK64), 23) * _P2 + _P3) & _MASK64
        at += 4
    for byte in raw[at:]:
        hashed = _turned(hashed ^ (byte * _P5 & _MASK64), 11) * _P1 & _MASK64
    hashed = (hashed ^ hashed >> 33) * _P2 & _MASK64
    hashed = (hashed ^ hashed >> 29) * _P3 & _MASK64
    return hashed ^ hashed >> 32


def _round(lane: int, word: int) -> int:
    return _turned((lane + word * _P2) & _MASK64, 31) * _P1 & _MASK64


def _turned(word: int, by: int) -> int:
    return (word << by | word >> (64 - by)) & _MASK64
