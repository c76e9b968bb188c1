"""Asking a Parquet file's bloom filter for values, by reading 32 bytes of it for each. Pure.

Split block bloom filters as https://github.com/apache/parquet-format/blob/master/BloomFilter.md
has them, and the XXH64 of https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md with
which their values are hashed.
"""

from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from .textcolumns import ends_of

BLOCK_BYTES = 32
Hashes: TypeAlias = "np.ndarray[Any, Any]"  # of uint64
Blocks: TypeAlias = "np.ndarray[Any, np.dtype[np.uint32]]"
Mask: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"
Bytes: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"

_SALTS = np.array(
    [
        *(0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D),
        *(0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31),
    ],
    np.uint32,
)
# Of arrays, never of scalars: arrays wrap around, as the hash wants it.
_P1, _P2, _P3, _P4, _P5 = np.array(
    [
        *(0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9),
        *(0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5),
    ],
    np.uint64,
)[:, np.newaxis]
_STRIPE_WORDS = 4
_FORM = bytes.fromhex("1c1c00001c1c00001c1c000000")  # split blocks, XXH64, uncompressed


def header(size: int) -> bytes:
    """The header before the bits of a filter of so many bytes, in Thrift's compact protocol."""
    number, digits = 2 * size, bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return b"\x15" + bytes((*digits, number)) + _FORM


def bitset_place(offset: int, length: int) -> tuple[int, int]:
    """Where in its file a filter's bits are, and their bytes: a power of two, behind a header.

    `offset` and `length` are those of header and bits, as a footer has them.
    """
    size = 1 << (length.bit_length() - 1)
    return offset + length - size, size


def block_numbers(hashed: Hashes, size: int) -> Hashes:
    """Which block of a filter of so many bytes is that of each hash."""
    half = np.uint64(32)
    numbers: Hashes = (hashed >> half) * np.uint64(size // BLOCK_BYTES) >> half
    return numbers


def may_hold(blocks: Blocks, hashed: Hashes) -> Mask:
    """Which blocks have all the bits of a hash: of each its own, or all of one.

    `blocks` has eight words a row. Without those bits, the value is not in the file.
    """
    keys = hashed.astype(np.uint32)
    held = np.full(max(len(blocks), len(keys)), 1, np.uint32)
    for place, salt in enumerate(_SALTS):  # a column at once: faster than a block at once
        held &= blocks[:, place] >> (keys * salt >> np.uint32(27))
    return held.astype(bool)


def xxh64(values: pa.Array) -> Hashes:
    """The XXH64 of each text or byte string, with seed 0. None is null."""
    ends = ends_of(values)
    lengths = np.diff(ends)
    raw = np.frombuffer(values.buffers()[2] or b"", np.uint8)
    hashed = np.empty(len(values), np.uint64)
    for length in np.unique(lengths).tolist():
        places = np.flatnonzero(lengths == length)
        if len(places) == len(values):  # the usual case: ids are of one length
            rows = raw[ends[0] : ends[-1]].reshape(len(values), length)
        else:
            rows = raw[ends[places][:, np.newaxis] + np.arange(length)]
        hashed[places] = _hash(rows)
    return hashed


def _hash(rows: Bytes) -> Hashes:
    """The hash of each row; all are of one length."""
    length = rows.shape[1]
    whole = length // 8
    words = np.ascontiguousarray(np.ascontiguousarray(rows[:, : whole * 8]).view("<u8").T)
    done = whole // _STRIPE_WORDS * _STRIPE_WORDS
    hashed = np.repeat(_P5, len(rows))
    if done:
        hashed = _stripes(words[:done])
    hashed += np.uint64(length)
    for word in words[done:]:
        hashed = _turned(hashed ^ _round(_P1 - _P1, word), 27) * _P1 + _P4
    at = whole * 8
    if at + 4 <= length:
        half = np.ascontiguousarray(rows[:, at : at + 4]).view("<u4")[:, 0].astype(np.uint64)
        hashed = _turned(hashed ^ half * _P1, 23) * _P2 + _P3
        at += 4
    for byte in rows[:, at:].T:
        hashed = _turned(hashed ^ byte.astype(np.uint64) * _P5, 11) * _P1
    hashed = (hashed ^ hashed >> np.uint64(33)) * _P2
    hashed = (hashed ^ hashed >> np.uint64(29)) * _P3
    finished: Hashes = hashed ^ hashed >> np.uint64(32)
    return finished


def _stripes(words: Hashes) -> Hashes:
    """What stripes of 32 bytes come to; `words` has a row for each word, a column for each text."""
    zero = _P1 - _P1
    lanes = [_P1 + _P2, _P2, zero, zero - _P1]
    for at in range(0, len(words), _STRIPE_WORDS):
        lanes = [_round(lane, words[at + place]) for place, lane in enumerate(lanes)]
    first, *others = (_turned(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True))
    hashed: Hashes = sum(others, first)
    for lane in lanes:
        hashed = (hashed ^ _round(zero, lane)) * _P1 + _P4
    return hashed


def _round(lane: Hashes, word: Hashes) -> Hashes:
    mixed: Hashes = word * _P2
    mixed += lane
    mixed = _turned(mixed, 31)
    mixed *= _P1
    return mixed


def _turned(word: Hashes, by: int) -> Hashes:
    turned: Hashes = word << np.uint64(by)
    turned |= word >> np.uint64(64 - by)
    return turned
