"""Span bytes to columns, and which spans were read for certain.

ptars, an Arrow-native protobuf decoder, reads spans by a descriptor with the fields that most
spans have and no others. It does not read every odd message as the protobuf library does, so its
word counts only for a span whose bytes are as many as the shortest writing of the values that were
read: then nothing was said twice, passed over, or written in another way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from intentproof_schemas import names
from ptars import HandlerPool

from ..descriptors import (
    BOOL,
    BYTES,
    DOUBLE,
    FIXED32,
    FIXED64,
    INT32,
    INT64,
    UINT32,
    find_message,
)

# The decoder recurses over nested groups, of which one byte may begin one: a short span cannot
# exhaust a stack. Some 60,000 levels did, in 8 MiB.
SPAN_BYTES_MAX = 8 * 1024
# A length that, added to a place in such a span, overflows 64 bits: there the decoder panics, which
# writes lines on stderr. It has these bytes; so have integers a little below 0, but no text.
_OVERFLOWING = b"\xff" * 7
ABSENT, TEXT, TRUTH, INTEGER, NUMBER = range(5)  # what an attribute's value is

_KINDS = len(names.SPAN_KINDS)
COUNTS = ("dropped_attributes_count", "dropped_events_count", "dropped_links_count")
_VARINT_LIMITS = tuple(1 << 7 * n for n in range(1, 10))
_SPAN = find_message(
    "intentproof.columns",
    "Span",
    {
        "OneValue": [("text", 1, BYTES), ("truth", 2, BOOL), ("int", 3, INT64), ("num", 4, DOUBLE)],
        "Pair": [("key", 1, BYTES), ("value", 2, "OneValue")],
        "Span": [
            ("trace_id", 1, BYTES),
            ("span_id", 2, BYTES),
            ("trace_state", 3, BYTES),
            ("parent_span_id", 4, BYTES),
            ("name", 5, BYTES),
            ("kind", 6, INT32),
            ("start_ns", 7, FIXED64),
            ("end_ns", 8, FIXED64),
            ("attributes", 9, ["Pair"]),
            ("dropped_attributes_count", 10, UINT32),
            ("dropped_events_count", 12, UINT32),
            ("dropped_links_count", 14, UINT32),
            ("status", 15, BYTES),
            ("flags", 16, FIXED32),
        ],
    },
)
_decode = HandlerPool([_SPAN.file]).get_for_message(_SPAN).list_to_record_batch

Numbers = np.ndarray[Any, Any]


@dataclass(frozen=True)
class SpanColumns:
    """Spans in columns. Of those that are not `exact`, nothing here is to be believed.

    The attributes of span `n` stand at `starts[n]` to `starts[n + 1]` of the flat arrays: keys,
    types (`ABSENT` and so on), and one array of values a type, null for values of the others.
    """

    fields: pa.RecordBatch
    exact: Numbers
    kinds: Numbers
    names: pa.Array
    starts: Numbers
    keys: pa.Array
    types: Numbers
    values: dict[int, pa.Array]


def read_columns(raws: Sequence[bytes]) -> SpanColumns | None:
    """Spans in columns; None where one of them is damaged. Raises nothing."""
    lengths = np.fromiter(map(len, raws), np.int64, len(raws))
    if lengths.max(initial=0) > SPAN_BYTES_MAX or _OVERFLOWING in b"".join(raws):
        raws = [raw if _is_safe(raw) else b"" for raw in raws]  # such a one is not exact
    try:
        fields = _decode(raws)
        names = fields.column("name").cast(pa.string())  # raises where it is not UTF-8
        fields.column("trace_state").cast(pa.string())
        flat = fields.column("attributes").values
        value = flat.field("value")
        texts = value.field("text").cast(pa.string())
    except Exception:  # noqa: BLE001 - whatever it is, the span-by-span reader says it better
        return None
    except BaseException as error:
        # What a Rust library raises where it gives up; anything else is meant for the process.
        if type(error).__name__ != "PanicException":
            raise
        return None
    starts = _offsets(fields.column("attributes"))
    keys = flat.field("key")
    values = {
        TEXT: texts,
        TRUTH: value.field("truth"),
        INTEGER: value.field("int"),
        NUMBER: value.field("num"),
    }
    types, counted, single = _measure_pairs(keys, value, values)
    sums = np.concatenate(([0], np.cumsum(counted)))
    several = np.concatenate(([0], np.cumsum(~single)))
    kinds = _numbers(fields.column("kind"), np.int32)
    exact = (
        (_measure_fields(fields) + sums[starts[1:]] - sums[starts[:-1]] == lengths)
        & (several[starts[1:]] == several[starts[:-1]])
        & (kinds.view(np.uint32) < _KINDS)
    )
    return SpanColumns(fields, exact, kinds, names, starts, keys, types, values)


def _is_safe(raw: bytes) -> bool:
    return len(raw) <= SPAN_BYTES_MAX and _OVERFLOWING not in raw


def _measure_fields(fields: pa.RecordBatch) -> Numbers:
    """How many bytes each span's fields but its attributes take at least."""
    size = np.zeros(fields.num_rows, np.int64)
    for name in ("trace_id", "span_id", "trace_state", "parent_span_id", "name", "status"):
        lengths = np.diff(_offsets(fields.column(name)))
        if lengths.any():
            size += np.where(lengths > 0, _delimited(lengths), 0)
    for name in ("start_ns", "end_ns"):
        size += 9 * (_numbers(fields.column(name), np.uint64) != 0)
    size += 6 * (_numbers(fields.column("flags"), np.uint32) != 0)
    size += 2 * (_numbers(fields.column("kind"), np.int32) != 0)  # others than few are not exact
    for name in COUNTS:
        counts = _numbers(fields.column(name), np.uint32)
        if counts.any():
            size += np.where(counts > 0, 1 + _varint_bytes(counts), 0)
    return size


def _measure_pairs(
    keys: pa.Array, value: pa.Array, values: dict[int, pa.Array]
) -> tuple[Numbers, Numbers, Numbers]:
    """Of each attribute its value's type, its bytes at least, and whether it has one value."""
    types = np.zeros(len(keys), np.int8)
    size = np.zeros(len(keys), np.int64)
    held = np.zeros(len(keys), np.int8)
    for kind, column in values.items():
        if column.null_count == len(column):
            continue
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        held += valid
        types[valid] = kind
        size += np.where(valid, _value_bytes(kind, column), 0)
    present = value.is_valid().to_numpy(zero_copy_only=False)
    key_lengths = np.diff(_offsets(keys))
    inner = np.where(key_lengths > 0, _delimited(key_lengths), 0)
    inner += np.where(present, _delimited(size), 0)
    return types, _delimited(inner), held <= 1


def _value_bytes(kind: int, column: pa.Array) -> Any:
    if kind == TEXT:
        return _delimited(np.diff(_offsets(column)))
    if kind == INTEGER:
        return 1 + _varint_bytes(_numbers(column, np.uint64))
    return 2 if kind == TRUTH else 9


def _delimited(lengths: Numbers) -> Numbers:
    """The bytes of a field of each length, with its tag of one byte."""
    delimited: Numbers = 1 + _varint_bytes(lengths) + lengths
    return delimited


def _varint_bytes(numbers: Numbers) -> Any:
    """How many bytes each number takes as a varint; one number where they take the same."""
    most = int(numbers.max(initial=0))
    size: Any = 1
    for limit in _VARINT_LIMITS:
        if most < limit:
            break
        size = size + (numbers >= limit)
    return size


def _offsets(column: pa.Array) -> Numbers:
    """Where each value of a list, text or binary column begins, and where the last one ends."""
    return np.frombuffer(column.buffers()[1], np.int32)[column.offset :][: len(column) + 1]


def _numbers(column: pa.Array, kind: Any) -> Numbers:
    """A column of numbers as they stand in memory: what is null is anything."""
    numbers: Numbers = np.frombuffer(column.buffers()[1], kind)[column.offset :][: len(column)]
    return numbers
