"""The mapping's fast path: spans with the same attribute keys share a plan.

Telemetry repeats a few shapes for ever. What depends on the keys alone (which are the producer's,
which are kept, in which order, that none comes twice) is worked out once per shape; a span then
only brings its values. Whatever a plan cannot vouch for is left to `mapping.map_span`, which is
the rule; `tests/schemas/test_shapes.py` holds the property test that both answer alike.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import orjson

from . import attributes as flat
from . import mapping, names
from .canonical import ATOMS, canonical
from .errors import SpanRejected
from .event import ExecutionEvent
from .fields import INTENT_BYTES_MAX, TEXT_BYTES_MAX, cut
from .jsontext import Duplicates, read_plain, whole_text
from .mapping import EVENT_BYTES_MAX
from .members import inputs_of, output_of, status_of
from .rules import DECLARED, MARKERS
from .span import Span, Value

_BLANK = "\t\n\r "
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_TRACE_BYTES, _SPAN_BYTES = 16, 8
_NO_TRACE, _NO_SPAN = bytes(_TRACE_BYTES), bytes(_SPAN_BYTES)
_EVENT_ID = names.PRODUCER_ATTRIBUTES.index(names.EVENT_ID)
_STATUS_ERROR, _STATUS_UNSET = 2, 0
_OPTIONS = orjson.OPT_STRICT_INTEGER | orjson.OPT_PASSTHROUGH_SUBCLASS
# Who sends ever new shapes must not fill the memory: what is remembered is few and short.
_SHAPES_MAX = 1024
_ORIGINS_MAX = 16  # of one shape
_KEYS_MAX = 128
_CHARACTERS_MAX = 8192
_new = tuple.__new__  # what a NamedTuple calls, without its Python function in between

_Keys = tuple[str, ...]
_Values = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class _Layout:
    """An event's attributes: all in canonical order, of which a span brings its `own`."""

    members: dict[str, Any]
    own: _Keys
    pick: Callable[[_Values], _Values]


@dataclass(slots=True)
class _Shape:
    """What spans with these keys have in common."""

    keys: _Keys
    places: tuple[int, ...]  # of the producer's attributes, as `_PLACES` names them; -1: absent
    kept: dict[str, int]
    layouts: dict[Any, _Layout] = field(default_factory=dict)
    latest: tuple[Any, _Layout | None] = (None, None)  # spans of one origin come in a row


_PLACES = (*names.PRODUCER_ATTRIBUTES, "error.type")
_UNPLANNED = _Shape((), (), {})
_UNTAKEN = _Shape((), (), {})
_SHAPES: dict[_Keys, _Shape] = {}


def map_span(span: Span, *, event_bytes_max: int = EVENT_BYTES_MAX) -> ExecutionEvent | None:
    """The event that a span makes, or None where no rule takes the span.

    The rules are those of `mapping.map_span`, and so are the answers. Raises SpanRejected where a
    taken span cannot become an event. `event_bytes_max` limits inputs, output, error and
    attributes together, in bytes of JCS text. Thread-safe.
    """
    if span.attributes:
        keys, values = zip(*span.attributes, strict=True)
        shape = _SHAPES.get(keys) or _learn(keys)
        if shape is _UNTAKEN:
            return None
        if shape is not _UNPLANNED:
            try:
                event = _by_shape(span, shape, values, event_bytes_max)
            except SpanRejected:
                event = None  # the rule says why, and what it looks at first
            if event is not None:
                return event
    return mapping.map_span(span, event_bytes_max=event_bytes_max)


def _learn(keys: _Keys) -> _Shape:
    if len(keys) > _KEYS_MAX or sum(map(len, keys)) > _CHARACTERS_MAX:
        return _UNPLANNED
    shape = _plan(keys)
    if len(_SHAPES) >= _SHAPES_MAX:
        _SHAPES.clear()
    _SHAPES[keys] = shape
    return shape


def _plan(keys: _Keys) -> _Shape:
    if names.INTENT not in keys:
        return _UNTAKEN if MARKERS.isdisjoint(keys) else _UNPLANNED
    kept = {key: place for place, key in enumerate(keys) if key not in flat.NOT_KEPT}
    if len(set(keys)) != len(keys) or not all(map(flat.is_event_key, kept)):
        return _UNPLANNED
    places = tuple(keys.index(name) if name in keys else -1 for name in _PLACES)
    return _Shape(keys, places, kept)


def _by_shape(
    span: Span, shape: _Shape, values: _Values, event_bytes_max: int
) -> ExecutionEvent | None:
    """The event, or None where the plain code has to say. Runs for every span."""
    trace_id, span_id, parent, name, _, started_ns, completed_ns = span[:7]
    if (
        len(trace_id) != _TRACE_BYTES
        or trace_id == _NO_TRACE
        or len(span_id) != _SPAN_BYTES
        or span_id == _NO_SPAN
        or (parent and len(parent) != _SPAN_BYTES)
        or not (_INT64_MIN <= started_ns <= _INT64_MAX)
        or not (_INT64_MIN <= completed_ns <= _INT64_MAX)
    ):
        return None
    texts = _texts(shape.places, values)
    if texts is None:
        return None
    intent, action, correlation_id, stream_id, sequence, run_id, stage = texts
    parts = _parts(span, shape, values)
    if parts is None:
        return None
    status, error, inputs, output, attributes = parts
    size = len(inputs) + len(output or b"") + len(error or b"") + len(attributes)
    if size > event_bytes_max:
        return None
    if shape.places[_EVENT_ID] < 0:
        event_id = mapping.default_event_id(trace_id, span_id)
    else:
        event_id = mapping.event_id_of(span, {names.EVENT_ID: values[shape.places[_EVENT_ID]]})
    return _new(
        ExecutionEvent,
        (
            event_id,
            trace_id.hex(),
            span_id.hex(),
            "" if parent == _NO_SPAN else parent.hex(),
            action or cut(name, TEXT_BYTES_MAX) or "unnamed",
            status,
            started_ns,
            completed_ns,
            "declared",
            DECLARED,
            intent,
            correlation_id,
            attributes.decode(),
            inputs.decode(),
            None if output is None else output.decode(),
            None if error is None else error.decode(),
            run_id,
            stage,
            stream_id,
            sequence,
            *span[12:15],
        ),
    )


def _texts(places: tuple[int, ...], values: _Values) -> tuple[Any, ...] | None:
    """The producer's texts and number, or None where one is not of the usual kind."""
    intent_at, action_at, correlation_at, _, _, _, stream_at, sequence_at, run_at, stage_at, _ = (
        places
    )
    intent = _trimmed(values[intent_at], INTENT_BYTES_MAX)
    action = _trimmed(values[action_at]) if action_at >= 0 else ""
    correlation_id = _trimmed(values[correlation_at]) if correlation_at >= 0 else ""
    stream_id = _trimmed(values[stream_at]) if stream_at >= 0 else ""
    run_id = _trimmed(values[run_at]) if run_at >= 0 else ""
    stage = _trimmed(values[stage_at]) if stage_at >= 0 else ""
    sequence: Any = 0
    if sequence_at >= 0:
        sequence = values[sequence_at]
        if type(sequence) is not int or not 1 <= sequence <= _INT64_MAX:
            return None
    texts = (intent, action, correlation_id, stream_id, sequence, run_id, stage)
    return None if not intent or None in texts else texts


def _trimmed(value: Value, bytes_max: int = TEXT_BYTES_MAX) -> str | None:
    if type(value) is not str:
        return None
    trimmed = (value if value.isascii() else whole_text(value)).strip(_BLANK)
    return trimmed if len(trimmed) * 4 <= bytes_max or len(trimmed.encode()) <= bytes_max else None


def _parts(
    span: Span, shape: _Shape, values: _Values
) -> tuple[str, bytes | None, bytes, bytes | None, bytes] | None:
    """Status, error, inputs, output and attributes; None where a key came twice somewhere."""
    duplicates = Duplicates()
    _, _, _, inputs_at, output_at, *_, error_at = shape.places
    status, error = "ok", None
    if span.status_code == _STATUS_ERROR or (span.status_code == _STATUS_UNSET and error_at >= 0):
        given = dict(zip(shape.keys, values, strict=True))
        status, error = status_of(span, given, duplicates)
    inputs = b"{}"
    if inputs_at >= 0:
        value = values[inputs_at]
        found = read_plain(value) if type(value) is str else None
        if found is None:
            inputs = inputs_of({names.INPUTS: value}, None, duplicates)
        elif type(found[0]) is dict:
            inputs = found[1]
        else:
            head = b'{"args":' if type(found[0]) is list else b'{"value":'
            inputs = head + found[1] + b"}"
    output = b"null" if status == "ok" else None
    if output_at >= 0:
        value = values[output_at]
        found = read_plain(value) if type(value) is str else None
        if found is None:
            output = output_of({names.OUTPUT: value}, None, duplicates, status)
        else:
            output = found[1]
    attributes = _attributes(span, shape, values, duplicates)
    if attributes is None or duplicates.count:
        return None
    return status, error, inputs, output, attributes


def _attributes(span: Span, shape: _Shape, values: _Values, duplicates: Duplicates) -> bytes | None:
    origin = (span.kind, *span[15:18])
    known, layout = shape.latest
    if known != origin or layout is None:
        layout = _layout_of(shape, origin)
    if layout is None or span.links:
        return None
    picked = layout.pick(values)
    members = layout.members.copy()
    if ATOMS.issuperset(map(type, picked)):
        members.update(zip(layout.own, picked, strict=False))
        try:
            return orjson.dumps(members, option=_OPTIONS)
        except TypeError:  # integers beyond 2^53 - 1, lone surrogates
            return None
    for key, value in zip(layout.own, picked, strict=False):
        members[key] = flat.attribute(key, value, duplicates)
    return canonical(members)


def _layout_of(shape: _Shape, origin: tuple[Any, ...]) -> _Layout | None:
    try:
        layout = shape.layouts.get(origin) or _lay_out(shape, origin)
    except TypeError:  # a resource that is no tuple of texts
        return None
    if layout is not None:
        shape.latest = (origin, layout)
    return layout


def _lay_out(shape: _Shape, origin: tuple[Any, ...]) -> _Layout | None:
    """The layout of spans of this shape and origin; None where it cannot be remembered."""
    kind, resource, scope_name, scope_version = origin
    texts = [text for pair in resource for text in pair]
    if set(map(type, (*texts, scope_name, scope_version))) != {str} or type(kind) is not int:
        return None
    if sum(map(len, (*texts, scope_name, scope_version))) > _CHARACTERS_MAX:
        return None
    # What the plain code makes of a span without attributes of its own are the constants.
    bare = Span(b"", b"", b"", "", kind, 0, 0, ())
    bare = bare._replace(resource=resource, scope_name=scope_name, scope_version=scope_version)
    duplicates = Duplicates()
    constants = orjson.loads(flat.attributes_of(bare, {}, None, duplicates) or b"{}")
    if duplicates.count:
        return None
    own = {key: place for key, place in shape.kept.items() if key not in constants}
    members = {key: constants.get(key) for key in sorted({*own, *constants})}
    if not members:
        return None
    places = tuple(own.values()) or (0,)
    # With one place alone, itemgetter would pick a bare value: so the last is picked twice.
    layout = _Layout(members, tuple(own), itemgetter(*places, places[-1]))
    if len(shape.layouts) >= _ORIGINS_MAX:
        shape.layouts.clear()
    shape.layouts[origin] = layout
    return layout
