"""From a plain OpenTelemetry application through a real Collector into the log."""

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext

from tests.collector.processes import ROOT, Collector, Process, Receiver, clean_environment

GRPC_CONFIG = "collector-config.yaml"
HTTP_CONFIG = "collector-config.http.yaml"

DECLARED: list[Mapping[str, str]] = [
    {"intentproof.intent": "Refund a duplicate charge", "intentproof.action": "refund.create"},
    {"intentproof.intent": "Tell the customer", "intentproof.inputs": '{"order":"o-17"}'},
]
OBSERVED: list[Mapping[str, str]] = [
    {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "issue_refund"},
    {"mcp.method.name": "tools/call", "gen_ai.tool.name": "lookup_order"},
    {"openinference.span.kind": "TOOL", "tool.name": "issue_refund"},
    {"traceloop.span.kind": "tool", "traceloop.entity.name": "lookup_order"},
]
UNRELATED: list[Mapping[str, str]] = [
    {"http.request.method": "GET"},
    {"gen_ai.operation.name": "chat"},
]

MakeCollector = Callable[[str], Collector]

pytestmark = [
    pytest.mark.collector,
    pytest.mark.timeout(900),  # the first test may have to build the Collector
]


def spans_of_one_trace(*groups: Sequence[Mapping[str, str]]) -> list[ReadableSpan]:
    """Ended spans of the plain SDK, one for each set of attributes, under one root span."""
    ended = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ended))
    tracer = provider.get_tracer("refunds")
    with tracer.start_as_current_span("request"):
        for attributes in (attributes for group in groups for attributes in group):
            with tracer.start_as_current_span("call", attributes=attributes):
                pass
    provider.shutdown()
    return list(ended.get_finished_spans())


def send(spans: Sequence[ReadableSpan], collector: Collector) -> None:
    """Export as an application does, and insist that the Collector accepts."""
    exporter = OTLPSpanExporter(endpoint=str(collector.grpc), insecure=True)
    try:
        assert exporter.export(spans) is SpanExportResult.SUCCESS
    finally:
        exporter.shutdown()


def trace_id_of(spans: Sequence[ReadableSpan]) -> str:
    return f"{context_of(spans[0]).trace_id:032x}"


def context_of(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context


def expected_events(
    spans: Sequence[ReadableSpan], provenance: str, groups: Sequence[Mapping[str, str]]
) -> list[tuple[str, str]]:
    """Span id and provenance of the spans that have one of these sets of attributes."""
    kept = [span for span in spans if dict(span.attributes or {}) in [dict(g) for g in groups]]
    return [(f"{context_of(span).span_id:016x}", provenance) for span in kept]


def stored_events(receiver: Receiver, trace_id: str) -> list[tuple[str, str]]:
    """Span id and provenance of every stored event of the trace."""
    query = f"SELECT span_id, provenance FROM events WHERE trace_id = '{trace_id}'"
    return [(row["span_id"], row["provenance"]) for row in receiver.sql(query)]


def wait_until_stored(
    receiver: Receiver, serving: Process, trace_id: str, *, count: int
) -> list[tuple[str, str]]:
    """The trace's events, sorted, as soon as there are at least so many."""
    serving.wait_for(
        lambda: len(stored_events(receiver, trace_id)) >= count,
        what=f"{count} events of trace {trace_id}",
        within_s=90,
    )
    return sorted(stored_events(receiver, trace_id))


def wait_until_delivery_failed(collecting: Process) -> None:
    """Return once the Collector has tried, failed, and decided to try again."""
    collecting.wait_for(
        lambda: "Will retry the request" in collecting.log.read_text(), what="failed delivery"
    )


def validate(binary: Path, *configs: str) -> subprocess.CompletedProcess[str]:
    argv = [str(binary), "validate", *(f"--config={config}" for config in configs)]
    return subprocess.run(
        argv, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("config", [GRPC_CONFIG, HTTP_CONFIG])
def test_shipped_configuration_is_valid(collector_binary: Path, config: str) -> None:
    """The Collector accepts each configuration as shipped, with nothing set in the environment."""
    done = validate(collector_binary, str(ROOT / config))

    assert done.returncode == 0, done.stderr


def test_bearer_token_may_replace_the_api_key_header(collector_binary: Path) -> None:
    """The override of collector/README.md turns the key header into a bearer token."""
    override = ROOT / "collector" / "bearer-token.yaml"

    done = validate(collector_binary, str(ROOT / GRPC_CONFIG), str(override))

    assert done.returncode == 0, done.stderr


def test_configurations_differ_in_the_exporter_alone() -> None:
    """What is kept, redacted and queued does not depend on the transport."""

    def settings_without_transport(config: str, exporter: str) -> dict[str, Any]:
        settings: dict[str, Any] = yaml.safe_load((ROOT / config).read_text())
        options = settings["exporters"].pop(exporter)
        settings["service"]["pipelines"]["traces/intentproof"].pop("exporters")
        return settings | {
            "delivery": {k: options[k] for k in ("auth", "retry_on_failure", "sending_queue")}
        }

    over_grpc = settings_without_transport(GRPC_CONFIG, "otlp_grpc/intentproof")
    over_http = settings_without_transport(HTTP_CONFIG, "otlp_http/intentproof")

    assert over_grpc == over_http


@pytest.mark.parametrize("config", [GRPC_CONFIG, HTTP_CONFIG])
def test_spans_with_intent_arrive_and_others_do_not(
    make_collector: MakeCollector, receiver: Receiver, config: str
) -> None:
    """Annotated and tool spans become events of a log that verifies; other spans never leave."""
    spans = spans_of_one_trace(DECLARED, OBSERVED, UNRELATED)
    expected = [
        *expected_events(spans, "declared", DECLARED),
        *expected_events(spans, "observed", OBSERVED),
    ]
    collector = make_collector(config)

    with receiver.serving() as serving, collector.collecting() as collecting:
        send(spans, collector)
        events = wait_until_stored(receiver, serving, trace_id_of(spans), count=len(expected))
        collecting.wait_for(
            lambda: collector.metric("otelcol_exporter_sent_spans") >= len(expected),
            what="count of sent spans",
        )
        sent = collector.metric("otelcol_exporter_sent_spans")

    assert events == sorted(expected)
    assert sent == len(expected)
    assert receiver.verify() == 0


@pytest.mark.parametrize("config", [GRPC_CONFIG, HTTP_CONFIG])
def test_spans_wait_for_a_receiver_that_is_down(
    make_collector: MakeCollector, receiver: Receiver, config: str
) -> None:
    """Spans that were sent while the receiver was down are stored once, after it has started."""
    spans = spans_of_one_trace(DECLARED)
    collector = make_collector(config)

    with collector.collecting() as collecting:
        send(spans, collector)
        wait_until_delivery_failed(collecting)
        with receiver.serving() as serving:
            events = wait_until_stored(receiver, serving, trace_id_of(spans), count=len(DECLARED))

    assert events == sorted(expected_events(spans, "declared", DECLARED))
    assert receiver.verify() == 0


@pytest.mark.parametrize("end", [Process.kill, Process.stop], ids=["crash", "restart"])
def test_queue_outlives_the_collector(
    make_collector: MakeCollector, receiver: Receiver, end: Callable[[Process], None]
) -> None:
    """Spans that a Collector had accepted, and was sending when it ended, go out with the next."""
    spans = spans_of_one_trace(DECLARED)
    collector = make_collector(GRPC_CONFIG)

    with collector.collecting() as collecting:
        send(spans, collector)
        wait_until_delivery_failed(collecting)
        end(collecting)
    with receiver.serving() as serving, collector.collecting():
        events = wait_until_stored(receiver, serving, trace_id_of(spans), count=len(DECLARED))

    assert events == sorted(expected_events(spans, "declared", DECLARED))
    assert receiver.verify() == 0


def test_secrets_are_redacted_before_they_are_evidence(
    make_collector: MakeCollector, receiver: Receiver
) -> None:
    """A key that matches the redaction's pattern is stars in the stored inputs."""
    secret = {"intentproof.intent": "Refund", "intentproof.inputs": '{"key":"sk_live_0aB"}'}
    spans = spans_of_one_trace([secret])
    trace_id = trace_id_of(spans)
    collector = make_collector(GRPC_CONFIG)

    with receiver.serving() as serving, collector.collecting():
        send(spans, collector)
        wait_until_stored(receiver, serving, trace_id, count=1)
        rows = receiver.sql(f"SELECT inputs FROM events WHERE trace_id = '{trace_id}'")

    assert rows == [{"inputs": '{"key":"***"}'}]


def test_refused_key_is_counted_as_lost_evidence(
    make_collector: MakeCollector, receiver: Receiver
) -> None:
    """Spans sent with a key that is not valid are deleted, and the counter to watch shows it."""
    receiver.key_file.write_text("not-a-key")
    collector = make_collector(GRPC_CONFIG)

    with receiver.serving(), collector.collecting() as collecting:
        send(spans_of_one_trace(DECLARED), collector)
        collecting.wait_for(
            lambda: collector.metric("otelcol_exporter_send_failed_spans") > 0,
            what="count of lost spans",
        )
        lost = collector.metric("otelcol_exporter_send_failed_spans")

    assert lost == len(DECLARED)


def test_collector_does_not_start_without_a_key(
    make_collector: MakeCollector, receiver: Receiver
) -> None:
    """A missing key stops the Collector: started, it would have its spans refused and deleted."""
    receiver.key_file.unlink()
    collector = make_collector(GRPC_CONFIG)

    with (
        pytest.raises(AssertionError, match="ended before healthy Collector"),
        collector.collecting(),
    ):
        pass
