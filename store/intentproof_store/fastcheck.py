"""The fast half of the row check: rebuild leaves from columns, a batch at a time. Pure.

Soundness. A row is vouched for only if (a) the leaf rebuilt from its columns is, byte for byte,
the stored leaf, with every text column written as a JSON string, so that no value can pose as
another member; (b) both commitments, recomputed, stand in that leaf; (c) no other texts of its
columns make up the committed texts (`onereading.py`); (d) the derived columns are equal to what
follows from the leaf's; (e) no column is empty where absent is null. Of a half that was erased all
columns are null, and its commitment in the rebuilt leaf is the one that the stored leaf has: 64 hex
digits, with which (a) holds. Everything else is left to `rowcheck.check_row`.
"""

import hashlib
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from intentproof_schemas import (
    CONTEXT_DOMAIN,
    EVENT_KINDS,
    EVENT_MEMBERS,
    PAYLOAD_DOMAIN,
    SALT_BYTES,
    VERSION,
)

from .columns import COLUMNS, HALVES, SEGMENT_SCHEMA
from .onereading import reads_one_way
from .textcolumns import Piece, ends_of, joined, json_piece, number_piece, optional, plain_piece

Mask: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"

_HEX_BYTES = 64
_TEXTS = tuple(each.name for each in SEGMENT_SCHEMA if pa.types.is_string(each.type))
_REQUIRED = (
    *(name for name, needed in EVENT_MEMBERS if needed and name in COLUMNS),
    *("started_at", "completed_at", "received_at", "duration_ms", "leaf"),
)
_IS_HEX = np.isin(np.arange(256), np.frombuffer(b"0123456789abcdef", np.uint8))


def unvouched_rows(batch: pa.RecordBatch, *, tenant: str, writer: str) -> list[int]:
    """The places in the batch of the rows that this cannot vouch for, in order."""
    if batch.schema.names[: len(COLUMNS)] != list(COLUMNS):
        return list(range(batch.num_rows))
    plain = _plain(batch, writer)
    halves = {half: _mask(batch.column(f"{half}_salt").is_valid()) for half in HALVES}
    vouched = np.zeros(batch.num_rows, bool)
    for has in product((True, False), repeat=len(HALVES)):  # rows that have the same halves
        left = dict(zip(HALVES, has, strict=True))
        alike = plain & np.all([halves[half] == there for half, there in left.items()], axis=0)
        places = np.flatnonzero(alike)
        if len(places):
            rows = batch if len(places) == batch.num_rows else batch.take(pa.array(places))
            vouched[places] = _sound(rows, left, tenant=tenant, writer=writer)
    return [int(place) for place in np.flatnonzero(~vouched)]


def _plain(batch: pa.RecordBatch, writer: str) -> Mask:
    """Rows of this writer's events and conflicts that have all that these need, nothing empty.

    Each half is there with its salt, or gone altogether.
    """
    rows = batch.num_rows
    plain = _mask(pc.is_in(batch.column("kind"), value_set=pa.array(sorted(EVENT_KINDS))))
    plain &= _mask(pc.equal(batch.column("writer"), writer))
    for name in _REQUIRED:
        column = batch.column(name)
        if column.null_count:
            plain &= _mask(column.is_valid())
    for name in _TEXTS:
        column = batch.column(name)
        if column.null_count < rows:
            ends = ends_of(column)
            empty = ends[1:] == ends[:-1]
            if np.count_nonzero(empty) != column.null_count:
                plain &= ~(empty & _mask(column.is_valid()))
    for half, (needed, *others) in HALVES.items():
        salts = batch.column(f"{half}_salt")
        salted = np.diff(ends_of(salts)) == SALT_BYTES
        if salts.null_count or not salted.all() or batch.column(needed).null_count:
            there = _mask(salts.is_valid())
            plain &= there == salted  # where there is none, its length is 0
            plain &= there == _mask(batch.column(needed).is_valid())
            for name in others:
                plain &= there | _mask(batch.column(name).is_null())
    detail = batch.column("detail")  # stands in no event's leaf
    if detail.null_count != rows:
        plain &= _mask(detail.is_null())
    return plain


def _sound(rows: pa.RecordBatch, left: dict[str, bool], *, tenant: str, writer: str) -> Mask:
    """Which of plain rows are sound. All have the halves that are `left`, and no other."""
    stored = rows.column("leaf")
    sound = _derived_hold(rows) & reads_one_way(rows)
    if not _is_utf8(stored):
        return np.zeros(rows.num_rows, bool)
    fixed: dict[str, Piece] = {"tenant": tenant, "v": VERSION, "writer": writer}
    for half, texts in (("context", _context_texts), ("payload", _payload_texts)):
        if left[half]:
            fixed[half] = _commitments(texts(rows))
        else:
            fixed[half], told = _told(stored, half)
            sound &= told
    rebuilt = joined(_leaf_pieces(rows, fixed), rows.num_rows).view(pa.binary())
    return sound & _mask(pc.equal(rebuilt, stored))


def _mask(found: pa.Array) -> Mask:
    """Booleans of Arrow; null is false."""
    made: Mask = pc.fill_null(found, fill_value=False).to_numpy(zero_copy_only=False)
    return made


def _is_utf8(leaves: pa.Array) -> bool:
    """Whether the leaves are text. Most are ASCII, which is seen at once."""
    raw = leaves.buffers()[2]
    if raw is None or not raw.size or int(np.frombuffer(raw, np.uint8).max()) < 0x80:
        return True
    try:
        leaves.cast(pa.string())
    except pa.ArrowInvalid:
        return False
    return True


def _leaf_pieces(rows: pa.RecordBatch, fixed: dict[str, Piece]) -> list[Piece]:
    """What each leaf is made of, by canonical order.

    What no leaf lacks stands first and last, so that each other member can bring its comma.
    """
    made: list[Piece] = ["{"]
    for key, required in EVENT_MEMBERS:
        piece = fixed[key] if key in fixed else _piece(rows.column(key))
        before = f'"{key}":"sha256:' if key in ("context", "payload") else f'"{key}":"'
        after = '"}' if key == EVENT_MEMBERS[-1][0] else '",'
        made += [before, piece, after] if required else optional(before, piece, after)
    return made


def _piece(column: pa.Array) -> Piece:
    return number_piece(column) if pa.types.is_integer(column.type) else json_piece(column)


def _context_texts(rows: pa.RecordBatch) -> pa.Array:
    """What each context's commitment is the hash of."""
    pieces = [
        CONTEXT_DOMAIN.decode(),
        rows.column("context_salt").view(pa.string()),
        "{",
        *optional('"attributes":', plain_piece(rows.column("attributes")), ","),
        *optional('"correlationId":"', json_piece(rows.column("correlation_id")), '",'),
        '"intent":"',
        json_piece(rows.column("intent")),
        '"}',
    ]
    return joined(pieces, rows.num_rows)


def _payload_texts(rows: pa.RecordBatch) -> pa.Array:
    """What each payload's commitment is the hash of."""
    pieces = [
        PAYLOAD_DOMAIN.decode(),
        rows.column("payload_salt").view(pa.string()),
        "{",
        *optional('"error":', plain_piece(rows.column("error")), ","),
        '"inputs":',
        plain_piece(rows.column("inputs")),
        *optional(',"output":', plain_piece(rows.column("output")), ""),
        "}",
    ]
    return joined(pieces, rows.num_rows)


def _commitments(texts: pa.Array) -> pa.Array:
    """The hex SHA-256 of each text, in one column that is made at once."""
    hashed = map(hashlib.sha256, texts.view(pa.binary()).to_pylist())
    return _hex_column(b"".join([made.digest() for made in hashed]).hex().encode())


def _told(leaves: pa.Array, half: str) -> tuple[pa.Array, Mask]:
    """The commitment to a half that each leaf has, and which leaves have one. None is null."""
    mark = f'"{half}":"sha256:'
    found = pc.find_substring(leaves, mark).to_numpy()
    ends = ends_of(leaves)
    starts = ends[:-1] + found + len(mark)
    told: Mask = (found >= 0) & (starts + _HEX_BYTES <= ends[1:])
    digits = np.full((len(leaves), _HEX_BYTES), ord("0"), np.uint8)
    raw = np.frombuffer(leaves.buffers()[2] or b"", np.uint8)
    digits[told] = raw[starts[told][:, np.newaxis] + np.arange(_HEX_BYTES)]
    told &= _IS_HEX[digits].all(axis=1)
    digits[~told] = ord("0")
    return _hex_column(digits.tobytes()), told


def _hex_column(digits: bytes) -> pa.Array:
    ends = np.arange(0, len(digits) + 1, _HEX_BYTES, dtype=np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(digits)]
    return pa.Array.from_buffers(pa.string(), len(ends) - 1, buffers)


def _derived_hold(rows: pa.RecordBatch) -> Mask:
    """Which rows have the times that follow from their nanoseconds. None of them is null."""
    started = _numbers(rows.column("started_ns")) // 1000
    completed = np.maximum(started, _numbers(rows.column("completed_ns")) // 1000)
    received = _numbers(rows.column("received_ns")) // 1000
    duration = rows.column("duration_ms").to_numpy(zero_copy_only=False)
    holds: Mask = (
        (_numbers(rows.column("started_at")) == started)
        & (_numbers(rows.column("completed_at")) == completed)
        & (_numbers(rows.column("received_at")) == received)
        & (duration == (completed - started) / 1000)
        & ~np.signbit(duration)
    )
    return holds


def _numbers(column: pa.Array) -> "np.ndarray[Any, np.dtype[np.int64]]":
    numbers: np.ndarray[Any, np.dtype[np.int64]] = column.view(pa.int64()).to_numpy(
        zero_copy_only=False
    )
    return numbers
