"""Span → ExecutionEvent: the one mapping, pure, used by the bridge and by the receiver.

The rules are contract §2 and §3; the steps of `map_span` carry their numbers in the code.
"""

import hashlib
import re
from typing import Any

from . import names
from .canonical import ATOMS, canonical, dump_plain
from .errors import NotJson, SpanRejected
from .event import ExecutionEvent
from .jsontext import (
    INTEGER_MAX,
    LEVELS_MAX,
    Duplicates,
    decimal_text,
    json_object,
    json_value,
    read_json,
    whole_text,
)
from .rules import CONVENTIONS, DECLARED, Rule
from .span import Pairs, Span, SpanLink, Value

INTENT_BYTES_MAX = 4096  # contract §2
TEXT_BYTES_MAX = 256  # contract §2: every other text of the table
EVENT_BYTES_MAX = 1 << 20  # contract §2: inputs, output, error and attributes together

_BLANK = "\t\n\r "
_KEY = re.compile(r"[A-Za-z0-9_.:-]{1,256}")
_UUID8 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.I)
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
_INT64_MAX = 2**63 - 1
_INPUTS = (names.INPUTS,)
_OUTPUT = (names.OUTPUT,)
_OPTIONAL_TEXTS = (
    (names.CORRELATION_ID, True),
    (names.RUN_ID, True),
    (names.STAGE, True),
    (names.STREAM_ID, False),
)
_NOT_KEPT = frozenset((*names.PRODUCER_ATTRIBUTES, *names.MAPPED_ATTRIBUTES))
_NOT_KEPT_BY_RULE = {rule.name: _NOT_KEPT | rule.sources() for rule in CONVENTIONS}
_TIME_RANGE = "beyond a signed 64-bit number of nanoseconds"
_STATUS_ERROR = 2
_STATUS_UNSET = 0
_RESOURCE = frozenset(names.RESOURCE_ATTRIBUTES)
_NO_TRACE = bytes(16)
_NO_SPAN = bytes(8)


def map_span(span: Span, *, event_bytes_max: int = EVENT_BYTES_MAX) -> ExecutionEvent | None:
    """The event that a span makes, or None where no rule takes the span.

    1. Find the rule; a span that none takes is not looked at further.
    2. Check ids and times.
    3. Read the producer's texts; what a convention or the span's name supplied is cut, not refused.
    4. Read status and error.
    5. Read inputs and output.
    6. Gather the attributes.
    7. Check the size of what is kept.

    Raises SpanRejected where a taken span cannot become an event. `event_bytes_max` limits
    inputs, output, error and attributes together, in bytes of JCS text. Pure.
    """
    duplicates = Duplicates()
    given = _first_of_each(span.attributes, duplicates)
    declared = names.INTENT in given  # (1)
    rule = None if declared else _rule_of(given)
    if rule is None and not declared:
        return None
    _check_ids_and_times(span)  # (2)
    action = _action(span, given, rule)  # (3)
    intent = _intent(given, rule, action)
    texts = _optional_texts(given)
    status, error = status_of(span, given, duplicates)  # (4)
    inputs = inputs_of(given, rule, duplicates)  # (5)
    output = output_of(given, rule, duplicates, status)
    attributes = attributes_of(span, given, rule, duplicates)  # (6)
    size = len(inputs) + len(output or b"") + len(error or b"") + len(attributes)  # (7)
    if size > event_bytes_max:
        raise SpanRejected(
            "too_large",
            "inputs, output, error and attributes",
            f"{size} bytes together, the limit is {event_bytes_max}",
        )
    parent = span.parent_span_id
    # In the order of the fields: keywords would cost as much as the rest of the call.
    return ExecutionEvent(
        event_id_of(span, given),
        span.trace_id.hex(),
        span.span_id.hex(),
        "" if parent == _NO_SPAN else parent.hex(),
        action,
        status,
        span.start_ns,
        span.end_ns,
        "declared" if rule is None else "observed",
        DECLARED if rule is None else rule.name,
        intent,
        texts.get(names.CORRELATION_ID, ""),
        attributes.decode(),
        inputs.decode(),
        None if output is None else output.decode(),
        None if error is None else error.decode(),
        texts.get(names.RUN_ID, ""),
        texts.get(names.STAGE, ""),
        texts.get(names.STREAM_ID, ""),
        _sequence(given) if names.SEQUENCE in given else 0,
        span.dropped_attributes_count,
        span.dropped_events_count,
        span.dropped_links_count,
    )


def is_taken(span: Span) -> bool:
    """Whether a rule takes the span, whatever else is wrong with it. Pure."""
    given = _first_of_each(span.attributes, Duplicates())
    return names.INTENT in given or _rule_of(given) is not None


def default_event_id(trace_id: bytes, span_id: bytes) -> str:
    """The version-8 UUID (RFC 9562) that names a span's event unless the producer names it."""
    digits = hashlib.sha256(trace_id + span_id).hexdigest()
    variant = _VARIANT[digits[16]]
    return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def _first_of_each(pairs: Pairs, duplicates: Duplicates) -> dict[str, Value]:
    first: dict[str, Value] = {}
    for key, value in pairs:
        if not key.isascii():
            key = whole_text(key)
        if key in first:
            duplicates.count += 1
        else:
            first[key] = value
    return first


def _rule_of(given: dict[str, Value]) -> Rule | None:
    """The first convention that takes the span."""
    for rule in CONVENTIONS:
        key, wanted = rule.marker
        if given.get(key) == wanted:
            return rule
    return None


def _check_ids_and_times(span: Span) -> None:
    if len(span.trace_id) != len(_NO_TRACE) or span.trace_id == _NO_TRACE:
        raise SpanRejected("bad_id", "trace_id", "must be 16 bytes, not all zero")
    if len(span.span_id) != len(_NO_SPAN) or span.span_id == _NO_SPAN:
        raise SpanRejected("bad_id", "span_id", "must be 8 bytes, not all zero")
    if span.parent_span_id and len(span.parent_span_id) != len(_NO_SPAN):
        raise SpanRejected("bad_id", "parent_span_id", "must be 8 bytes or empty")
    if not -_INT64_MAX - 1 <= span.start_ns <= _INT64_MAX:
        raise SpanRejected("bad_time", "start_time_unix_nano", _TIME_RANGE)
    if not -_INT64_MAX - 1 <= span.end_ns <= _INT64_MAX:
        raise SpanRejected("bad_time", "end_time_unix_nano", _TIME_RANGE)


def _text(
    given: dict[str, Value],
    key: str,
    *,
    integers: bool = False,
    bytes_max: int = TEXT_BYTES_MAX,
) -> str:
    """A producer's text, trimmed; "" where it is absent or blank."""
    value = given.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        if not integers or isinstance(value, bool) or not isinstance(value, int):
            wanted = "a string or an int" if integers else "a string"
            raise SpanRejected("wrong_type", key, f"must be {wanted}")
        value = decimal_text(value)
    trimmed = whole_text(value).strip(_BLANK)
    if len(trimmed) * 4 > bytes_max and len(trimmed.encode()) > bytes_max:
        raise SpanRejected("too_long", key, f"over {bytes_max} bytes")
    return trimmed


def _optional_texts(given: dict[str, Value]) -> dict[str, str]:
    return {
        key: _text(given, key, integers=integers)
        for key, integers in _OPTIONAL_TEXTS
        if key in given
    }


def cut(value: str, bytes_max: int) -> str:
    """`value` cut to `bytes_max` bytes of UTF-8 at a code point, and trimmed."""
    trimmed = whole_text(value).strip(_BLANK)
    raw = trimmed.encode()
    if len(raw) <= bytes_max:
        return trimmed
    return raw[:bytes_max].decode(errors="ignore").rstrip(_BLANK)


def _convention_text(given: dict[str, Value], keys: tuple[str, ...], bytes_max: int) -> str:
    for key in keys:
        value = given.get(key)
        if isinstance(value, str):
            text = cut(value, bytes_max)
            if text:
                return text
    return ""


def _action(span: Span, given: dict[str, Value], rule: Rule | None) -> str:
    declared = _text(given, names.ACTION)
    if declared:
        return declared
    named = _convention_text(given, rule.action, TEXT_BYTES_MAX) if rule else ""
    return named or cut(span.name, TEXT_BYTES_MAX) or "unnamed"


def _intent(given: dict[str, Value], rule: Rule | None, action: str) -> str:
    if rule is not None:
        return _convention_text(given, rule.intent, INTENT_BYTES_MAX) or action
    intent = _text(given, names.INTENT, bytes_max=INTENT_BYTES_MAX)
    if not intent:
        raise SpanRejected("blank_intent", names.INTENT, "must not be blank")
    return intent


def event_id_of(span: Span, given: dict[str, Value]) -> str:
    """The id that the producer gave, or the span's own. Raises SpanRejected."""
    own = default_event_id(span.trace_id, span.span_id)
    if names.EVENT_ID not in given:
        return own
    explicit = _text(given, names.EVENT_ID, integers=True)
    if explicit and explicit != own and _UUID8.fullmatch(explicit):
        raise SpanRejected(
            "foreign_event_id", names.EVENT_ID, "a version-8 UUID that is not this span's own"
        )
    return explicit or own


def _sequence(given: dict[str, Value]) -> int:
    value = given.get(names.SEQUENCE)
    if value is None or (isinstance(value, str) and not value.strip(_BLANK)):
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise SpanRejected("wrong_type", names.SEQUENCE, "must be an int")
    if not 1 <= value <= _INT64_MAX:
        raise SpanRejected("out_of_range", names.SEQUENCE, "must be at least 1 and fit 64 bits")
    return value


def status_of(
    span: Span, given: dict[str, Value], duplicates: Duplicates
) -> tuple[str, bytes | None]:
    """An event's status, and its error as JCS where it failed."""
    failed = span.status_code == _STATUS_ERROR or (
        span.status_code == _STATUS_UNSET and "error.type" in given
    )
    if not failed:
        return "ok", None
    exception: dict[str, Value] = {}
    for event in reversed(span.events):
        if event.name == "exception":
            exception = _first_of_each(event.attributes, duplicates)
            break
    error = {
        "name": _string(exception, "exception.type") or _string(given, "error.type") or "Error",
        "message": _string(exception, "exception.message") or whole_text(span.status_message),
    }
    stack = _string(exception, "exception.stacktrace")
    if stack:
        error["stack"] = stack
    return "error", canonical(error)


def _string(given: dict[str, Value], key: str) -> str:
    value = given.get(key)
    return whole_text(value) if isinstance(value, str) else ""


def _source(given: dict[str, Value], keys: tuple[str, ...]) -> str | None:
    """The first key that brings a value; text that is blank is as if absent."""
    for key in keys:
        if key in given:
            value = given[key]
            if not isinstance(value, str) or value[:1] > " " or value.strip(_BLANK):
                return key
    return None


def _read(
    given: dict[str, Value], key: str, rule: Rule | None, found: Duplicates
) -> tuple[Any, bytes]:
    """What stands at `key`: its JSON value, and its JCS text."""
    value = given[key]
    try:
        if isinstance(value, str):
            if _is_json_text(given, key, rule):
                try:
                    return read_json(value, found)
                except NotJson:
                    pass  # contract §2: text that is not JSON is a string
            value = whole_text(value)
            return value, canonical(value)
        plain = json_value(value, found, LEVELS_MAX)
    except SpanRejected as error:
        raise SpanRejected(error.reason, key, error.message) from error
    return plain, canonical(plain)


def _is_json_text(given: dict[str, Value], key: str, rule: Rule | None) -> bool:
    if rule is None:
        return True
    for source, mime_key in rule.json_types:
        mime = given.get(mime_key)
        if source == key and isinstance(mime, str):
            bare = mime.partition(";")[0].strip().lower()
            return bare == "application/json" or bare.endswith("+json")
    return True


def inputs_of(given: dict[str, Value], rule: Rule | None, duplicates: Duplicates) -> bytes:
    """An event's inputs as JCS. Raises SpanRejected."""
    key = _source(given, _INPUTS if rule is None else (*_INPUTS, *rule.inputs))
    if key is None:
        return b"{}"
    value, jcs = _read(given, key, rule, duplicates)
    if isinstance(value, dict):
        return bytes(jcs)
    return (b'{"args":' if isinstance(value, list) else b'{"value":') + jcs + b"}"


def output_of(
    given: dict[str, Value], rule: Rule | None, duplicates: Duplicates, status: str
) -> bytes | None:
    """An event's output as JCS, or None where it has none. Raises SpanRejected."""
    key = _source(given, _OUTPUT if rule is None else (*_OUTPUT, *rule.output))
    if key is None:
        return b"null" if status == "ok" else None
    return bytes(_read(given, key, rule, duplicates)[1])


def attributes_of(
    span: Span, given: dict[str, Value], rule: Rule | None, duplicates: Duplicates
) -> bytes:
    """The event's attributes as JCS; later ones win: the span's, the resource's, ours."""
    left_out = _NOT_KEPT if rule is None else _NOT_KEPT_BY_RULE[rule.name]
    kept: dict[str, Any] = {}
    other: dict[str, Any] = {}
    for key, value in given.items():
        if key in left_out:
            continue
        if key in _WELL_FORMED or is_event_key(key):
            kept[key] = attribute(key, value, duplicates)
        else:
            other[key] = _nested(key, value, duplicates)
    for key, value in _resource(span.resource, duplicates):
        kept[key] = attribute(key, value, duplicates)
    if 0 < span.kind < len(names.SPAN_KINDS):
        kept[names.SPAN_KIND] = names.SPAN_KINDS[span.kind]
    if span.scope_name:
        kept[names.SCOPE_NAME] = whole_text(span.scope_name)
    if span.scope_version:
        kept[names.SCOPE_VERSION] = whole_text(span.scope_version)
    if span.links:
        links = [_link(link, duplicates) for link in span.links]
        kept[names.LINKS] = canonical(links).decode()
    if other:
        kept[names.OTHER] = canonical(other).decode()
    if duplicates.count:
        kept[names.DUPLICATE_KEYS] = duplicates.count
    if not kept:
        return b""
    # Keys are ASCII by now: what is left to ask of the fast path is that no value is a float.
    flat = ATOMS.issuperset(map(type, kept.values()))
    return (dump_plain(kept) if flat else None) or canonical(kept)


# Keys seen to be well-formed: telemetry repeats a few keys for ever, and a set answers at once.
_WELL_FORMED: set[str] = set()
_WELL_FORMED_MAX = 4096


def is_event_key(key: str) -> bool:
    """Whether an event may have an attribute of that name."""
    if _KEY.fullmatch(key) is None:
        return False
    if len(_WELL_FORMED) < _WELL_FORMED_MAX:
        _WELL_FORMED.add(key)
    return True


def _resource(resource: Pairs, duplicates: Duplicates) -> list[tuple[str, Value]]:
    wanted = [pair for pair in resource if pair[0] in _RESOURCE]
    first = _first_of_each(wanted, duplicates)
    return [(key, value) for key, value in first.items() if value is not None and value != ""]


def attribute(key: str, value: Value, duplicates: Duplicates) -> Any:
    """A value as an event's flat attributes hold it: arrays and maps as their JCS text."""
    if isinstance(value, str):
        return value if value.isascii() else whole_text(value)
    if isinstance(value, int) and -INTEGER_MAX <= value <= INTEGER_MAX:
        return value
    plain = _nested(key, value, duplicates)
    return canonical(plain).decode() if isinstance(plain, (dict, list)) else plain


def _nested(key: str, value: Value, duplicates: Duplicates) -> Any:
    try:
        return json_value(value, duplicates)
    except SpanRejected as error:
        raise SpanRejected(error.reason, key, error.message) from error


def _link(link: SpanLink, duplicates: Duplicates) -> dict[str, Any]:
    shown: dict[str, Any] = {"trace_id": link.trace_id.hex(), "span_id": link.span_id.hex()}
    if link.attributes:
        shown["attributes"] = json_object(
            ((whole_text(key), value) for key, value in link.attributes),
            duplicates,
            LEVELS_MAX + 1,
        )
    return shown
