"""Span → ExecutionEvent: the one mapping, pure, used by the bridge and by the receiver.

The rules are contract §2 and §3; the steps of `map_span` carry their numbers in the code.
"""

import hashlib
import re

from . import names
from .attributes import attributes_of
from .errors import SpanRejected
from .event import ExecutionEvent
from .fields import (
    BLANK,
    INTENT_BYTES_MAX,
    TEXT_BYTES_MAX,
    convention_text,
    cut,
    first_of_each,
    optional_texts,
    text_of,
)
from .jsontext import Duplicates
from .members import inputs_of, output_of, status_of
from .rules import CONVENTIONS, DECLARED, Rule
from .span import Span, Value

EVENT_BYTES_MAX = 1 << 20  # contract §2: inputs, output, error and attributes together

_UUID8 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.I)
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
_INT64_MAX = 2**63 - 1
_TIME_RANGE = "beyond a signed 64-bit number of nanoseconds"
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
    given = first_of_each(span.attributes, duplicates)
    declared = names.INTENT in given  # (1)
    rule = None if declared else _rule_of(given)
    if rule is None and not declared:
        return None
    _check_ids_and_times(span)  # (2)
    action = _action(span, given, rule)  # (3)
    intent = _intent(given, rule, action)
    texts = optional_texts(given)
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
    given = first_of_each(span.attributes, Duplicates())
    return names.INTENT in given or _rule_of(given) is not None


def default_event_id(trace_id: bytes, span_id: bytes) -> str:
    """The version-8 UUID (RFC 9562) that names a span's event unless the producer names it."""
    digits = hashlib.sha256(trace_id + span_id).hexdigest()
    variant = _VARIANT[digits[16]]
    return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


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


def _action(span: Span, given: dict[str, Value], rule: Rule | None) -> str:
    declared = text_of(given, names.ACTION)
    if declared:
        return declared
    named = convention_text(given, rule.action, TEXT_BYTES_MAX) if rule else ""
    return named or cut(span.name, TEXT_BYTES_MAX) or "unnamed"


def _intent(given: dict[str, Value], rule: Rule | None, action: str) -> str:
    if rule is not None:
        return convention_text(given, rule.intent, INTENT_BYTES_MAX) or action
    intent = text_of(given, names.INTENT, bytes_max=INTENT_BYTES_MAX)
    if not intent:
        raise SpanRejected("blank_intent", names.INTENT, "must not be blank")
    return intent


def event_id_of(span: Span, given: dict[str, Value]) -> str:
    """The id that the producer gave, or the span's own. Raises SpanRejected."""
    own = default_event_id(span.trace_id, span.span_id)
    if names.EVENT_ID not in given:
        return own
    explicit = text_of(given, names.EVENT_ID, integers=True)
    if explicit and explicit != own and _UUID8.fullmatch(explicit):
        raise SpanRejected(
            "foreign_event_id", names.EVENT_ID, "a version-8 UUID that is not this span's own"
        )
    return explicit or own


def _sequence(given: dict[str, Value]) -> int:
    value = given.get(names.SEQUENCE)
    if value is None or (isinstance(value, str) and not value.strip(BLANK)):
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise SpanRejected("wrong_type", names.SEQUENCE, "must be an int")
    if not 1 <= value <= _INT64_MAX:
        raise SpanRejected("out_of_range", names.SEQUENCE, "must be at least 1 and fit 64 bits")
    return value
