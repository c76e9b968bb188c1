"""Mapping by shape answers as the plain mapping does, whatever a span holds."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from intentproof_schemas import Span, SpanEvent, SpanRejected, map_span, mapping, shapes

from tests.examples import examples
from tests.schemas.support import BARE, GEN_AI, OURS, START_NS, TEXTS, declared
from tests.schemas.test_mapping_property import _ANY_SPANS, _LETTERS, _PAIRS, _SOUND_SPANS, _VALUES

_USUAL = st.one_of(
    st.sampled_from(["i", " a ", "", "é", "\ud800", '{"b":1,"a":"x"}', "[1]", "1.0", '{"a":1.5}']),
    st.sampled_from(['{"a":1,"a":2}', '{"a":"\\u0041"}', "done", " ", "x" * 300, "ä" * 100]),
    st.sampled_from([0, 1, True, 2**53, -(2**63), 1.0, 1.5, 1e-7, float("nan"), None, b"\xff"]),
    _VALUES,
)
_KEYS = st.lists(
    st.one_of(
        st.sampled_from([*TEXTS, *OURS, "intentproof.inputs", "intentproof.output"]),
        st.sampled_from(["intentproof.sequence", "error.type", "service.name", "a", "b.c", "a b"]),
        st.sampled_from([GEN_AI[0], "intentproof.intent"]),
        _LETTERS,
    ),
    max_size=8,
)
_ORIGINS = st.fixed_dictionaries(
    {
        "resource": st.one_of(
            _PAIRS,
            st.lists(
                st.tuples(
                    st.sampled_from(["service.name", "service.version", "x"]),
                    st.sampled_from(["", "s", "é", "\ud800", '"', 1, True, 1.0]),
                ),
                max_size=3,
            ).map(tuple),
        ),
        "scope_name": st.sampled_from(["", "scope", "\udfff"]),
        "scope_version": st.sampled_from(["", "1"]),
        "kind": st.sampled_from([0, 1, 3, 5, 6, -1]),
        "status_code": st.integers(0, 3),
        "name": st.sampled_from(["", " n ", "é" * 200]),
        "parent_span_id": st.sampled_from([b"", bytes(8), b"12345678", b"1"]),
        "start_ns": st.sampled_from([START_NS, 0, -1, 2**63]),
        "dropped_events_count": st.integers(0, 2),
        "events": st.lists(
            st.builds(SpanEvent, st.sampled_from(["exception", "log"]), _PAIRS), max_size=2
        ),
    }
)


@st.composite
def _of_one_shape(draw: st.DrawFn) -> list[Span]:
    """Spans with the same keys, so that all but the first meet a plan."""
    keys = draw(st.permutations(["intentproof.intent", *draw(_KEYS)]))
    values = st.tuples(*[_USUAL for _ in keys])
    made = draw(st.lists(st.tuples(values, _ORIGINS), min_size=2, max_size=4))
    origins = [origin for _, origin in made] + [made[0][1]]
    return [
        BARE._replace(attributes=tuple(zip(keys, held, strict=True)), **origin)
        for (held, _), origin in zip([*made, made[0]], origins, strict=True)
    ]


def _answer(function: Any, span: Span, event_bytes_max: int) -> Any:
    try:
        return function(span, event_bytes_max=event_bytes_max)
    except SpanRejected as error:
        return error.reason, str(error)


def _alike(span: Span, event_bytes_max: int = 1 << 20) -> None:
    for _ in range(2):  # the first time makes the plan, the second uses it
        plain = _answer(mapping.map_span, span, event_bytes_max)
        assert _answer(map_span, span, event_bytes_max) == plain


@settings(max_examples=examples(1500), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_of_one_shape(), st.sampled_from([1 << 20, 60]))
def test_spans_of_one_shape_map_as_plainly(spans: list[Span], event_bytes_max: int) -> None:
    """Spans that share their keys make the events, and the refusals, of the plain mapping."""
    for span in spans:
        _alike(span, event_bytes_max)


@settings(max_examples=examples(800), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(_ANY_SPANS, _SOUND_SPANS))
def test_any_span_maps_as_plainly(span: Span) -> None:
    """A span of any shape makes the event, or the refusal, of the plain mapping."""
    _alike(span)


def test_a_usual_span_has_a_plan() -> None:
    """The plan is used where spans are as usual: else nobody would notice that it never is."""
    span = declared(
        ("intentproof.inputs", '{"a":1}'), ("a", "b"), resource=(("service.name", "s"),)
    )
    map_span(span)
    shape = shapes._SHAPES["intentproof.intent", "intentproof.inputs", "a"]
    assert len(shape.layouts) == 1
    assert shapes._by_shape(span, shape, ("i", "{}", "b"), 1 << 20) is not None


def test_equal_values_of_other_types_are_told_apart() -> None:
    """A resource that says 1 and one that says true are equal to Python, and not the same."""
    for value in (1, True, 1.0, "1"):
        _alike(declared(("a", "b"), resource=(("service.name", value),)))


def test_ever_new_shapes_do_not_fill_the_memory() -> None:
    """Plans are bounded in number, however many shapes arrive."""
    for number in range(shapes._SHAPES_MAX + 10):
        map_span(declared((f"key.{number}", 1)))
    assert len(shapes._SHAPES) <= shapes._SHAPES_MAX
    long = "k" * 250
    keys = tuple((f"{long}{number}", 1) for number in range(100))
    _alike(declared(*keys))
    assert not any(len(shape.keys) == 101 for shape in shapes._SHAPES.values())
    for number in range(shapes._ORIGINS_MAX + 2):
        map_span(declared(("a", "b"), scope_name=f"scope {number}"))
    assert len(shapes._SHAPES["intentproof.intent", "a"].layouts) <= shapes._ORIGINS_MAX
