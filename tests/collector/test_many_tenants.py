"""One Collector before many tenants: the application's own key decides, and nothing else."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
    OTLPSpanExporter as HttpSpanExporter,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from tests.collector.application import (
    DECLARED,
    expected_events,
    export,
    send,
    spans_of_one_trace,
    stored_events,
    trace_id_of,
    wait_until_delivery_failed,
    wait_until_stored,
)
from tests.collector.examples import EXAMPLES, Example
from tests.collector.processes import Collector, Process, Receiver

DURABLE = EXAMPLES["many tenants"]
IN_MEMORY = EXAMPLES["many tenants, in memory"]
TENANTS = ("acme", "globex")

MakeExample = Callable[..., Collector]

pytestmark = [
    pytest.mark.collector,
    pytest.mark.long,
    pytest.mark.timeout(900),  # the first test may have to build the Collector
]


def wait_until_lost(collector: Collector, collecting: Process, count: int) -> None:
    """Return once the Collector has counted so many spans that it deleted."""
    collecting.wait_for(
        lambda: collector.metric("otelcol_exporter_send_failed_spans") >= count,
        what=f"{count} lost spans",
    )


def expected(spans: list[ReadableSpan]) -> list[tuple[str, str]]:
    return sorted(expected_events(spans, "declared", DECLARED))


def test_spans_of_one_batch_window_go_to_their_own_tenants(
    example_collector: MakeExample, receiver: Receiver
) -> None:
    """Spans of two tenants that wait in one queue are each in their tenant's log alone."""
    keys = {tenant: receiver.key_of(tenant) for tenant in TENANTS}
    sent = {tenant: spans_of_one_trace(DECLARED) for tenant in TENANTS}
    more = {tenant: spans_of_one_trace(DECLARED) for tenant in TENANTS}
    collector = example_collector(DURABLE)

    with collector.collecting():
        for spans in (sent, more):  # all wait together: nobody takes them yet
            for tenant in TENANTS:
                send(spans[tenant], collector, api_key=keys[tenant])
        with receiver.serving() as serving:
            for tenant in TENANTS:
                for trace in (sent[tenant], more[tenant]):
                    at = trace_id_of(trace)
                    stored = wait_until_stored(receiver, serving, at, count=2, tenant=tenant)
                    assert stored == expected(trace)
            strangers = [
                stored_events(receiver, trace_id_of(sent[mine]), tenant=other)
                for mine, other in (TENANTS, TENANTS[::-1])
            ]

    assert strangers == [[], []]
    assert receiver.verify() == 0


def test_in_memory_each_application_gets_its_own_answer(
    example_collector: MakeExample, receiver: Receiver
) -> None:
    """Beside a tenant that is stored, an application without a key is told that it is not."""
    key = receiver.key_of("globex")
    good, keyless, wrong = (spans_of_one_trace(DECLARED) for _ in range(3))
    collector = example_collector(IN_MEMORY)

    with receiver.serving(), collector.collecting(), ThreadPoolExecutor(3) as applications:
        given = ((good, key), (keyless, None), (wrong, "not-a-key"))
        answers = applications.map(lambda one: export(one[0], collector, api_key=one[1]), given)
        assert list(answers) == [True, False, False]
        events = stored_events(receiver, trace_id_of(good), tenant="globex")

    assert events == expected(good)
    assert not collector.queue.exists()


def test_application_without_a_key_stores_nothing(
    example_collector: MakeExample, receiver: Receiver
) -> None:
    """With a queue on disk it is told success; then its spans are deleted, which is counted."""
    keyless, good = spans_of_one_trace(DECLARED), spans_of_one_trace(DECLARED)
    collector = example_collector(DURABLE)

    with receiver.serving() as serving, collector.collecting() as collecting:
        send(keyless, collector)
        send(good, collector, api_key=receiver.key_of("globex"))
        wait_until_lost(collector, collecting, len(DECLARED))
        wait_until_stored(
            receiver, serving, trace_id_of(good), count=len(DECLARED), tenant="globex"
        )
        rows = receiver.sql("SELECT count(*) AS n FROM events", tenant="globex")
        lost = collector.metric("otelcol_exporter_send_failed_spans")

    assert rows == [{"n": len(DECLARED)}]
    assert lost == len(DECLARED)


def test_bearer_token_is_forwarded_too(example_collector: MakeExample, receiver: Receiver) -> None:
    """An application may send its key as `authorization: Bearer` instead of `x-api-key`."""
    spans = spans_of_one_trace(DECLARED)
    headers = [("authorization", f"Bearer {receiver.key_of('globex')}")]
    collector = example_collector(DURABLE)

    with receiver.serving() as serving, collector.collecting():
        assert export(spans, collector, headers=headers)
        events = wait_until_stored(
            receiver, serving, trace_id_of(spans), count=len(DECLARED), tenant="globex"
        )

    assert events == expected(spans)


def test_key_is_forwarded_from_http_too(example_collector: MakeExample, receiver: Receiver) -> None:
    """An application that sends over OTLP/HTTP is its own tenant as well."""
    spans = spans_of_one_trace(DECLARED)
    headers = {"x-api-key": receiver.key_of("globex")}
    collector = example_collector(DURABLE)
    exporter = HttpSpanExporter(f"{collector.http.url}/v1/traces", headers=headers)

    with receiver.serving() as serving, collector.collecting():
        assert exporter.export(spans) is SpanExportResult.SUCCESS
        exporter.shutdown()  # type: ignore[no-untyped-call]
        events = wait_until_stored(
            receiver, serving, trace_id_of(spans), count=len(DECLARED), tenant="globex"
        )

    assert events == expected(spans)


def test_key_sent_twice_is_lost(example_collector: MakeExample, receiver: Receiver) -> None:
    """Spans with two `x-api-key` headers are deleted and counted, whatever the keys are."""
    key = receiver.key_of("globex")
    collector = example_collector(DURABLE)

    with receiver.serving(), collector.collecting() as collecting:
        twice = (("x-api-key", key), ("x-api-key", key))
        assert export(spans_of_one_trace(DECLARED), collector, headers=twice)
        wait_until_lost(collector, collecting, len(DECLARED))


@pytest.mark.parametrize("example", [DURABLE, IN_MEMORY], ids=lambda example: example.name)
def test_keys_are_on_disk_where_the_queue_is(
    example_collector: MakeExample, receiver: Receiver, example: Example
) -> None:
    """A durable queue holds the forwarded keys in clear; in memory nothing is written."""
    key = receiver.key_of("globex")
    collector = example_collector(example)

    with collector.collecting() as collecting:
        accepted = export(spans_of_one_trace(DECLARED), collector, api_key=key, timeout_seconds=3)
        wait_until_delivery_failed(collecting)
        queue = [path for path in collector.queue.rglob("*") if path.is_file()]
        found = any(key.encode() in path.read_bytes() for path in queue)

    assert (accepted, found) == (example is DURABLE, example is DURABLE)
