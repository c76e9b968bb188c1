"""Leaves of a batch of events, by columns (contract §4). Pure but for salts.

What `event_leaf`, `context_text` and `payload_text` of the schemas say of one event, this says of
all rows of a batch, byte for byte. A property test feeds both the same events.
"""

import hashlib
import os
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from intentproof_schemas import (
    CONTEXT_DOMAIN,
    EVENT_MEMBERS,
    LEAF_BYTES_MAX,
    PAYLOAD_DOMAIN,
    SALT_BYTES,
    VERSION,
    LeafInvalid,
)

from .textcolumns import Piece, joined, json_piece, number_piece, optional, plain_piece

_TEXTS = (
    "event_id",
    "trace_id",
    "span_id",
    "parent_span_id",
    "action",
    "status",
    "provenance",
    "mapping_rule",
    "run_id",
    "stage",
    "stream_id",
)
_NUMBERS = (
    "started_ns",
    "completed_ns",
    "sequence",
    "dropped_attributes_count",
    "dropped_events_count",
    "dropped_links_count",
)
_HEX_BYTES = 64


@dataclass(frozen=True)
class EventTexts:
    """What a batch of events is written with: the pieces of its leaves, its committed members."""

    rows: int
    pieces: dict[str, Piece]
    context: pa.Array
    payload: pa.Array


@dataclass(frozen=True)
class Leaves:
    """The leaves of a batch of events, with their salts."""

    context_salt: pa.Array
    payload_salt: pa.Array
    leaf: pa.Array


def event_texts(events: pa.RecordBatch) -> EventTexts:
    """The texts of a batch of EVENT_SCHEMA, or of more columns."""
    pieces = {name: json_piece(events.column(name)) for name in _TEXTS}
    pieces |= {name: number_piece(events.column(name)) for name in _NUMBERS}
    return EventTexts(
        events.num_rows, pieces, context=_context_texts(events), payload=_payload_texts(events)
    )


def _context_texts(events: pa.RecordBatch) -> pa.Array:
    return joined(
        [
            "{",
            *optional('"attributes":', plain_piece(events.column("attributes")), ","),
            *optional('"correlationId":"', json_piece(events.column("correlation_id")), '",'),
            '"intent":"',
            json_piece(events.column("intent")),
            '"}',
        ],
        events.num_rows,
    )


def _payload_texts(events: pa.RecordBatch) -> pa.Array:
    return joined(
        [
            "{",
            *optional('"error":', plain_piece(events.column("error")), ","),
            '"inputs":',
            plain_piece(events.column("inputs")),
            *optional(',"output":', plain_piece(events.column("output")), ""),
            "}",
        ],
        events.num_rows,
    )


def make_leaves(
    texts: EventTexts, *, kinds: Piece, tenant: str, writer: str, received_ns: int
) -> Leaves:
    """The leaves of events and conflicts, with new salts. Raises LeafInvalid over 32 KiB."""
    rows = texts.rows
    salts = os.urandom(2 * rows * SALT_BYTES)
    context_salt = _cells(salts[: rows * SALT_BYTES], SALT_BYTES, pa.binary())
    payload_salt = _cells(salts[rows * SALT_BYTES :], SALT_BYTES, pa.binary())
    fixed: dict[str, Piece] = {
        "context": _commitments(CONTEXT_DOMAIN, context_salt, texts.context),
        "payload": _commitments(PAYLOAD_DOMAIN, payload_salt, texts.payload),
        "kind": kinds,
        "tenant": tenant,
        "received_ns": str(received_ns),
        "v": VERSION,
        "writer": writer,
    }
    leaf = joined(_leaf_pieces(texts.pieces | fixed), rows).view(pa.binary())
    ends = np.frombuffer(leaf.buffers()[1], np.int32, rows + 1, leaf.offset * 4)
    longest = int((ends[1:] - ends[:-1]).max())
    if longest > LEAF_BYTES_MAX:
        raise LeafInvalid(f"a leaf of {longest} bytes, the limit is {LEAF_BYTES_MAX}")
    return Leaves(context_salt, payload_salt, leaf)


def _leaf_pieces(pieces: dict[str, Piece]) -> list[Piece]:
    """What each leaf is made of, by canonical order.

    What no leaf lacks stands first and last, so that each other member can bring its comma.
    """
    made: list[Piece] = ["{"]
    for key, required in EVENT_MEMBERS[:-1]:
        before = f'"{key}":"sha256:' if key in ("context", "payload") else f'"{key}":"'
        if required:
            made += [before, pieces[key], '",']
        else:
            made += optional(before, pieces[key], '",')
    made += ['"writer":"', pieces["writer"], '"}']
    return made


def _commitments(domain: bytes, salts: pa.Array, texts: pa.Array) -> pa.Array:
    """The hex SHA-256 of domain, salt and text of each row."""
    # Scalars are not made at import: the first one brings pandas in, where it is installed.
    before, between = pa.scalar(domain, pa.binary()), pa.scalar(b"", pa.binary())
    salted = pc.binary_join_element_wise(before, salts, texts.view(pa.binary()), between)
    digests = b"".join([made.digest() for made in map(hashlib.sha256, salted.to_pylist())])
    return _cells(digests.hex().encode(), _HEX_BYTES, pa.string())


def _cells(raw: bytes, width: int, kind: pa.DataType) -> pa.Array:
    """A column of values that all have the same length."""
    rows = len(raw) // width
    ends = np.arange(0, len(raw) + 1, width, dtype=np.int32)
    return pa.Array.from_buffers(kind, rows, [None, pa.py_buffer(ends), pa.py_buffer(raw)])
