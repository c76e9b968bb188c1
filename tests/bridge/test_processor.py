"""What happens on the program's own threads: copying, numbering, choosing, never raising."""

import threading
from typing import Any

import pytest
from opentelemetry import baggage, context
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult
from opentelemetry.trace import Tracer

from otel_bridge import (
    Counters,
    EndedSpan,
    InMemoryExporter,
    IntentProofSpanProcessor,
    SettingError,
)
from tests.bridge.conftest import Bridge, emit


class RecordOnly(Sampler):
    """Records every span and samples none."""

    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        return SamplingResult(Decision.RECORD_ONLY, kwargs.get("attributes") or args[4])

    def get_description(self) -> str:
        return "RecordOnly"


class Broken(InMemoryExporter):
    """Fails in every hook."""

    def export(self, ended: EndedSpan) -> None:
        raise RuntimeError("broken")

    def force_flush(self, timeout_millis: int) -> bool:
        raise RuntimeError("broken")

    def shutdown(self) -> None:
        raise RuntimeError("broken")


def carried(**values: str) -> Context:
    current = Context()
    for key, value in values.items():
        current = baggage.set_baggage(key.replace("__", "."), value, current)
    return current


def test_an_intent_span_becomes_an_event(tracer: Tracer, memory: InMemoryExporter) -> None:
    """An ended span with an intent is an event, mapped by the shared function."""
    emit(tracer, intentproof__action="stripe.refund.create", amount=1250)
    (event,) = memory.events
    assert (event.intent, event.action, event.mapping_rule) == (
        "Return captured funds",
        "stripe.refund.create",
        "intentproof/1",
    )
    assert '"service.name":"refunds"' in event.attributes
    assert '"amount":1250' in event.attributes


def test_other_spans_are_left_alone(tracer: Tracer, memory: InMemoryExporter) -> None:
    """A span that no rule takes makes no event and takes no number."""
    tracer.start_span("GET", attributes={"http.request.method": "GET"}).end()
    tracer.start_span("bare").end()
    emit(tracer)
    assert [event.sequence for event in memory.events] == [1]


def test_a_tool_call_is_observed(tracer: Tracer, memory: InMemoryExporter) -> None:
    """A GenAI tool span is an event too, although nobody declared an intent."""
    given = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "refund"}
    tracer.start_span("execute_tool refund", attributes=given).end()
    assert [(event.action, event.provenance) for event in memory.events] == [("refund", "observed")]


def test_an_intent_set_later_counts(tracer: Tracer, memory: InMemoryExporter) -> None:
    """The intent may be set at any time before the span ends."""
    span = tracer.start_span("refund")
    span.set_attribute("intentproof.intent", "Return captured funds")
    span.end()
    assert len(memory.events) == 1


def test_numbers_run_from_one_in_one_stream(tracer: Tracer, memory: InMemoryExporter) -> None:
    """Events carry one stream id and consecutive numbers."""
    for _ in range(5):
        emit(tracer)
    assert [event.sequence for event in memory.events] == [1, 2, 3, 4, 5]
    assert len({event.stream_id for event in memory.events}) == 1
    assert len(memory.events[0].stream_id) == 32


def test_numbers_that_a_span_brings_are_not_believed(
    tracer: Tracer, memory: InMemoryExporter
) -> None:
    """Stream and sequence are the bridge's, whatever the program sets."""
    emit(tracer, intentproof__stream_id="mine", intentproof__sequence=99)
    assert memory.events[0].sequence == 1
    assert memory.events[0].stream_id != "mine"


def test_a_span_that_cannot_be_mapped_is_numbered_and_kept(
    tracer: Tracer, memory: InMemoryExporter
) -> None:
    """A blank intent is handed on for quarantine, with a number, and shows in a test."""
    emit(tracer, intent=" ")
    emit(tracer)
    assert [rejected.reason for rejected in memory.rejected] == ["blank_intent"]
    assert [event.sequence for event in memory.events] == [2]
    assert len(memory.spans) == 2


@pytest.mark.filterwarnings("ignore")
def test_eviction_does_not_lose_the_intent(tracer: Tracer, memory: InMemoryExporter) -> None:
    """A busy span evicts its oldest attributes, and keeps its intent all the same."""
    span = tracer.start_span(
        "busy",
        attributes={"intentproof.intent": "Close the books", "intentproof.inputs": '{"year":2026}'},
    )
    for number in range(200):
        span.set_attribute(f"step.{number}", number)
    span.end()
    (event,) = memory.events
    assert (event.intent, event.inputs) == ("Close the books", '{"year":2026}')
    assert event.dropped_attributes_count == 200 + 2 - 128 - 2


def test_eviction_does_not_lose_a_tool_call(tracer: Tracer, memory: InMemoryExporter) -> None:
    """The start attributes of an observed tool call come back too."""
    given = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "refund"}
    span = tracer.start_span("busy", attributes=given)
    for number in range(200):
        span.set_attribute(f"step.{number}", number)
    span.end()
    assert [event.action for event in memory.events] == ["refund"]


def test_a_value_that_was_set_again_wins_over_the_remembered_one(
    tracer: Tracer, memory: InMemoryExporter
) -> None:
    """Only what is missing at the end is restored."""
    span = tracer.start_span("refund", attributes={"intentproof.intent": "first"})
    span.set_attribute("intentproof.intent", "second")
    span.end()
    assert memory.events[0].intent == "second"


def test_baggage_gives_the_correlation_id(tracer: Tracer, memory: InMemoryExporter) -> None:
    """The correlation id of W3C baggage is on the span itself from its start."""
    parent = carried(intentproof__correlation_id="order-17")
    span = tracer.start_span("refund", context=parent)
    assert span.attributes == {"intentproof.correlation_id": "order-17"}  # type: ignore[attr-defined]
    span.set_attribute("intentproof.intent", "Return captured funds")
    span.end()
    assert memory.events[0].correlation_id == "order-17"


def test_an_explicit_correlation_id_wins(tracer: Tracer, memory: InMemoryExporter) -> None:
    """Baggage never overrides what the program says itself."""
    given = {"intentproof.intent": "Return", "intentproof.correlation_id": "mine"}
    parent = carried(intentproof__correlation_id="theirs")
    tracer.start_span("refund", context=parent, attributes=given).end()
    assert memory.events[0].correlation_id == "mine"


def test_run_and_stage_may_come_from_baggage(bridge: Bridge, memory: InMemoryExporter) -> None:
    """Runs with a stage graph ask for two more keys."""
    names = ["intentproof.run_id", "intentproof.stage"]
    processor = IntentProofSpanProcessor(exporter=memory, baggage_keys=names)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    parent = carried(intentproof__run_id="r1", intentproof__stage="pay")
    given = {"intentproof.intent": "Return"}
    provider.get_tracer("run").start_span("refund", context=parent, attributes=given).end()
    assert (memory.events[0].run_id, memory.events[0].stage) == ("r1", "pay")


@pytest.mark.parametrize("value", ["", " ", "x" * 257])
def test_baggage_that_would_spoil_the_event_is_ignored(
    value: str, tracer: Tracer, memory: InMemoryExporter
) -> None:
    """A foreign header cannot send our events into quarantine."""
    parent = carried(intentproof__correlation_id=value)
    given = {"intentproof.intent": "Return"}
    tracer.start_span("refund", context=parent, attributes=given).end()
    assert memory.events[0].correlation_id == ""


def test_baggage_cannot_declare_an_intent(tracer: Tracer, memory: InMemoryExporter) -> None:
    """No other key is taken from a header, and asking for it is refused."""
    parent = carried(intentproof__intent="forged", intentproof__event_id="forged")
    tracer.start_span("refund", context=parent).end()
    assert (memory.events, memory.rejected) == ([], [])
    with pytest.raises(SettingError, match="baggage_keys"):
        IntentProofSpanProcessor(exporter=memory, baggage_keys=["intentproof.intent"])


def test_unsampled_spans_are_events(bridge: Bridge, memory: InMemoryExporter) -> None:
    """Whether a span is sampled makes no difference, as long as it is recorded."""
    tracer, _ = bridge(memory, sampler=RecordOnly())
    span = tracer.start_span("refund", attributes={"intentproof.intent": "Return"})
    assert not span.get_span_context().trace_flags.sampled
    span.end()
    assert len(memory.events) == 1


def test_dropped_spans_are_nobodys(bridge: Bridge, memory: InMemoryExporter) -> None:
    """A span that the sampler drops is never shown to a processor."""
    tracer, _ = bridge(memory, sampler=ALWAYS_OFF)
    emit(tracer)
    assert memory.spans == []


def test_a_broken_exporter_is_not_the_programs_trouble(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    """Every fault is swallowed, counted, and logged once."""
    tracer, processor = bridge(Broken())
    emit(tracer)
    emit(tracer)
    assert processor.force_flush(10) is False
    processor.shutdown()
    assert processor.counters.errors == 4
    assert len([record for record in caplog.records if "on_end" in record.message]) == 1


def test_odd_attributes_do_not_raise(tracer: Tracer, memory: InMemoryExporter) -> None:
    """Values that OpenTelemetry takes only with a warning cost nobody anything."""
    span = tracer.start_span("refund", attributes={"intentproof.intent": "Return"})
    span.set_attribute("object", object())  # type: ignore[arg-type]
    span.set_attribute("", "no key")
    span.set_attribute("deep", {"a": [{"b": (1, None, b"\0")}]})
    span.end()
    assert len(memory.events) == 1


def test_many_threads_share_one_stream(bridge: Bridge, memory: InMemoryExporter) -> None:
    """Numbers are neither lost nor given twice when many threads end spans at once."""
    tracer, processor = bridge(memory)
    begin = threading.Barrier(8)

    def work() -> None:
        begin.wait()
        for _ in range(50):
            emit(tracer)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(event.sequence for event in memory.events) == list(range(1, 401))
    assert processor.counters == Counters(sent=400)


def test_spans_that_never_end_are_forgotten(
    tracer: Tracer, memory: InMemoryExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is remembered of open spans is bounded, and the events come all the same."""
    monkeypatch.setattr("otel_bridge.processor._OPEN_MAX", 2)
    spans = [
        tracer.start_span("open", attributes={"intentproof.intent": f"number {number}"})
        for number in range(4)
    ]
    for span in spans:
        span.end()
    assert len(memory.events) == 4


def test_nothing_is_taken_after_shutdown(bridge: Bridge, memory: InMemoryExporter) -> None:
    """After shutdown an event is counted as dropped, and shutdown again does nothing."""
    tracer, processor = bridge(memory)
    processor.shutdown()
    processor.shutdown()
    emit(tracer)
    assert memory.events == []
    assert processor.counters.dropped == {"shutdown": 1}


def test_clear_forgets_events(tracer: Tracer, memory: InMemoryExporter) -> None:
    """A test can begin anew with the same exporter."""
    emit(tracer)
    emit(tracer, intent="")
    memory.clear()
    assert (memory.events, memory.rejected, memory.spans) == ([], [], [])


def test_the_current_context_is_not_touched(tracer: Tracer) -> None:
    """Starting and ending spans leaves the caller's context as it was."""
    before = context.get_current()
    emit(tracer)
    assert context.get_current() == before
