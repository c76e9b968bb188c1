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
from intentproof_schemas import CONTEXT_DOMAIN, EVENT_MEMBERS, PAYLOAD_DOMAIN, SALT_BYTES, VERSION

from .columns import COLUMNS

_EMPTY_SERVICE = b'"service.name":""'  # an empty name is null in the column


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
        "tenant": f'"{tenant}"',
        "v": f'"{VERSION}"',
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
    if _has_special(column.buffers()[2]):
        texts = column.to_pylist()
        return pa.array(
            [None if text is None else orjson.dumps(text).decode() for text in texts], pa.string()
        )
    return pc.binary_join_element_wise('"', column, '"', "")


def _has_special(raw: pa.Buffer | None) -> bool:
    """Whether any byte is one that a JSON string escapes: a control, a quote or a backslash."""
    if not raw:
        return False
    values = np.frombuffer(raw, np.uint8)
    return bool(values.min() < 0x20 or (values == 0x22).any() or (values == 0x5C).any())


def _leaves(rows: pa.RecordBatch, ready: dict[str, Any]) -> pa.Array:
    parts: list[Any] = []
    separator = "{"
    for key, required in EVENT_MEMBERS:
        value = ready.get(key)
        if value is None:
            column = rows.column(key)
            if not required and column.null_count == len(column):
                continue
            value = _only_value(column)
            if value is None:
                text = column.cast(pa.string()) if pa.types.is_integer(column.type) else column
                value = _quoted(text)
        if required or isinstance(value, str):
            _add(parts, f'{separator}"{key}":', value)
        else:
            member = pc.binary_join_element_wise(f'{separator}"{key}":', value, "")
            _add(parts, pc.fill_null(member, ""))
        separator = ","
    _add(parts, "}")
    return pc.binary_join_element_wise(*parts, "")


def _add(parts: list[Any], *more: Any) -> None:
    """Append parts of a join; text that is the same in all rows goes with the text before it."""
    for part in more:
        if isinstance(part, str) and parts and isinstance(parts[-1], str):
            parts[-1] += part
        else:
            parts.append(part)


def _only_value(column: pa.Array) -> str | None:
    """The value that all rows of a column have, as a JSON string; None where there are more."""
    if column.null_count or not len(column):
        return None
    first = column[0]
    if not pc.equal(column[-1], first).as_py() or not pc.all(pc.equal(column, first)).as_py():
        return None
    return orjson.dumps(str(first.as_py())).decode()


def _members(members: dict[str, pa.Array]) -> pa.Array:
    """JCS objects of optional members, the last of which decides nothing about separators."""
    parts: list[Any] = ["{"]
    before: Any = None
    for name, value in members.items():
        if value.null_count == len(value) and len(value):
            continue
        comma: Any = ""
        if before is not None:
            comma = pc.if_else(before, ",", "")
        present = pc.is_valid(value)
        parts.append(pc.fill_null(pc.binary_join_element_wise(comma, f'"{name}":', value, ""), ""))
        before = present if before is None else pc.or_(before, present)
    return pc.binary_join_element_wise(*parts, "}", "").cast(pa.binary())


def _commitments(rows: pa.RecordBatch) -> tuple[pa.Array, pa.Array, "np.ndarray[Any, Any]"]:
    """Both commitments as quoted texts, and whether each committed text has one reading only."""
    correlations, attributes = rows.column("correlation_id"), rows.column("attributes")
    contexts = {
        "attributes": attributes,
        "correlationId": _quoted(correlations),
        "intent": _quoted(rows.column("intent")),
    }
    payloads = {name: rows.column(name) for name in ("error", "inputs", "output")}
    context, payload = _members(contexts), _members(payloads)
    clear = _read_one_way(context, contexts, attributes)
    clear &= _read_one_way(payload, payloads, *payloads.values())
    for name in ("context_salt", "payload_salt"):
        salt_bytes = pc.binary_length(rows.column(name))
        clear &= pc.equal(salt_bytes, SALT_BYTES).to_numpy(zero_copy_only=False)
    texts = context.to_pylist()
    clear &= np.fromiter(
        (
            mark != _EMPTY_SERVICE and mark in text if mark else b'"service.name":' not in text
            for mark, text in zip(_service_marks(rows), texts, strict=True)
        ),
        bool,
        rows.num_rows,
    )
    return (
        _quoted_hashes(CONTEXT_DOMAIN, rows.column("context_salt"), texts),
        _quoted_hashes(PAYLOAD_DOMAIN, rows.column("payload_salt"), payload.to_pylist()),
        clear,
    )


def _quoted_hashes(domain: bytes, salts: pa.Array, texts: list[bytes]) -> pa.Array:
    sha256 = hashlib.sha256
    digests = [
        sha256(domain + salt + text).digest()
        for salt, text in zip(salts.to_pylist(), texts, strict=True)
    ]
    # One column of hex digits made at once: each is 64 of them.
    ends = np.arange(0, 64 * len(digests) + 1, 64, dtype=np.int32)
    digits = b"".join(digests).hex().encode()
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(digits)]
    return pc.binary_join_element_wise(
        '"sha256:', pa.Array.from_buffers(pa.string(), len(digests), buffers), '"', ""
    )


def _read_one_way(
    joined: pa.Array, members: dict[str, pa.Array], *raw: pa.Array
) -> "np.ndarray[Any, Any]":
    """Which rows name each member just where it stands; `raw`: the members that are JSON as it is.

    A name with its quotes and colon cannot stand in a member written as a JSON string: there each
    quote has a backslash before it, or ends the string, with a comma or brace behind it. Nor can it
    begin in one piece and end in the next: raw members stand between a colon and a comma or brace.
    So where no raw member has one of the names, each stands once in each row that has the member;
    only else are rows counted one by one.
    """
    marks = {name: f'"{name}":'.encode() for name in members}
    texts = [bytes(column.buffers()[2] or b"") for column in raw]
    if not any(mark in text for mark in marks.values() for text in texts):
        return np.ones(len(joined), bool)
    clear = np.ones(len(joined), bool)
    rows = joined.to_pylist()
    for name, values in members.items():
        present = pc.is_valid(values).to_pylist()
        counts = (text.count(marks[name]) == has for text, has in zip(rows, present, strict=True))
        clear &= np.fromiter(counts, bool, len(joined))
    return clear


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
