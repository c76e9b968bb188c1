"""What sameness compares: ids, contents and stream numbers in 16 bytes each.

Digests are SHA-256 over unambiguous texts, keyed by a secret of the process, and never leave its
memory: nobody can look for two that are the same, or know an erased content by its digest.
"""

import hashlib
import re
import secrets

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from intentproof_schemas import EVENT_MEMBERS, TELLING_KEYS

from .idtable import CELL_WORDS, Array, IdKeys
from .leafcolumns import EventTexts
from .textcolumns import Piece, joined

# What two tellings of one event share in their leaves (contract §4), beside what all of a log do.
_SHARED = tuple(
    key
    for key, _ in EVENT_MEMBERS
    if key not in TELLING_KEYS and key not in ("event_id", "kind", "tenant", "v")
)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UUID_BYTES = 36
_DASHES = (8, 13, 18, 23)
_HALF = np.uint64(32)
_sha256 = hashlib.sha256


class Digests:
    """Makes keys and digests under one secret."""

    def __init__(self) -> None:
        self._secret = secrets.token_hex(32)
        words = np.frombuffer(secrets.token_bytes(32), np.uint64)
        self._added, self._factors = words[:2], words[2:] | np.uint64(1)

    def ids(self, column: pa.Array) -> IdKeys:
        """The keys of ids: the bytes of a UUID, the digest of any other text."""
        raw = _uuid_bytes(column)
        if raw is None:
            raw = b"".join([self._id(text or "") for text in column.to_pylist()])
        return self.keyed(raw)

    def keyed(self, raw: bytes) -> IdKeys:
        """Keys, 16 bytes each, with their hashes: a secret mix, so that nobody can aim at one."""
        keys = np.frombuffer(raw, np.uint64).reshape(-1, CELL_WORDS)
        hashes = (keys[:, 0] ^ self._added[0]) * self._factors[0]
        hashes ^= hashes >> _HALF
        hashes = (hashes ^ keys[:, 1] ^ self._added[1]) * self._factors[1]
        hashes ^= hashes >> _HALF
        return IdKeys(keys, hashes)

    def _id(self, text: str) -> bytes:
        if _UUID.fullmatch(text):
            return bytes.fromhex(text.replace("-", ""))
        return self._digest(f"id\n{text}")

    def contents(self, texts: EventTexts, *, context: bool = True) -> Array:
        """Digests of all that two tellings of one event must share.

        JSON texts hold no line feed, which therefore tells where one ends.
        """
        pieces: list[Piece] = [self._secret, *(texts.pieces[name] for name in _SHARED)]
        pieces += [texts.context if context else "", texts.payload]
        each = joined(pieces, texts.rows, between="\n").view(pa.binary()).to_pylist()
        raw = b"".join([made.digest() for made in map(_sha256, each)])
        return np.frombuffer(raw, np.uint64).reshape(texts.rows, -1)[:, :CELL_WORDS]

    def numbers(self, events: pa.RecordBatch) -> Array | None:
        """Digests of stream id and number, zero where an event has none; None if none has.

        The number is mixed into the digest of its stream: for two streams to have one in common,
        the other half of their digests would have to be equal.
        """
        sequence = events.column("sequence")
        if sequence.null_count == len(sequence):
            return None
        streams = events.column("stream_id").dictionary_encode()
        known = [self._digest(f"stream\n{text}") for text in streams.dictionary.to_pylist()]
        raw = b"".join([*known, self._digest("stream\n")])
        digests = np.frombuffer(raw, np.uint64).reshape(-1, CELL_WORDS)
        which = pc.fill_null(streams.indices, len(known)).to_numpy(zero_copy_only=False)
        made: Array = digests[which]
        made[:, 0] ^= pc.fill_null(sequence, 0).to_numpy(zero_copy_only=False).view(np.uint64)
        if sequence.null_count:
            made[pc.is_null(sequence).to_numpy(zero_copy_only=False)] = 0
        return made

    def _digest(self, text: str) -> bytes:
        return _sha256(f"{self._secret}\n{text}".encode()).digest()[:16]


def _uuid_bytes(column: pa.Array) -> bytes | None:
    """The 16 bytes of each text, or None unless all are UUIDs as we write them."""
    rows = len(column)
    _, places, data = column.buffers()
    if column.null_count or not rows:
        return None if rows else b""
    ends = np.frombuffer(places, np.int32, rows + 1, column.offset * 4)
    start, length = int(ends[0]), int(ends[-1] - ends[0])
    if length != rows * _UUID_BYTES or not (ends[1:] - ends[:-1] == _UUID_BYTES).all():
        return None
    raw: bytes = data.slice(start, length).to_pybytes()
    dashes = np.frombuffer(raw, np.uint8).reshape(rows, _UUID_BYTES)[:, _DASHES]
    digits = raw.replace(b"-", b"")
    if len(digits) != 32 * rows or not (dashes == ord("-")).all():
        return None
    try:
        keys = bytes.fromhex(digits.decode())
    except ValueError:
        return None
    return keys if keys.hex().encode() == digits else None  # else spaces or capitals
