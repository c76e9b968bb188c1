"""Whatever a span holds, mapping it ends well."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from intentproof_schemas import (
    KeyValues,
    Span,
    SpanEvent,
    SpanLink,
    SpanRejected,
    canonical,
    check_event,
    event_text,
    is_taken,
    map_span,
)

from tests.examples import examples
from tests.schemas.support import (
    GEN_AI,
    MCP,
    OPENINFERENCE,
    OPENLLMETRY,
    OURS,
    SPAN_ID,
    START_NS,
    TEXTS,
    TRACE_ID,
    mapped,
    validator,
)

_LETTERS = st.text(
    st.one_of(st.characters(), st.sampled_from("\ud800\udc00\udfff\ue000\U00010000 \n")), max_size=6
)
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    _LETTERS,
    st.binary(max_size=4),
    st.sampled_from(
        ["{}", '{"a":1,"a":[2]}', "[1e20]", "[1.0]", "null", "9" * 30, "x" * 300, "a\n", "tool"]
    ),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(st.tuples(_LETTERS, inner), max_size=3).map(KeyValues),
    ),
    max_leaves=6,
)
_KNOWN = st.sampled_from(
    [
        *(*TEXTS, *OURS, "intentproof.inputs", "intentproof.output", "intentproof.sequence"),
        *("error.type", "exception.type", "exception.message", "service.name", "a b", ""),
        *("gen_ai.tool.name", "gen_ai.tool.call.arguments"),
        *("tool.name", "input.value", "input.mime_type"),
    ]
)
_PAIRS = st.lists(st.tuples(st.one_of(_KNOWN, _LETTERS), _VALUES), max_size=6)
_FREE = st.sampled_from(["a", "b.c", "a b", "error.type", "gen_ai.tool.name", "input.value"])
_SOUND = st.one_of(
    st.tuples(st.one_of(_FREE, _LETTERS), _VALUES),
    st.tuples(st.sampled_from(OURS), _VALUES),
    st.tuples(st.sampled_from(["intentproof.inputs", "intentproof.output"]), _VALUES),
    st.tuples(st.sampled_from(list(TEXTS)), _LETTERS),
    st.tuples(st.just("intentproof.sequence"), st.integers(1, 2**63 - 1)),
)
_MARKED = st.sampled_from([("intentproof.intent", "i"), GEN_AI, MCP, OPENINFERENCE, OPENLLMETRY])
_SOUND_TIMES = st.one_of(st.integers(-(2**61), 2**61), st.sampled_from([0, -1, 999, START_NS]))


def _shuffled(
    markers: st.SearchStrategy[tuple[str, Any]], others: st.SearchStrategy[tuple[str, Any]]
) -> st.SearchStrategy[Any]:
    both = st.tuples(st.lists(markers, min_size=1, max_size=2), st.lists(others, max_size=6))
    return both.flatmap(lambda lists: st.permutations([*lists[0], *lists[1]]))


def _spans(**given_fields: Any) -> st.SearchStrategy[Span]:
    return st.builds(
        Span,
        name=_LETTERS,
        kind=st.integers(-1, 9),
        status_code=st.integers(0, 3),
        status_message=_LETTERS,
        events=st.lists(
            st.builds(SpanEvent, st.sampled_from(["exception", "log"]), _PAIRS), max_size=2
        ),
        links=st.lists(
            st.builds(SpanLink, st.binary(max_size=16), st.binary(max_size=8), _PAIRS), max_size=2
        ),
        resource=_PAIRS,
        scope_name=_LETTERS,
        scope_version=_LETTERS,
        **given_fields,
    )


_SOUND_SPANS = _spans(
    trace_id=st.just(TRACE_ID),
    span_id=st.just(SPAN_ID),
    parent_span_id=st.sampled_from([b"", bytes(8), SPAN_ID]),
    start_ns=_SOUND_TIMES,
    end_ns=_SOUND_TIMES,
    attributes=_shuffled(_MARKED, _SOUND),
)
_ANY_SPANS = _spans(
    trace_id=st.sampled_from([TRACE_ID, TRACE_ID, TRACE_ID, bytes(16), b""]),
    span_id=st.sampled_from([SPAN_ID, SPAN_ID, SPAN_ID, bytes(8), b"x"]),
    parent_span_id=st.sampled_from([b"", bytes(8), SPAN_ID, b"x"]),
    start_ns=st.one_of(_SOUND_TIMES, st.sampled_from([2**63, -(2**63) - 1])),
    end_ns=st.one_of(_SOUND_TIMES, st.sampled_from([2**63, -(2**63) - 1])),
    attributes=_shuffled(
        st.one_of(_MARKED, st.tuples(st.just("intentproof.intent"), _VALUES), _SOUND),
        st.tuples(st.one_of(_KNOWN, _LETTERS), _VALUES),
    ),
)


def _number(digits: str) -> int | float:
    return int(digits) if abs(int(digits)) < 2**53 else float(digits)


@settings(max_examples=examples(1000), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_ANY_SPANS)
def test_any_span_makes_an_event_or_none_or_is_refused(span: Span) -> None:
    """Whatever a span holds, mapping it raises nothing foreign, and what is refused was taken."""
    try:
        event = map_span(span)
    except SpanRejected:
        assert is_taken(span)
    else:
        assert is_taken(span) == (event is not None)


@settings(max_examples=examples(1500), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_SOUND_SPANS)
def test_an_event_is_valid_and_its_text_canonical(span: Span) -> None:
    """A sound span's event passes its schema and its checks, and its text is its RFC 8785 form."""
    text = event_text(mapped(span))
    document = json.loads(text, parse_int=_number)
    validator("execution_event.v1").validate(document)
    check_event(document)
    assert text == canonical(document)
