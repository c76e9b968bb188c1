"""`intent_span`: a block of the program as an event."""

import asyncio
import json

import pytest
from opentelemetry import baggage, trace
from opentelemetry.trace import Tracer

from otel_bridge import InMemoryExporter, intent_span


class NamelessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_a_block_is_an_event(tracer: Tracer, memory: InMemoryExporter) -> None:
    """Intent, action, inputs, output and the caller's attributes are in the event."""
    with intent_span(
        "Return captured funds",
        action="stripe.refund.create",
        correlation_id="order-17",
        inputs={"amount": 1250, "currency": "EUR"},
        attributes={"order.id": 17},
        tracer=tracer,
    ) as span:
        span.set_output({"id": "re_1"})
    (event,) = memory.events
    assert (event.intent, event.action) == ("Return captured funds", "stripe.refund.create")
    assert event.correlation_id == "order-17"
    assert event.inputs == '{"amount":1250,"currency":"EUR"}'
    assert event.output == '{"id":"re_1"}'
    assert event.status == "ok"
    assert '"order.id":17' in event.attributes
    assert memory.rejected == []


def test_without_inputs_and_output(tracer: Tracer, memory: InMemoryExporter) -> None:
    """What was not given is absent, and None is a value."""
    with intent_span("Return", tracer=tracer):
        pass
    with intent_span("Return", inputs=None, tracer=tracer) as span:
        span.set_output(None)
    assert [(event.inputs, event.output) for event in memory.events] == [
        ("{}", "null"),
        ('{"value":null}', "null"),
    ]
    assert memory.events[0].action == "Return"


def test_a_string_stays_a_string(tracer: Tracer, memory: InMemoryExporter) -> None:
    """Text that looks like JSON is not read as JSON."""
    with intent_span("Return", inputs="42", tracer=tracer) as span:
        span.set_output("true")
    assert (memory.events[0].inputs, memory.events[0].output) == ('{"value":"42"}', '"true"')


def test_an_exception_is_recorded_and_passes(tracer: Tracer, memory: InMemoryExporter) -> None:
    """The very same exception leaves the block, and the event says what it was."""
    error = ValueError("declined")
    with pytest.raises(ValueError, match="declined") as caught, intent_span("R", tracer=tracer):
        raise error
    assert caught.value is error
    (event,) = memory.events
    assert event.status == "error"
    told = json.loads(event.error or "")
    assert (told["name"], told["message"]) == ("ValueError", "declined")
    assert "raise error" in told["stack"]
    assert event.output is None


@pytest.mark.parametrize("kind", [KeyboardInterrupt, asyncio.CancelledError, SystemExit])
def test_an_interruption_is_an_error_too(
    kind: type[BaseException], tracer: Tracer, memory: InMemoryExporter
) -> None:
    """A block that was cut short did not do what it was meant to."""
    with pytest.raises(kind), intent_span("Return", tracer=tracer):
        raise kind
    assert memory.events[0].status == "error"


def test_an_exception_without_words(tracer: Tracer, memory: InMemoryExporter) -> None:
    """Recording an exception that cannot be printed does not replace it."""
    with pytest.raises(NamelessError), intent_span("Return", tracer=tracer):
        raise NamelessError
    assert memory.events[0].status == "error"


def test_the_correlation_id_reaches_nested_spans(tracer: Tracer, memory: InMemoryExporter) -> None:
    """Within the block the id is baggage; after it, it is gone."""
    with intent_span("Settle the order", correlation_id="order-17", tracer=tracer):
        assert baggage.get_baggage("intentproof.correlation_id") == "order-17"
        with intent_span("Return", tracer=tracer):
            pass
    assert baggage.get_baggage("intentproof.correlation_id") is None
    inner, outer = memory.events
    assert (inner.correlation_id, inner.parent_span_id) == ("order-17", outer.span_id)


def test_tasks_do_not_mix(tracer: Tracer, memory: InMemoryExporter) -> None:
    """Two tasks at once each have their own current span and correlation id."""

    async def work(number: int) -> None:
        with intent_span(f"outer {number}", correlation_id=f"c{number}", tracer=tracer):
            await asyncio.sleep(0)
            with intent_span(f"inner {number}", tracer=tracer):
                await asyncio.sleep(0)

    async def both() -> None:
        await asyncio.gather(work(1), work(2))

    asyncio.run(both())
    events = {event.intent: event for event in memory.events}
    for number in (1, 2):
        inner, outer = events[f"inner {number}"], events[f"outer {number}"]
        assert inner.parent_span_id == outer.span_id
        assert inner.correlation_id == f"c{number}"


def test_broken_arguments_do_not_raise(tracer: Tracer, memory: InMemoryExporter) -> None:
    """What cannot be recorded is left out; the block runs."""
    ran = False
    with intent_span("Return", attributes=17, inputs=object(), tracer=tracer):  # type: ignore[arg-type]
        ran = True
    with intent_span("Return", tracer="no tracer"):  # type: ignore[arg-type]
        assert ran
    assert len(memory.events) == 1


def test_without_an_sdk_it_costs_nothing_but_time() -> None:
    """A program without a provider runs as before."""
    with intent_span("Return", inputs={"a": 1}) as span:
        span.set_output(1)
        assert not span.span.is_recording()
    assert trace.get_current_span() is trace.INVALID_SPAN
