"""Events to rows and leaves: the columns that a frame and a segment hold. Pure but for salts."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
from intentproof_schemas import (
    CONTEXT_DOMAIN,
    PAYLOAD_DOMAIN,
    SALT_BYTES,
    ExecutionEvent,
    detail_leaf,
    event_leaf,
    names,
    numbered_leaf,
)

from .columns import COLUMNS, SEGMENT_SCHEMA

_FIELDS = ExecutionEvent._fields
_AT = {name: place for place, name in enumerate(_FIELDS)}
# Columns that an event brings as they are: text with "" for absent, numbers with 0 for absent.
_TEXTS = (
    "event_id",
    "correlation_id",
    "intent",
    "action",
    "status",
    "attributes",
    "run_id",
    "stage",
    "stream_id",
    "provenance",
    "mapping_rule",
)
_COUNTS = (
    "sequence",
    "dropped_attributes_count",
    "dropped_events_count",
    "dropped_links_count",
)
_MOMENT = pa.timestamp("us", tz="UTC")
_SALTS_AT_ONCE = 64  # two an event
_sha256 = hashlib.sha256
_new = tuple.__new__  # what a NamedTuple calls, without its Python function in between


class Row(NamedTuple):
    """One leaf on its way into a frame. `event` is None for kinds that have only a detail."""

    kind: str
    event: ExecutionEvent | None
    detail: str | None
    context_salt: bytes | None
    payload_salt: bytes | None
    leaf: bytes


@dataclass
class RowMaker:
    """Makes the rows of one tenant's group, all received at one moment."""

    tenant: str
    writer: str
    received_ns: int
    rows: list[Row] = field(default_factory=list)
    _random: list[bytes] = field(default_factory=list)

    def add_event(self, event: ExecutionEvent, kind: str, context: bytes, payload: bytes) -> None:
        """Add an event or conflict; the two texts are its committed members."""
        salts = self._random or self._more_salts()
        context_salt, payload_salt = salts.pop(), salts.pop()
        leaf = event_leaf(
            event,
            kind=kind,
            tenant=self.tenant,
            writer=self.writer,
            received_ns=self.received_ns,
            context="sha256:" + _sha256(CONTEXT_DOMAIN + context_salt + context).hexdigest(),
            payload="sha256:" + _sha256(PAYLOAD_DOMAIN + payload_salt + payload).hexdigest(),
        )
        self.rows.append(_new(Row, (kind, event, None, context_salt, payload_salt, leaf)))

    def _more_salts(self) -> list[bytes]:
        """An even number of random salts, fetched at once: a system call an event would show."""
        raw = os.urandom(_SALTS_AT_ONCE * SALT_BYTES)
        self._random = [raw[at : at + SALT_BYTES] for at in range(0, len(raw), SALT_BYTES)]
        return self._random

    def add_numbered(self, event: ExecutionEvent) -> None:
        """Add a leaf that keeps one more stream number of an event."""
        leaf = numbered_leaf(
            event, tenant=self.tenant, writer=self.writer, received_ns=self.received_ns
        )
        self.rows.append(Row("numbered", _only_number(event), None, None, None, leaf))

    def add_detail(self, kind: str, detail: dict[str, Any]) -> None:
        """Add a leaf of a kind that has only a detail."""
        leaf = detail_leaf(
            kind, detail, tenant=self.tenant, writer=self.writer, received_ns=self.received_ns
        )
        text = orjson.loads(leaf)["detail"]
        self.rows.append(Row(kind, None, text, None, None, leaf))

    def batch(self, first: int) -> pa.RecordBatch:
        """The rows as columns, the first at log index `first`."""
        return rows_batch(self.rows, first, writer=self.writer, received_ns=self.received_ns)


def _only_number(event: ExecutionEvent) -> ExecutionEvent:
    return _BLANK._replace(
        event_id=event.event_id,
        trace_id=event.trace_id,
        stream_id=event.stream_id,
        sequence=event.sequence,
    )


_BLANK = ExecutionEvent(
    event_id="",
    trace_id="",
    span_id="",
    parent_span_id="",
    action="",
    status="",
    started_ns=0,
    completed_ns=0,
    provenance="",
    mapping_rule="",
    intent="",
    correlation_id="",
    attributes="",
    inputs="",
    output=None,
    error=None,
)


def rows_batch(rows: Sequence[Row], first: int, *, writer: str, received_ns: int) -> pa.RecordBatch:
    """Rows as one Arrow batch of the segment's columns."""
    count = len(rows)
    kinds, events, details, context_salts, payload_salts, leaves = zip(*rows, strict=True)
    fields = list(zip(*[event or _BLANK for event in events], strict=True))
    made: dict[str, Any] = {
        "log_index": pa.array(np.arange(first, first + count, dtype=np.int64)),
        "kind": _column(kinds),
        "writer": pa.repeat(pa.scalar(writer), count),
        "received_at": pa.repeat(pa.scalar(received_ns // 1000, pa.int64()), count).cast(_MOMENT),
        "received_ns": pa.repeat(pa.scalar(received_ns, pa.int64()), count),
        "inputs": _texts(fields[_AT["inputs"]]),
        "output": pa.array(fields[_AT["output"]], pa.string()),
        "error": _column(fields[_AT["error"]]),
        "service_name": _column([service_name(text) for text in fields[_AT["attributes"]]]),
        "detail": _column(details),
        "context_salt": pa.array(context_salts, pa.binary()),
        "payload_salt": pa.array(payload_salts, pa.binary()),
        "leaf": pa.array(leaves, pa.binary()),
    }
    for name in _TEXTS:
        made[name] = _texts(fields[_AT[name]])
    for name in ("trace_id", "span_id", "parent_span_id"):
        made[name] = _ids(fields[_AT[name]])
    for name in _COUNTS:
        made[name] = _counts(fields[_AT[name]])
    timed = np.fromiter((kind in ("event", "conflict") for kind in kinds), bool, count)
    made |= _times(fields[_AT["started_ns"]], fields[_AT["completed_ns"]], timed)
    return pa.RecordBatch.from_arrays([made[name] for name in COLUMNS], schema=SEGMENT_SCHEMA)


def _column(values: Sequence[str | None]) -> pa.Array:
    """A column of texts. Many columns say one thing in all rows, and that is quick to tell."""
    if values.count(values[0]) == len(values):
        return pa.repeat(pa.scalar(values[0], pa.string()), len(values))
    return pa.array(values, pa.string())


def _texts(values: Sequence[str]) -> pa.Array:
    """A column of texts in which "" stands for absent."""
    return _column([value or None for value in values] if "" in values else values)


def _ids(values: Sequence[str]) -> pa.Array:
    """Ids; an all-zero one is as absent here as in the leaf."""
    return pa.array([value if value.strip("0") else None for value in values], pa.string())


def _counts(values: Sequence[int]) -> pa.Array:
    if not any(values):
        return pa.nulls(len(values), pa.int64())
    return pa.array([value or None for value in values], pa.int64())


def _times(
    started: Sequence[int], completed: Sequence[int], timed: "np.ndarray[Any, Any]"
) -> dict[str, pa.Array]:
    """The time columns, null where a row has no times of its own."""
    started_ns = np.array(started, dtype=np.int64)
    completed_ns = np.array(completed, dtype=np.int64)
    started_us = started_ns // 1000
    completed_us = np.maximum(started_us, completed_ns // 1000)
    absent = None if timed.all() else ~timed
    return {
        "started_ns": pa.array(started_ns, mask=absent),
        "completed_ns": pa.array(completed_ns, mask=absent),
        "started_at": pa.array(started_us, mask=absent).cast(_MOMENT),
        "completed_at": pa.array(completed_us, mask=absent).cast(_MOMENT),
        "duration_ms": pa.array((completed_us - started_us) / 1000, mask=absent),
    }


_SERVICE = f'"{names.SERVICE_NAME}":'


def service_name(attributes: str) -> str | None:
    """The service's name, where an event's attributes have one that is text.

    Attributes are flat and quotation marks in strings are escaped: the mark is the member itself.
    """
    at = attributes.find(_SERVICE)
    if at < 0:
        return None
    start = at + len(_SERVICE)
    end = attributes.find('"', start + 1)
    if attributes[start] == '"' and "\\" not in attributes[start:end]:
        return attributes[start + 1 : end] or None
    value = orjson.loads(attributes).get(names.SERVICE_NAME)
    return value or None if isinstance(value, str) else None
