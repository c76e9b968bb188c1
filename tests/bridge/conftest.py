"""What the bridge's tests share: providers that are shut down, and spans that end at once."""

import socket
from collections.abc import Callable, Iterator

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import Tracer

from otel_bridge import (
    Exporter,
    InMemoryExporter,
    IntentProofSpanProcessor,
    OtlpExporter,
    OtlpSettings,
    QueueSettings,
)

MakeTracer = Callable[..., Tracer]
Bridge = Callable[..., tuple[Tracer, IntentProofSpanProcessor]]

QUICK = QueueSettings(
    schedule_delay_ms=10, retry_delay_ms_min=10, retry_delay_ms_max=50, shutdown_timeout_ms=300
)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on what the machine exports, or on its proxies."""
    for name in ("ENDPOINT", "PROTOCOL", "HEADERS", "TRACES_ENDPOINT"):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{name}", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    """Makes a real provider with the bridge on it; gives a tracer and the processor."""
    providers: list[TracerProvider] = []

    def make(
        exporter: Exporter, *, sampler: Sampler | None = None
    ) -> tuple[Tracer, IntentProofSpanProcessor]:
        resource = Resource({"service.name": "refunds", "host.name": "left-out"})
        provider = TracerProvider(sampler=sampler, resource=resource, shutdown_on_exit=False)
        processor = IntentProofSpanProcessor(exporter=exporter)
        provider.add_span_processor(processor)
        providers.append(provider)
        return provider.get_tracer("tests", "1.0"), processor

    yield make
    for provider in providers:
        provider.shutdown()


@pytest.fixture
def memory() -> InMemoryExporter:
    return InMemoryExporter()


@pytest.fixture
def tracer(bridge: Bridge, memory: InMemoryExporter) -> Tracer:
    """A tracer whose events are in `memory` as soon as their span has ended."""
    return bridge(memory)[0]


@pytest.fixture
def dead_endpoint() -> str:
    """An endpoint where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def http_exporter(base: str, queue: QueueSettings = QUICK, **settings: object) -> OtlpExporter:
    environ = {"INTENTPROOF_PROTOCOL": "http/protobuf", "INTENTPROOF_ENDPOINT": base}
    environ |= {name: str(value) for name, value in settings.items()}
    return OtlpExporter(OtlpSettings.from_environment(environ), queue=queue)


def grpc_exporter(base: str, queue: QueueSettings = QUICK, **settings: object) -> OtlpExporter:
    environ = {"INTENTPROOF_PROTOCOL": "grpc", "INTENTPROOF_ENDPOINT": base}
    environ |= {name: str(value) for name, value in settings.items()}
    return OtlpExporter(OtlpSettings.from_environment(environ), queue=queue)


def emit(tracer: Tracer, intent: str = "Return captured funds", **attributes: object) -> None:
    """One intent span, begun and ended."""
    given = {name.replace("__", "."): value for name, value in attributes.items()}
    tracer.start_span("refund", attributes={"intentproof.intent": intent, **given}).end()  # type: ignore[dict-item]


def emit_many(tracer: Tracer, number: int) -> None:
    """As many intent spans, one after another."""
    for _ in range(number):
        emit(tracer)
