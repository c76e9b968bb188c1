"""A plain OpenTelemetry application before a Collector, and what the receiver makes of it."""

from collections.abc import Mapping, Sequence

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext

from tests.collector.processes import TENANT, Collector, Process, Receiver

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


def export(
    spans: Sequence[ReadableSpan],
    collector: Collector,
    *,
    api_key: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
    timeout_seconds: float = 10,
) -> bool:
    """Export as an application does; whether the Collector said that it has them."""
    exporter = OTLPSpanExporter(
        endpoint=str(collector.grpc),
        insecure=True,
        headers=[("x-api-key", api_key)] if api_key else headers,
        timeout=timeout_seconds,
    )
    try:
        return exporter.export(spans) is SpanExportResult.SUCCESS
    finally:
        exporter.shutdown()


def send(
    spans: Sequence[ReadableSpan], collector: Collector, *, api_key: str | None = None
) -> None:
    """Export as an application does, and insist that the Collector accepts."""
    assert export(spans, collector, api_key=api_key)


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


def stored_events(receiver: Receiver, trace_id: str, tenant: str = TENANT) -> list[tuple[str, str]]:
    """Span id and provenance of every stored event of the trace, sorted."""
    query = f"SELECT span_id, provenance FROM events WHERE trace_id = '{trace_id}'"
    return sorted((row["span_id"], row["provenance"]) for row in receiver.sql(query, tenant))


def wait_until_stored(
    receiver: Receiver, serving: Process, trace_id: str, *, count: int, tenant: str = TENANT
) -> list[tuple[str, str]]:
    """The trace's events, sorted, as soon as there are at least so many."""
    serving.wait_for(
        lambda: len(stored_events(receiver, trace_id, tenant)) >= count,
        what=f"{count} events of trace {trace_id}",
        within_s=90,
    )
    return stored_events(receiver, trace_id, tenant)


def wait_until_delivery_failed(collecting: Process) -> None:
    """Return once the Collector has tried, failed, and decided to try again."""
    collecting.wait_for(
        lambda: "Will retry the request" in collecting.log.read_text(), what="failed delivery"
    )
