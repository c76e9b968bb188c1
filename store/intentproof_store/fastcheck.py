"""The fast half of the row check: rebuild leaves from columns, a batch at a time. Pure.

Soundness. A row is vouched for only if (a) the leaf rebuilt from its columns is, byte for byte,
the stored leaf, with every text column written as a JSON string, so that no value can pose as
another member; (b) both commitments, recomputed, stand in that leaf; (c) each committed text can
be cut into its members in one way only; (d) the derived columns are equal to what follows from
the leaf's. Everything else is left to `rowcheck.check_row`.
"""

import hashlib
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from intentproof_schemas import CONTEXT_DOMAIN, PAYLOAD_DOMAIN, SALT_BYTES, VERSION

from .columns import COLUMNS

_EMPTY_SERVICE = b'"service.name":""'  # an empty name is null in the column
_SPECIAL = np.zeros(256, bool)
_SPECIAL[:0x20] = True
_SPECIAL[[0x22, 0x5C]] = True
# Leaf keys of an event in canonical order: (key, column or None, always present).
_MEMBERS = (
    ("action", True),
    ("completed_ns", True),
    ("context", True),
    ("dropped_attributes_count", False),
    ("dropped_events_count", False),
    ("dropped_links_count", False),
    ("event_id", True),
    ("kind", True),
    ("mapping_rule", True),
    ("parent_span_id", False),
    ("payload", True),
    ("provenance", True),
    ("received_ns", True),
    ("run_id", False),
    ("sequence", False),
    ("span_id", False),
    ("stage", False),
    ("started_ns", True),
    ("status", True),
    ("stream_id", False),
    ("tenant", True),
    ("trace_id", False),
    ("v", True),
    ("writer", True),
)


def unvouched_rows(batch: pa.RecordBatch, *, tenant: str, writer: str) -> list[int]:
    """The places in the batch of the rows that this cannot vouch for, in order."""
    if batch.schema.names[: len(COLUMNS)] != list(COLUMNS):
        return list(range(batch.num_rows))
    kind = batch.column("kind")
    plain = pc.and_(
        pc.is_in(kind, value_set=pa.array(["event", "conflict"])),
        pc.and_(
            pc.and_(
                pc.is_valid(batch.column("context_salt")),
                pc.is_valid(batch.column("payload_salt")),
            ),
            pc.and_(pc.is_valid(batch.column("inputs")), pc.is_valid(batch.column("intent"))),
        ),
    )
    plain = pc.and_(plain, pc.is_null(batch.column("detail")))  # stands in no event's leaf
    places = np.flatnonzero(plain.to_numpy(zero_copy_only=False))
    if len(places) == batch.num_rows:
        rows = batch
    elif len(places):
        rows = batch.take(pa.array(places))
    else:
        return list(range(batch.num_rows))
    sound = _sound(rows, tenant=tenant, writer=writer)
    vouched = np.zeros(batch.num_rows, bool)
    vouched[places[sound]] = True
    return [int(place) for place in np.flatnonzero(~vouched)]


def _sound(rows: pa.RecordBatch, *, tenant: str, writer: str) -> "np.ndarray[Any, Any]":
    contexts, payloads, unambiguous = _commitments(rows)
    columns = {
        "context": contexts,
        "payload": payloads,
        "tenant": pa.scalar(f'"{tenant}"'),
        "v": pa.scalar(f'"{VERSION}"'),
    }
    rebuilt = _leaves(rows, columns)
    same = pc.fill_null(pc.equal(rebuilt.cast(pa.binary()), rows.column("leaf")), fill_value=False)
    right_writer = pc.fill_null(pc.equal(rows.column("writer"), writer), fill_value=False)
    sound: np.ndarray[Any, Any] = (
        same.to_numpy(zero_copy_only=False)
        & right_writer.to_numpy(zero_copy_only=False)
        & unambiguous
        & _derived_hold(rows)
    )
    return sound


def _quoted(column: pa.Array) -> pa.Array:
    """A text column as JSON strings; null stays null."""
    raw = column.buffers()[2]
    if raw is not None and _SPECIAL[np.frombuffer(raw, np.uint8)].any():
        texts = column.to_pylist()
        return pa.array(
            [None if text is None else orjson.dumps(text).decode() for text in texts], pa.string()
        )
    return pc.binary_join_element_wise('"', column, '"', "")


def _leaves(rows: pa.RecordBatch, ready: dict[str, Any]) -> pa.Array:
    parts: list[Any] = []
    separator = "{"
    for key, required in _MEMBERS:
        value = ready.get(key)
        if value is None:
            column = rows.column(key)
            if not required and column.null_count == len(column):
                continue
            if pa.types.is_integer(column.type):
                value = pc.binary_join_element_wise('"', column.cast(pa.string()), '"', "")
            else:
                value = _quoted(column)
        if required:
            parts += [f'{separator}"{key}":', value]
        else:
            member = pc.binary_join_element_wise(f'{separator}"{key}":', value, "")
            parts.append(pc.fill_null(member, ""))
        separator = ","
    return pc.binary_join_element_wise(*parts, "}", "")


def _members(members: list[tuple[str, pa.Array]]) -> list[bytes | None]:
    """JCS objects of optional members, the last of which decides nothing about separators."""
    parts: list[Any] = ["{"]
    before: Any = None
    for name, value in members:
        if value.null_count == len(value) and len(value):
            continue
        comma: Any = ""
        if before is not None:
            comma = pc.if_else(before, ",", "")
        present = pc.is_valid(value)
        parts.append(pc.fill_null(pc.binary_join_element_wise(comma, f'"{name}":', value, ""), ""))
        before = present if before is None else pc.or_(before, present)
    joined = pc.binary_join_element_wise(*parts, "}", "")
    texts: list[bytes | None] = joined.cast(pa.binary()).to_pylist()
    return texts


def _commitments(rows: pa.RecordBatch) -> tuple[pa.Array, pa.Array, "np.ndarray[Any, Any]"]:
    """Both commitments as quoted texts, and whether each committed text has one reading only."""
    correlations, attributes = rows.column("correlation_id"), rows.column("attributes")
    outputs, errors = rows.column("output"), rows.column("error")
    contexts = _members(
        [
            ("attributes", attributes),
            ("correlationId", _quoted(correlations)),
            ("intent", _quoted(rows.column("intent"))),
        ],
    )
    payloads = _members([("error", errors), ("inputs", rows.column("inputs")), ("output", outputs)])
    context_hashes: list[str] = []
    payload_hashes: list[str] = []
    clear = np.zeros(rows.num_rows, bool)
    sha256 = hashlib.sha256
    for place, (context, context_salt, payload, payload_salt, flags) in enumerate(
        zip(
            contexts,
            rows.column("context_salt").to_pylist(),
            payloads,
            rows.column("payload_salt").to_pylist(),
            zip(
                pc.is_valid(attributes).to_pylist(),
                pc.is_valid(correlations).to_pylist(),
                pc.is_valid(errors).to_pylist(),
                pc.is_valid(outputs).to_pylist(),
                _service_marks(rows),
                strict=True,
            ),
            strict=True,
        )
    ):
        if context is None or payload is None:
            context_hashes.append("")
            payload_hashes.append("")
            continue
        digest = sha256(CONTEXT_DOMAIN + context_salt + context).hexdigest()
        context_hashes.append(f'"sha256:{digest}"')
        digest = sha256(PAYLOAD_DOMAIN + payload_salt + payload).hexdigest()
        payload_hashes.append(f'"sha256:{digest}"')
        has_attributes, has_correlation, has_error, has_output, service = flags
        clear[place] = (
            len(context_salt) == SALT_BYTES
            and len(payload_salt) == SALT_BYTES
            and context.count(b'"intent":') == 1
            and context.count(b'"correlationId":') == has_correlation
            and context.count(b'"attributes":') == has_attributes
            and payload.count(b'"inputs":') == 1
            and payload.count(b'"output":') == has_output
            and payload.count(b'"error":') == has_error
            and service != _EMPTY_SERVICE
            and (service in context if service else b'"service.name":' not in context)
        )
    return pa.array(context_hashes, pa.string()), pa.array(payload_hashes, pa.string()), clear


def _service_marks(rows: pa.RecordBatch) -> list[bytes | None]:
    """What an event's attributes hold where its service_name is right.

    Attributes are flat, and quotation marks inside strings are escaped: the bytes of the mark
    can stand only where the member itself does.
    """
    column = _quoted(rows.column("service_name"))
    marks: list[bytes | None] = (
        pc.binary_join_element_wise('"service.name":', column, "").cast(pa.binary()).to_pylist()
    )
    return marks


def _derived_hold(rows: pa.RecordBatch) -> "np.ndarray[Any, Any]":
    started = _numbers(rows.column("started_ns")) // 1000
    completed = np.maximum(started, _numbers(rows.column("completed_ns")) // 1000)
    received = _numbers(rows.column("received_ns")) // 1000
    present = np.ones(rows.num_rows, bool)
    for name in ("started_at", "completed_at", "received_at", "duration_ms"):
        present &= pc.is_valid(rows.column(name)).to_numpy(zero_copy_only=False)
    duration = pc.fill_null(rows.column("duration_ms"), -1.0).to_numpy(zero_copy_only=False)
    holds: np.ndarray[Any, Any] = (
        present
        & (_numbers(rows.column("started_at")) == started)
        & (_numbers(rows.column("completed_at")) == completed)
        & (_numbers(rows.column("received_at")) == received)
        & (duration == (completed - started) / 1000)
        & ~np.signbit(duration)
    )
    return holds


def _numbers(column: pa.Array) -> "np.ndarray[Any, Any]":
    numbers: np.ndarray[Any, Any] = pc.fill_null(column.cast(pa.int64()), 0).to_numpy(
        zero_copy_only=False
    )
    return numbers
