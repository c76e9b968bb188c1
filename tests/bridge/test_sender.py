"""The sender against real servers: what is sent, retried, dropped, and how long anything takes."""

import ipaddress
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from opentelemetry import context

from otel_bridge import Counters, OtlpExporter, OtlpSettings, QueueSettings
from otel_bridge.answers import Accepted, Answer, RetryLater
from tests.bridge.conftest import QUICK, Bridge, emit, emit_many, grpc_exporter, http_exporter
from tests.bridge.receivers import Received, Reply, grpc_receiver, http_receiver, spans_of

Serve = Callable[[Received], AbstractContextManager[str]]
Make = Callable[..., OtlpExporter]

BOTH = pytest.mark.parametrize(
    ("serve", "make"),
    [(grpc_receiver, grpc_exporter), (http_receiver, http_exporter)],
    ids=["grpc", "http"],
)
LOOPBACK = ipaddress.IPv4Address("127.0.0.1")
UNAVAILABLE, INVALID, EXHAUSTED, UNAUTHENTICATED = 14, 3, 8, 16


@BOTH
def test_events_arrive(serve: Serve, make: Make, bridge: Bridge) -> None:
    """An event crosses the wire with its stream and number, and a flush waits for it."""
    received = Received()
    with serve(received) as base:
        tracer, processor = bridge(make(base))
        emit(tracer)
        emit(tracer)
        assert processor.force_flush(5000)
        assert processor.counters == Counters(sent=2)
        processor.shutdown()
    assert received.sequences == [1, 2]
    assert {event.stream_id for event in received.events} == {processor.stream_id}


@BOTH
def test_events_arrive_without_a_flush(serve: Serve, make: Make, bridge: Bridge) -> None:
    """What waits is sent by itself after the schedule delay."""
    received = Received()
    with serve(received) as base:
        tracer, processor = bridge(make(base))
        emit(tracer)
        assert received.first.wait(5)
        processor.shutdown()
    assert received.sequences == [1]


@BOTH
def test_headers_and_compression(serve: Serve, make: Make, bridge: Bridge) -> None:
    """The key goes out as x-api-key, and gzip is understood by the other side."""
    received = Received()
    with serve(received) as base:
        exporter = make(base, INTENTPROOF_API_KEY="secret", OTEL_EXPORTER_OTLP_COMPRESSION="gzip")
        tracer, processor = bridge(exporter)
        emit(tracer, text="x" * 10_000)
        assert processor.force_flush(5000)
        processor.shutdown()
    assert received.headers[0]["x-api-key"] == "secret"
    assert received.sequences == [1]


@BOTH
def test_a_busy_receiver_is_asked_again(serve: Serve, make: Make, bridge: Bridge) -> None:
    """UNAVAILABLE and 503 are retried until the receiver takes the events, each of them once."""
    busy = Reply(UNAVAILABLE if serve is grpc_receiver else 503, "busy")
    received = Received(*[busy] * 8)  # more often than the SDK's exporters ever try
    with serve(received) as base:
        tracer, processor = bridge(make(base))
        emit(tracer)
        assert processor.force_flush(10_000)
        assert processor.counters == Counters(sent=1, retried=8)
        processor.shutdown()
    assert received.sequences == [1]


@pytest.mark.parametrize("own_trailer", [True, False])
def test_the_grpc_delay_is_honoured(own_trailer: bool, bridge: Bridge) -> None:  # noqa: FBT001
    """RetryInfo in either trailer is the delay, for RESOURCE_EXHAUSTED too."""
    busy = Reply(EXHAUSTED, "full", retry_after_s=0.4, own_trailer=own_trailer)
    received = Received(busy)
    with grpc_receiver(received) as base:
        tracer, processor = bridge(grpc_exporter(base))
        begun = time.monotonic()
        emit(tracer)
        assert processor.force_flush(5000)
        assert time.monotonic() - begun >= 0.4
        assert processor.counters.sent == 1
        processor.shutdown()


def test_the_http_delay_is_honoured(bridge: Bridge) -> None:
    """Retry-After is the delay, and a flush does not cut it short."""
    received = Received(Reply(429, "full", retry_after_s=1))
    with http_receiver(received) as base:
        tracer, processor = bridge(http_exporter(base))
        begun = time.monotonic()
        emit(tracer)
        assert processor.force_flush(5000)
        assert time.monotonic() - begun >= 1
        processor.shutdown()


@BOTH
def test_a_refusal_is_final(
    serve: Serve, make: Make, bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong key drops the events, counted by reason, and is logged once."""
    grpc_side = serve is grpc_receiver
    refusal = Reply(UNAUTHENTICATED if grpc_side else 401, "no such key")
    received = Received(refusal, refusal)
    with serve(received) as base:
        tracer, processor = bridge(make(base))
        for _ in range(2):
            emit(tracer)
            assert processor.force_flush(5000) is False
        reason = "grpc_UNAUTHENTICATED" if grpc_side else "http_401"
        assert processor.counters == Counters(dropped={reason: 2})
        processor.shutdown()
    told = [record.getMessage() for record in caplog.records if "no such key" in record.message]
    assert len(told) == 1


@BOTH
def test_partial_success_is_read(
    serve: Serve, make: Make, bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    """Spans that the receiver refused while taking the rest are counted and logged."""
    received = Received(Reply(rejected=1, message="1 span quarantined"))
    with serve(received) as base:
        tracer, processor = bridge(make(base, replace(QUICK, schedule_delay_ms=60_000)))
        for _ in range(3):
            emit(tracer)
        assert processor.force_flush(5000) is False
        assert processor.counters == Counters(sent=2, rejected=1)
        processor.shutdown()
    assert "1 span quarantined" in caplog.text


@BOTH
def test_one_bad_span_costs_itself_alone(serve: Serve, make: Make, bridge: Bridge) -> None:
    """A request refused as such is halved until the span that spoils it stands alone."""
    refusal = Reply(INVALID if serve is grpc_receiver else 400, "cannot be read")

    def accepts(spans: list[object]) -> Reply:
        return refusal if any(span.name == "bad" for span in spans) else Reply()  # type: ignore[attr-defined]

    received = Received(accepts=accepts)
    with serve(received) as base:
        tracer, processor = bridge(make(base, replace(QUICK, schedule_delay_ms=60_000)))
        for number in range(9):
            name = "bad" if number == 4 else "good"
            tracer.start_span(name, attributes={"intentproof.intent": "Return"}).end()
        assert processor.force_flush(5000) is False
        counters = processor.counters
        processor.shutdown()
    assert sorted(received.sequences) == [1, 2, 3, 4, 6, 7, 8, 9]
    assert (counters.sent, sum(counters.dropped.values())) == (8, 1)


@BOTH
def test_a_span_that_cannot_be_encoded_costs_itself_alone(
    serve: Serve, make: Make, bridge: Bridge
) -> None:
    """A start time that OTLP cannot carry is counted, and the others arrive."""
    received = Received()
    with serve(received) as base:
        tracer, processor = bridge(make(base, replace(QUICK, schedule_delay_ms=60_000)))
        emit(tracer)
        given = {"intentproof.intent": "Return"}
        tracer.start_span("old", attributes=given, start_time=-5).end()
        emit(tracer)
        assert processor.force_flush(5000) is False
        assert processor.counters == Counters(sent=2, dropped={"not_encodable": 1})
        processor.shutdown()
    assert received.sequences == [1, 3]


@BOTH
def test_a_full_queue_leaves_holes_in_the_numbers(serve: Serve, make: Make, bridge: Bridge) -> None:
    """The newest event is dropped when the queue is full, counted, and missed by its number."""
    go_on = threading.Event()
    received = Received(Reply(before=lambda: go_on.wait(5)))
    with serve(received) as base:
        queue = replace(QUICK, queue_size=4, batch_size=4)
        tracer, processor = bridge(make(base, queue))
        emit(tracer)
        assert received.first.wait(5)  # number 1 is under way, and holds a place
        for _ in range(5):
            emit(tracer)  # 2, 3, 4 find room, 5 and 6 do not
        assert processor.counters == Counters(dropped={"queue_full": 2}, queued=4)
        go_on.set()
        assert processor.force_flush(5000)
        emit(tracer)
        assert processor.force_flush(5000)
        processor.shutdown()
    assert received.sequences == [1, 2, 3, 4, 7]


def test_a_queue_is_bounded_in_bytes_too(bridge: Bridge, dead_endpoint: str) -> None:
    """Few but huge events cannot fill the program's memory."""
    exporter = http_exporter(dead_endpoint, replace(QUICK, queue_bytes=100_000))
    tracer, processor = bridge(exporter)
    for _ in range(5):
        emit(tracer, text="x" * 40_000)
    assert processor.counters.dropped == {"queue_full": 3}


def test_large_events_go_in_several_requests(bridge: Bridge) -> None:
    """A request stays below what receivers take; a span larger than that goes alone."""
    received = Received()
    with http_receiver(received) as base:
        queue = replace(QUICK, schedule_delay_ms=60_000, batch_bytes=50_000)
        tracer, processor = bridge(http_exporter(base, queue))
        for size in (20_000, 20_000, 20_000, 90_000, 10):
            emit(tracer, text="x" * size)
        assert processor.force_flush(5000)
        processor.shutdown()
    assert [len(spans_of(request)) for request in received.requests] == [2, 1, 1, 1]


@pytest.mark.parametrize("make", [grpc_exporter, http_exporter], ids=["grpc", "http"])
def test_a_dead_receiver_does_not_hold_up_a_flush(
    make: Make, bridge: Bridge, dead_endpoint: str
) -> None:
    """force_flush(1000) answers False within its time when nobody listens."""
    tracer, processor = bridge(make(dead_endpoint))
    emit(tracer)
    begun = time.monotonic()
    assert processor.force_flush(1000) is False
    assert time.monotonic() - begun < 1.5
    assert processor.counters.queued == 1


@pytest.mark.parametrize("make", [grpc_exporter, http_exporter], ids=["grpc", "http"])
def test_a_dead_receiver_does_not_hold_up_shutdown(
    make: Make, bridge: Bridge, dead_endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Shutdown keeps its limit, and says how many events it cost."""
    tracer, processor = bridge(make(dead_endpoint))
    emit(tracer)
    emit(tracer)
    begun = time.monotonic()
    processor.shutdown()
    assert time.monotonic() - begun < 1.0
    emit(tracer)
    counters = processor.counters
    assert (counters.dropped, counters.queued) == ({"shutdown": 3}, 0)
    assert "2 events not sent" in caplog.text
    processor.shutdown()


@BOTH
def test_a_silent_receiver_does_not_hold_up_shutdown(
    serve: Serve, make: Make, bridge: Bridge
) -> None:
    """Neither does one that takes the request and never answers."""
    go_on = threading.Event()
    received = Received(Reply(before=lambda: go_on.wait(5)))
    with serve(received) as base:
        tracer, processor = bridge(make(base))
        emit(tracer)
        assert received.first.wait(5)
        begun = time.monotonic()
        assert processor.force_flush(100) is False
        processor.shutdown()
        assert time.monotonic() - begun < 1.0
        go_on.set()


def test_shutdown_sends_what_is_left(bridge: Bridge) -> None:
    """A program that ends in order loses nothing."""
    received = Received()
    with grpc_receiver(received) as base:
        queue = replace(QUICK, schedule_delay_ms=60_000, shutdown_timeout_ms=5000)
        tracer, processor = bridge(grpc_exporter(base, queue))
        for _ in range(10):
            emit(tracer)
        processor.shutdown()
        assert processor.counters == Counters(sent=10)
    assert received.sequences == list(range(1, 11))


def test_a_receiver_that_comes_back_gets_everything(bridge: Bridge, dead_endpoint: str) -> None:
    """Events wait out an outage in the queue, however often they were tried."""

    class Flaky:
        """Refuses the connection ten times, then takes everything."""

        def __init__(self, settings: OtlpSettings) -> None:
            self.left = 10

        def send(self, body: bytes) -> Answer:
            self.left -= 1
            return RetryLater("connection") if self.left >= 0 else accepted

        def close(self) -> None:
            pass

    accepted = Accepted()
    exporter = OtlpExporter(OtlpSettings(endpoint=dead_endpoint), queue=QUICK, transport=Flaky)
    tracer, processor = bridge(exporter)
    emit(tracer)
    assert processor.force_flush(5000)
    assert processor.counters == Counters(sent=1, retried=10)


def test_a_fault_of_a_transport_does_not_stop_the_sender(
    bridge: Bridge, dead_endpoint: str
) -> None:
    """What a transport raises is counted, costs its batch, and the thread goes on."""

    class Faulty:
        def __init__(self, settings: OtlpSettings) -> None:
            pass

        def send(self, body: bytes) -> Answer:
            raise RuntimeError("a bug")

        def close(self) -> None:
            pass

    exporter = OtlpExporter(OtlpSettings(endpoint=dead_endpoint), queue=QUICK, transport=Faulty)
    tracer, processor = bridge(exporter)
    for _ in range(2):
        emit(tracer)
        assert processor.force_flush(5000) is False
    assert processor.counters == Counters(dropped={"error": 2}, errors=2)


def test_an_event_that_will_be_quarantined_is_told(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    """The developer hears of a blank intent; the span is sent all the same."""
    received = Received()
    with grpc_receiver(received) as base:
        tracer, processor = bridge(grpc_exporter(base))
        emit(tracer, intent=" ")
        assert processor.force_flush(5000)
        assert processor.counters == Counters(sent=1, quarantinable=1)
        processor.shutdown()
    assert len(received.spans) == 1
    assert "must not be blank" in caplog.text


def test_many_threads_lose_nothing(bridge: Bridge) -> None:
    """Every number arrives exactly once when many threads end spans at once."""
    received = Received()
    with grpc_receiver(received) as base:
        tracer, processor = bridge(grpc_exporter(base, replace(QUICK, batch_size=16)))
        threads = [threading.Thread(target=emit_many, args=(tracer, 50)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert processor.force_flush(10_000)
        processor.shutdown()
    assert sorted(received.sequences) == list(range(1, 401))


def test_a_flush_waits_only_for_what_was_there(bridge: Bridge) -> None:
    """Nothing queued is nothing to wait for."""
    exporter = OtlpExporter(OtlpSettings(), queue=QueueSettings())
    _, processor = bridge(exporter)
    assert processor.force_flush(0)


def test_no_thread_is_no_surprise(
    bridge: Bridge, dead_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no thread can start any more the event is counted as dropped."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    tracer, processor = bridge(http_exporter(dead_endpoint))
    monkeypatch.setattr(threading.Thread, "start", refuse)
    emit(tracer)
    assert processor.counters == Counters(dropped={"no_thread": 1}, errors=1)


def test_redirects_are_not_followed(bridge: Bridge) -> None:
    """A redirect would turn the POST into a GET, so it is a refusal."""
    received = Received(Reply(302))
    with http_receiver(received) as base:
        tracer, processor = bridge(http_exporter(base))
        emit(tracer)
        assert processor.force_flush(5000) is False
        assert processor.counters.dropped == {"http_302": 1}
        processor.shutdown()


def test_the_sender_does_not_trace_itself(bridge: Bridge) -> None:
    """Instrumented network libraries are told to be quiet on the sender's thread."""
    seen: list[object] = []

    class Looking:
        def __init__(self, settings: OtlpSettings) -> None:
            pass

        def send(self, body: bytes) -> Answer:
            seen.append(context.get_value("suppress_instrumentation"))
            seen.append(context.get_value(context._SUPPRESS_INSTRUMENTATION_KEY))
            return Accepted()

        def close(self) -> None:
            pass

    exporter = OtlpExporter(OtlpSettings(), queue=QUICK, transport=Looking)
    tracer, processor = bridge(exporter)
    emit(tracer)
    assert processor.force_flush(5000)
    assert seen == [True, True]


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A key and a certificate for 127.0.0.1 that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(LOOPBACK)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    key_path, certificate_path = tmp_path / "key.pem", tmp_path / "certificate.pem"
    key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    certificate_path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return key_path, certificate_path


@BOTH
def test_tls_trusts_the_certificate_that_is_named(
    serve: Callable[..., AbstractContextManager[str]],
    make: Make,
    bridge: Bridge,
    certificate: tuple[Path, Path],
) -> None:
    """Over https the receiver is checked against OTEL_EXPORTER_OTLP_CERTIFICATE."""
    received = Received()
    with serve(received, tls=certificate) as base:
        exporter = make(base, OTEL_EXPORTER_OTLP_CERTIFICATE=certificate[1])
        tracer, processor = bridge(exporter)
        emit(tracer)
        assert processor.force_flush(5000)
        distrustful, other = bridge(make(base))
        emit(distrustful)
        assert other.force_flush(500) is False
        processor.shutdown()
        other.shutdown()
    assert received.sequences == [1]


@BOTH
def test_a_success_that_cannot_be_read_is_a_success(
    serve: Serve, make: Make, bridge: Bridge
) -> None:
    """The status decides; events are not sent twice for a broken body."""
    received = Received(Reply(raw=b"\xff\xff"), Reply(raw=b"OK", content_type="text/plain"))
    if serve is grpc_receiver:
        received.replies.pop()
    with serve(received) as base:
        tracer, processor = bridge(make(base))
        for number in (1, 2):
            emit(tracer)
            assert processor.force_flush(5000)
            assert processor.counters == Counters(sent=number)
        processor.shutdown()
    assert received.sequences == [1, 2]


@BOTH
def test_a_warning_is_told(
    serve: Serve, make: Make, bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    """A receiver that took everything may still have something to say."""
    received = Received(Reply(message="your clock is wrong"))
    with serve(received) as base:
        tracer, processor = bridge(make(base))
        emit(tracer)
        assert processor.force_flush(5000)
        assert processor.counters == Counters(sent=1)
        processor.shutdown()
    assert "your clock is wrong" in caplog.text


@pytest.mark.parametrize(
    ("raw", "content_type", "told"),
    [(b"<h1>gone</h1>", "text/html", "gone"), (b"\xff", "application/x-protobuf", "http_404")],
)
def test_a_refusal_may_say_anything(
    raw: bytes,
    content_type: str,
    told: str,
    bridge: Bridge,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What stands between us and the receiver need not speak OTLP."""
    received = Received(Reply(404, raw=raw, content_type=content_type))
    with http_receiver(received) as base:
        tracer, processor = bridge(http_exporter(base))
        emit(tracer)
        assert processor.force_flush(5000) is False
        assert processor.counters.dropped == {"http_404": 1}
        processor.shutdown()
    assert told in caplog.text
