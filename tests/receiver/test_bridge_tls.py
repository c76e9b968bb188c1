"""The bridge over TLS to the real service, set up by OpenTelemetry's own variables."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import trustme
from intentproof_receiver.key_commands import create_key
from opentelemetry.sdk.trace import TracerProvider

from otel_bridge import (
    Counters,
    IntentProofSpanProcessor,
    OtlpExporter,
    OtlpSettings,
    QueueSettings,
    intent_span,
)
from tests.receiver.test_serve import Process, process
from tests.receiver.tls_support import PORTS, Pki, chain, put, until

QUICK = QueueSettings(
    schedule_delay_ms=10, retry_delay_ms_min=10, retry_delay_ms_max=50, shutdown_timeout_ms=300
)


@dataclass
class Receiver:
    """A receiver with mutual TLS, and what a program needs to reach it."""

    pki: Pki
    running: Process
    key: str

    def environ(self, port: str, client: trustme.LeafCert | None) -> dict[str, str]:
        folder = self.pki.folder
        found = {
            "INTENTPROOF_API_KEY": self.key,
            "INTENTPROOF_ENDPOINT": "https://"
            + (self.running.grpc if port == "grpc" else self.running.http),
            "INTENTPROOF_PROTOCOL": "grpc" if port == "grpc" else "http/protobuf",
        }
        files = {"CERTIFICATE": self.pki.server_ca.cert_pem.bytes()}
        if client is not None:
            files["CLIENT_CERTIFICATE"] = chain(client)
            files["CLIENT_KEY"] = client.private_key_pem.bytes()
        for name, content in files.items():
            found[f"OTEL_EXPORTER_OTLP_{name}"] = str(put(folder / f"{port}-{name}", content))
        return found


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    folder = tmp_path_factory.mktemp("bridge")
    pki = Pki(folder)
    key = create_key(folder / "home", tenant="acme")[1]
    with process(folder, *pki.flags(mutual=True)) as running:
        yield Receiver(pki, running, key)


@pytest.fixture
def start() -> Iterator[Any]:
    """Starts a program with the bridge in it: one event, and its processor."""
    providers: list[TracerProvider] = []

    def run(environ: dict[str, str]) -> IntentProofSpanProcessor:
        exporter = OtlpExporter(OtlpSettings.from_environment(environ), queue=QUICK)
        processor = IntentProofSpanProcessor(exporter=exporter)
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(processor)
        providers.append(provider)
        with intent_span("Try", action="try.it", tracer=provider.get_tracer("t")):
            pass
        return processor

    yield run
    for provider in providers:
        provider.shutdown()


@pytest.mark.parametrize("port", PORTS)
def test_the_bridge_over_mutual_tls(receiver: Receiver, start: Any, port: str) -> None:
    """A private CA, a client certificate and its key come from the standard variables."""
    processor = start(receiver.environ(port, receiver.pki.client()))
    assert processor.force_flush(20_000)
    assert processor.counters == Counters(sent=1)


@pytest.mark.parametrize("port", PORTS)
def test_the_bridge_keeps_what_a_handshake_refuses(
    receiver: Receiver, start: Any, port: str
) -> None:
    """Without a client certificate nothing is sent and nothing dropped: it is tried again."""
    processor = start(receiver.environ(port, None))
    until(lambda: processor.counters.retried > 1)
    assert processor.counters.sent == 0
    assert not processor.counters.dropped
