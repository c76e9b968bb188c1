"""The event in process and the event from the wire are one: same mapping, same values."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_schemas import ExecutionEvent, map_span
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer

from otel_bridge import InMemoryExporter, IntentProofSpanProcessor
from otel_bridge.values import wire_value
from tests.bridge.conftest import Bridge, grpc_exporter
from tests.bridge.receivers import Received, grpc_receiver, read_request

TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)
SCALARS = st.none() | st.booleans() | TEXT | st.integers() | st.floats() | st.binary(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def wired(memory: InMemoryExporter) -> list[ExecutionEvent | None]:
    """The events of what `memory` kept, by way of protobuf bytes and back."""
    request = encode_spans(memory.spans)
    parsed = type(request).FromString(request.SerializeToString())
    return [map_span(span) for span in read_request(parsed)]


@settings(max_examples=150, deadline=None)
@given(attributes=st.dictionaries(TEXT.filter(bool), VALUES, max_size=5), inputs=VALUES)
@pytest.mark.filterwarnings("ignore")
def test_any_attributes_survive_the_wire(attributes: dict[str, Any], inputs: Any) -> None:
    """Whatever a program sets, the receiver maps it to the event that the bridge mapped."""
    memory = InMemoryExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    processor = IntentProofSpanProcessor(exporter=memory)
    provider.add_span_processor(processor)
    span = provider.get_tracer("wire").start_span("refund", attributes=attributes)
    span.set_attribute("intentproof.intent", "Return captured funds")
    span.set_attribute("intentproof.inputs", inputs)
    span.end()
    assert processor.counters.errors == 0
    assert len(memory.spans) == 1
    if memory.events:
        assert wired(memory) == memory.events


def test_a_full_span_is_the_same_event_over_the_wire(bridge: Bridge) -> None:
    """Links, exceptions, status, kind, resource and scope arrive as they were mapped here."""
    memory, received = InMemoryExporter(), Received()
    tracer, _ = bridge(memory)
    emit_full(tracer)
    with grpc_receiver(received) as base:
        sent, processor = bridge(grpc_exporter(base))
        emit_full(sent)
        assert processor.force_flush(5000)
        processor.shutdown()
    (here,), (there,) = memory.events, received.events
    own = ("event_id", "trace_id", "span_id", "stream_id", "started_ns", "completed_ns")
    assert wired(memory) == [here]
    for name in ExecutionEvent._fields:
        if name not in own:
            assert getattr(here, name) == getattr(there, name), name


def emit_full(tracer: Tracer) -> None:
    other = SpanContext(7, 9, is_remote=True, trace_flags=TraceFlags(1))
    span = tracer.start_span(
        "refund \ud800",
        kind=SpanKind.CLIENT,
        links=[Link(other, {"why": "cause", "big": 2**70})],
        attributes={
            "intentproof.intent": "Return captured funds",
            "intentproof.inputs": '{"amount":1250}',
            "list": ["a", "b"],
            "bad \udfff key": "bad \ud800 value",
            "big": 2**70,
        },
    )
    span.add_event("exception", {"exception.type": "Declined", "exception.message": "no \ud800"})
    span.set_status(Status(StatusCode.ERROR, "declined \ud800"))
    span.end()


def test_big_integers_and_surrogates_are_not_lost(
    tracer: Tracer, memory: InMemoryExporter, caplog: pytest.LogCaptureFixture
) -> None:
    """What the encoder would drop goes out as the text that the mapping makes of it."""
    emit_full(tracer)
    (event,) = memory.events
    assert f'"big":"{2**70}"' in event.attributes
    assert "bad \\ufffd value" in event.attributes.replace("\ufffd", "\\ufffd")
    assert wired(memory) == [event]
    assert "Failed to encode" not in caplog.text


def test_an_enormous_integer_costs_no_event(tracer: Tracer, memory: InMemoryExporter) -> None:
    """Python refuses to write more than 4,300 digits; then they are hexadecimal."""
    given: dict[str, Any] = {"intentproof.intent": "Return", "huge": 1 << 20_000}
    tracer.start_span("refund", attributes=given).end()
    assert wired(memory) == memory.events
    assert '"huge":"0x1000' in memory.events[0].attributes


def test_a_null_inside_a_value_is_not_lost(tracer: Tracer, memory: InMemoryExporter) -> None:
    """Encoders before 1.45 drop a whole list for one null in it."""
    given: dict[str, Any] = {
        "intentproof.intent": "Return",
        "intentproof.inputs": [None, "a"],
        "other": [None],
    }
    tracer.start_span("refund", attributes=given).end()
    (event,) = memory.events
    assert event.inputs == '{"args":[null,"a"]}'
    assert '"other":"[null]"' in event.attributes
    assert wired(memory) == [event]


@pytest.mark.skipif(
    "value" not in BoundedAttributes(attributes={"value": {"a": 1}}),
    reason="before 1.45 maps are no attribute values",
)
@pytest.mark.parametrize("levels", [5, 40, 63])
def test_deep_values_survive_protobuf(
    levels: int, tracer: Tracer, memory: InMemoryExporter
) -> None:
    """A value nested deeper than protobuf can carry goes out as its JSON text."""
    value: Any = "core"
    for _ in range(levels):
        value = {"in": value}
    given = {"intentproof.intent": "Return", "intentproof.inputs": value, "other": value}
    tracer.start_span("refund", attributes=given).end()
    (event,) = memory.events
    assert event.inputs == '{"in":' * levels + '"core"' + "}" * levels
    assert wired(memory) == [event]


def test_what_is_too_deep_is_said() -> None:
    """Beyond the contract's 64 levels the value goes out as text, as far as Python can walk it."""
    value: Any = "core"
    for _ in range(200):
        value = [value]
    assert wire_value(value) == str(value)
    for _ in range(100_000):
        value = [value]
    assert wire_value(value) == "(nested too deeply to be sent)"


def test_resources_with_odd_values_are_mended(memory: InMemoryExporter) -> None:
    """A surrogate in a resource or scope costs no batch."""
    resource = Resource({"service.name": "refunds \ud800"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(IntentProofSpanProcessor(exporter=memory))
    tracer = provider.get_tracer("scope \ud800")
    tracer.start_span("refund", attributes={"intentproof.intent": "Return"}).end()
    assert wired(memory) == memory.events
    assert "refunds \ufffd" in memory.events[0].attributes
