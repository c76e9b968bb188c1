"""Events as columns: what the ledger takes and works on. Pure."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from intentproof_schemas import ExecutionEvent

from .errors import EventsInvalid

_TIMES = ("started_ns", "completed_ns")
_COUNTS = (
    "sequence",
    "dropped_attributes_count",
    "dropped_events_count",
    "dropped_links_count",
)
_IDS = ("trace_id", "span_id", "parent_span_id")
# Null means absent: "", None, a count of 0, an id of zeros. Times are never null.
EVENT_SCHEMA = pa.schema(
    [
        (name, pa.int64() if name in (*_TIMES, *_COUNTS) else pa.string())
        for name in ExecutionEvent._fields
    ]
)


def event_columns(events: Sequence[ExecutionEvent]) -> pa.RecordBatch:
    """Events as a batch of EVENT_SCHEMA.

    Raises EventsInvalid for what UTF-8 or 64 bits cannot hold: a lone surrogate, a larger number.
    """
    values = zip(*events, strict=True) if events else ((),) * len(EVENT_SCHEMA)
    try:
        columns = [
            _column(name, column) for name, column in zip(EVENT_SCHEMA.names, values, strict=True)
        ]
        return _with_times(pa.RecordBatch.from_arrays(columns, schema=EVENT_SCHEMA))
    except (ValueError, TypeError, OverflowError, pa.ArrowException) as error:
        raise EventsInvalid(str(error)) from error


def checked_events(events: pa.RecordBatch) -> pa.RecordBatch:
    """The batch, if it has the columns of events; its values are taken as they are.

    But text must be UTF-8: bytes that are not would stand in leaves that nobody can read.
    """
    if not events.schema.equals(EVENT_SCHEMA):
        raise EventsInvalid("a batch without the columns of EVENT_SCHEMA")
    try:
        events.validate(full=True)
    except pa.ArrowException as error:
        raise EventsInvalid(str(error)) from error
    return _with_times(events)


def _with_times(events: pa.RecordBatch) -> pa.RecordBatch:
    if any(events.column(name).null_count for name in _TIMES):
        raise EventsInvalid("an event without its times")
    return events


def _column(name: str, values: Sequence[Any]) -> pa.Array:
    if name in _TIMES:
        return pa.array(values, pa.int64())
    if name in _COUNTS:
        return pa.array([value or None for value in values], pa.int64())
    if name in _IDS:
        return pa.array([value if value.strip("0") else None for value in values], pa.string())
    return pa.array([value or None for value in values] if "" in values else values, pa.string())
