"""Acknowledged and resent meet: cut connections, and many exporters that send the same."""

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
    OTLPSpanExporter as GrpcSpanExporter,
)
from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
    OTLPSpanExporter as HttpSpanExporter,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.collector.processes import Address
from tests.faults.conftest import MakeSite
from tests.faults.cutting_proxy import CUTS, CuttingProxy, FindAnswers, grpc_answers, http_answers
from tests.faults.site import Site, until

pytestmark = [pytest.mark.collector, pytest.mark.fault, pytest.mark.timeout(1500)]

# Small batches and short waits: a connection is to carry many requests before the test ends.
OFTEN = {
    "retry_on_failure": {"initial_interval": "100ms", "max_interval": "1s"},
    "sending_queue": {"batch": {"flush_timeout": "200ms", "min_size": 50_000}},
}
BATCHES, SPANS_A_BATCH, TIMES = 240, 50, 3

MakeProxy = Callable[[Address], CuttingProxy]


@pytest.mark.parametrize(
    ("transport", "finder"), [("grpc", grpc_answers), ("http", http_answers)], ids=["grpc", "http"]
)
def test_network_cuts_connections(
    make_site: MakeSite, seconds: float, transport: str, finder: Callable[[], FindAnswers]
) -> None:
    """What is sent again because its answer was cut off is recognised, and stored once."""
    between = Address()
    site = make_site(transport, exporter=OFTEN, through=between)
    behind = site.receiver.grpc if transport == "grpc" else site.receiver.http
    proxy = CuttingProxy(between, behind, finder=finder)
    with (
        site.receiver.serving(),
        proxy.forwarding(),
        site.collector.collecting(),
        site.load(spans_a_second=1000) as load,
    ):
        load.send_for(seconds)
        load.finish()
        until(lambda: min(proxy.cuts[cut] for cut in CUTS) >= 2, "cuts of each kind")
        proxy.cutting = False
        site.wait_until_delivered(load.span_ids)
        assert site.receiver.duplicates() > 0
        assert site.receiver.requests("invalid") == 0  # half a request is no reason to refuse it
    site.check(load.span_ids)


def test_ten_exporters_send_the_same_in_another_order(make_site: MakeSite) -> None:
    """Batches that several exporters send, at once and in any order, are stored once."""
    site = make_site()
    batches = [ended_spans() for _ in range(BATCHES)]
    with site.receiver.serving(), site.collector.collecting(), ThreadPoolExecutor(10) as pool:
        exporters = ten_exporters(site)
        start = threading.Barrier(len(exporters))
        runs = [
            pool.submit(export_all, exporter, orders, start)
            for exporter, orders in zip(exporters, shares_of(batches), strict=True)
        ]
        for run in runs:
            run.result()
        span_ids = {span_id_of(span) for batch in batches for span in batch}
        site.wait_until_delivered(span_ids)
        until(lambda: site.receiver.duplicates() == len(span_ids) * (TIMES - 1), "every resend")
    site.check(span_ids)


def ended_spans() -> Sequence[ReadableSpan]:
    """A batch of the plain SDK."""
    ended = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ended))
    tracer = provider.get_tracer("refunds")
    for number in range(SPANS_A_BATCH):
        attributes = {"intentproof.intent": "Refund a charge", "intentproof.inputs": f"[{number}]"}
        tracer.start_span("refund", attributes=attributes).end()
    provider.shutdown()
    return ended.get_finished_spans()


def span_id_of(span: ReadableSpan) -> str:
    context = span.get_span_context()
    assert context is not None
    return f"{context.span_id:016x}"


def ten_exporters(site: Site) -> list[SpanExporter]:
    """Each transport, to the receiver with a key, and to the Collector, which has its own."""
    headers = {"x-api-key": site.receiver.key_file.read_text().strip()}
    receiver, collector = site.receiver, site.collector
    direct: list[SpanExporter] = [
        GrpcSpanExporter(endpoint=str(receiver.grpc), insecure=True, headers=headers),
        HttpSpanExporter(endpoint=f"{receiver.http.url}/v1/traces", headers=headers),
    ]
    through: list[SpanExporter] = [
        GrpcSpanExporter(endpoint=str(collector.grpc), insecure=True),
        HttpSpanExporter(endpoint=f"{collector.http.url}/v1/traces"),
    ]
    return [*direct * 3, *through * 2]


def shares_of(batches: list[Sequence[ReadableSpan]]) -> list[list[Sequence[ReadableSpan]]]:
    """What each of ten exporters sends: each batch falls to several of them.

    Two neighbours have the same order, so that they send the same at the same time.
    """
    luck = random.Random(7)
    shares: list[list[Sequence[ReadableSpan]]] = [[] for _ in range(10)]
    for batch in luck.sample(batches, len(batches)):
        first = luck.randrange(5) * 2
        other = luck.choice([at for at in range(10) if at // 2 != first // 2])
        for at in (first, first + 1, other):
            shares[at].append(batch)
    return shares


def export_all(
    exporter: SpanExporter, batches: list[Sequence[ReadableSpan]], start: threading.Barrier
) -> None:
    """Export everything, once all exporters are ready."""
    start.wait(60)
    for batch in batches:
        assert exporter.export(batch) is SpanExportResult.SUCCESS
