"""Spans of one shape to events, in columns: `map_span` of the schemas is the rule, and the answer.

Rows for which the columns cannot vouch, because a text is blank or too long, a number too large
or a key in some JSON there twice, are left to the rule itself, which says what is wrong with them.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from intentproof_schemas import (
    DECLARED,
    INTEGER_MAX,
    INTENT_BYTES_MAX,
    TEXT_BYTES_MAX,
    Duplicates,
    canonical,
    json_value,
    names,
)
from intentproof_store import EVENT_SCHEMA, Piece, joined, json_piece

from .group import Group
from .origins import Constants
from .plan import Plan
from .texts import (
    byte_lengths,
    default_event_ids,
    hex_texts,
    inputs_texts,
    output_texts,
    trimmed,
)
from .wire import COUNTS, INTEGER, NUMBER, TEXT, TRUTH, Numbers

_NO_SPAN = bytes(8)
_SAME = {"status": "ok", "provenance": "declared", "mapping_rule": DECLARED}
_OPTIONAL = {
    "correlation_id": names.CORRELATION_ID,
    "run_id": names.RUN_ID,
    "stage": names.STAGE,
    "stream_id": names.STREAM_ID,
}

Columns = dict[str, pa.Array]


@dataclass(frozen=True)
class Origins:
    """The constants of a group's spans: `known[of_row[n]]` are those of span `n`."""

    known: tuple[Constants, ...]
    of_row: Numbers

    def texts(self, place: int) -> Piece:
        """The text of each span's constant at a place: a column, or one text for all."""
        texts = [constants[place][1] for constants in self.known]
        return texts[0] if len(texts) == 1 else pa.array(texts).take(pa.array(self.of_row))


class _Doubtful(Exception):
    """Some rows are not to be mapped in columns: `sound` is false for them."""

    def __init__(self, sound: Numbers) -> None:
        super().__init__()
        self.sound = sound


def map_group(
    group: Group, plan: Plan, origins: Origins, event_bytes_max: int
) -> tuple[Group, pa.RecordBatch | None]:
    """The spans that the columns vouch for, perhaps fewer than were given, and their events."""
    while len(group.rows):
        try:
            return group, _map(group, plan, origins, event_bytes_max)
        except _Doubtful as doubt:
            group = group.only(doubt.sound)
            origins = Origins(origins.known, origins.of_row[doubt.sound])
    return group, None


def _map(group: Group, plan: Plan, origins: Origins, event_bytes_max: int) -> pa.RecordBatch:
    columns = _ids_and_times(group) | _texts(group, plan)
    inputs, output = plan.places.get(names.INPUTS), plan.places.get(names.OUTPUT)
    if inputs is not None:
        columns["inputs"], sound = inputs_texts(group.values(inputs))
        _demand(sound)
    if output is not None:
        columns["output"], sound = output_texts(group.values(output))
        _demand(sound)
    attributes = _attributes(group, plan, origins)
    if attributes is not None:
        columns["attributes"] = attributes
    count = len(group.rows)
    for name, text in {**_SAME, "inputs": "{}", "output": "null"}.items():
        columns.setdefault(name, pa.repeat(text, count))
    size = np.zeros(count, np.int64)
    for name in _LIMITED:
        size += byte_lengths(columns[name]) if name in columns else 0
    _demand(size <= event_bytes_max)
    arrays = [
        columns[field.name] if field.name in columns else pa.nulls(count, field.type)
        for field in EVENT_SCHEMA
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=EVENT_SCHEMA)


_LIMITED = ("inputs", "output", "attributes")


def _demand(sound: Numbers) -> None:
    """Raise _Doubtful unless all rows are sound."""
    if not sound.all():
        raise _Doubtful(sound)


def _ids_and_times(group: Group) -> Columns:
    trace_ids, span_ids = group.field("trace_id"), group.field("span_id")
    parents = group.field("parent_span_id")
    no_parent = pc.or_(pc.equal(parents, b""), pc.equal(parents, _NO_SPAN))
    columns = {
        "event_id": default_event_ids(trace_ids, span_ids),
        "trace_id": hex_texts(trace_ids),
        "span_id": hex_texts(span_ids),
        "parent_span_id": _null_where(no_parent, hex_texts(parents)),
        "started_ns": group.field("start_ns").cast(pa.int64()),
        "completed_ns": group.field("end_ns").cast(pa.int64()),
    }
    for name in COUNTS:
        counts = group.field(name)
        if counts.to_numpy().any():
            columns[name] = _null_where(pc.equal(counts, 0), counts.cast(pa.int64()))
    return columns


def _null_where(absent: pa.Array, column: pa.Array) -> pa.Array:
    if not absent.true_count:
        return column
    return pc.if_else(absent, pa.scalar(None, column.type), column)


def _texts(group: Group, plan: Plan) -> Columns:
    """The producer's texts and number (contract §2)."""
    intents = trimmed(group.values(plan.places[names.INTENT]))
    lengths = byte_lengths(intents)
    _demand((lengths > 0) & (lengths <= INTENT_BYTES_MAX))
    columns = {"intent": intents, "action": _actions(group, plan)}
    for name, key in _OPTIONAL.items():
        if key in plan.places:
            columns[name] = _text(group, plan.places[key])
    if names.SEQUENCE in plan.places:
        columns["sequence"] = group.values(plan.places[names.SEQUENCE])
        _demand(pc.greater_equal(columns["sequence"], 1).to_numpy(zero_copy_only=False))
    return columns


def _text(group: Group, place: int) -> pa.Array:
    """An optional text, null where it is blank."""
    texts = trimmed(group.values(place))
    lengths = byte_lengths(texts)
    _demand(lengths <= TEXT_BYTES_MAX)
    return texts if lengths.all() else _null_where(pa.array(lengths == 0), texts)


def _actions(group: Group, plan: Plan) -> pa.Array:
    """The producer's action, else the span's name; a name that is too long is to be cut."""
    spans = trimmed(group.names())
    lengths = byte_lengths(spans)
    _demand(lengths <= TEXT_BYTES_MAX)
    if not lengths.all():
        spans = pc.if_else(pa.array(lengths == 0), "unnamed", spans)
    if names.ACTION not in plan.places:
        return spans
    actions = _text(group, plan.places[names.ACTION])
    return pc.coalesce(actions, spans) if actions.null_count else actions


def _attributes(group: Group, plan: Plan, origins: Origins) -> pa.Array | None:
    """The event's attributes as JCS, or None where it has none: its own and the constant ones."""
    constants = {key: place for place, (key, _) in enumerate(origins.known[0])}
    parts: list[Piece] = []
    for key in sorted({*plan.kept, *constants}):
        parts.append(f'{"," if parts else "{"}"{key}":')
        if key in constants:
            parts.append(origins.texts(constants[key]))
        else:
            parts += _json_values(group, plan.kept[key])
    return joined([*parts, "}"], len(group.rows)) if parts else None


def _json_values(group: Group, place: int) -> list[Piece]:
    """An attribute's values as JSON."""
    kind = group.shape.types[place]
    if kind not in (TEXT, TRUTH, INTEGER, NUMBER):
        return ["null"]
    values = group.values(place)
    if kind == TEXT:
        return ['"', json_piece(values), '"']
    if kind == INTEGER:
        sound = pc.and_(pc.less_equal(values, INTEGER_MAX), pc.greater_equal(values, -INTEGER_MAX))
        _demand(sound.to_numpy(zero_copy_only=False))
    if kind == NUMBER:
        written = [canonical(json_value(value, Duplicates())) for value in values.to_pylist()]
        return [pa.array(written, pa.binary()).cast(pa.string())]
    return [values.cast(pa.string())]
