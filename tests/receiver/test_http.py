"""OTLP over HTTP and the other paths, against a real server."""

import asyncio
import gzip
import json
import socket
import threading
import zlib
from typing import Any

import cramjam
import pytest
import zstandard
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status
from intentproof_receiver.errors import Forbidden
from intentproof_receiver.http_server import make_app
from intentproof_receiver.key_commands import create_key
from intentproof_receiver.quotas import Quota, Quotas
from intentproof_store import StoreBusy, StoreUnavailable
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.receiver.serving import until
from tests.receiver.support import (
    JSON,
    MESSAGE_BYTES_MAX,
    PROTOBUF,
    Service,
    attribute_bytes,
    field_bytes,
    json_request,
    json_span,
    request_bytes,
    running_service,
    span_message,
)

BODY = request_bytes(span_message())
BAD_SPAN = span_message(2).SerializeToString() + attribute_bytes(b"k", field_bytes(1, b"\xff"))
ENVELOPE = {"code", "message", "details", "correlation_id"}


def test_protobuf(service: Service) -> None:
    """Full success over protobuf is a 200 with an empty body and the bare media type."""
    status, headers, body = service.call(
        BODY, headers={"content-type": f"{PROTOBUF}; charset=utf-8"}
    )
    assert (status, headers["content-type"], body) == (200, PROTOBUF, b"")
    assert service.ledger.events[0][0] == "acme"


def test_json(service: Service) -> None:
    """Full success over JSON is a 200 with an empty object."""
    status, headers, body = service.call(
        json_request(json_span()), headers={"content-type": "Application/JSON; charset=utf-8"}
    )
    assert (status, headers["content-type"], body) == (200, JSON, b"{}")
    assert len(service.ledger.events) == 1


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_partial_success(service: Service, media_type: str) -> None:
    """Rejected spans are counted in the request's encoding, and the others are kept."""
    bad = [json_span(number, kind="SPAN_KIND_CLIENT") for number in (2, 3)]
    body = (
        json_request(json_span(1), *bad)
        if media_type == JSON
        else request_bytes(span_message(1), BAD_SPAN, BAD_SPAN)
    )
    status, headers, answer = service.call(body, headers={"content-type": media_type})
    assert (status, headers["content-type"]) == (200, media_type)
    if media_type == JSON:
        partial = json.loads(answer)["partialSuccess"]
        assert partial["rejectedSpans"] == "2"
        assert "malformed" in partial["errorMessage"]
    else:
        assert ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans == 2
    assert len(answer) < 4096
    assert (len(service.ledger.events), len(service.ledger.undecodable)) == (1, 2)


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_an_empty_request_succeeds(service: Service, media_type: str) -> None:
    """A request without spans is a success that does not touch the ledger."""
    body = b"{}" if media_type == JSON else b""
    assert service.call(body, headers={"content-type": media_type})[0] == 200
    assert service.ledger.calls == 0


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("identity", BODY),
        ("gzip", gzip.compress(BODY, mtime=0)),
        ("gzip", gzip.compress(BODY[:20], mtime=0) + gzip.compress(BODY[20:], mtime=0)),
        ("GZIP", gzip.compress(BODY, mtime=0)),
        ("deflate", zlib.compress(BODY)),
        ("deflate", raw_deflate(BODY)),
        ("gzip", gzip.compress(b"", mtime=0) * 9_000 + gzip.compress(BODY, mtime=0)),
        ("zstd", zstandard.compress(BODY)),
        ("zstd", zstandard.compress(BODY[:20]) + zstandard.compress(BODY[20:])),
        ("snappy", bytes(cramjam.snappy.compress_raw(BODY))),
        ("snappy", bytes(cramjam.snappy.compress(BODY))),
        ("x-snappy-framed", bytes(cramjam.snappy.compress(BODY))),
    ],
)
def test_compression(service: Service, encoding: str, packed: bytes) -> None:
    """Every encoding that a Collector or SDK commonly sends is taken."""
    assert service.call(packed, headers={"content-encoding": encoding})[0] == 200
    assert len(service.ledger.events) == 1


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(BODY, mtime=0)[:-9]),
        ("deflate", zlib.compress(BODY)[:-6]),
        ("zstd", zstandard.compress(BODY)[:-4]),
        ("gzip", b"not gzip"),
        ("zstd", b"not zstd"),
        ("snappy", bytes(cramjam.snappy.compress_raw(BODY))[:-4]),
        ("snappy", b"not snappy"),
        ("x-snappy-framed", bytes(cramjam.snappy.compress(BODY))[:-4]),
        ("x-snappy-framed", bytes(cramjam.snappy.compress_raw(BODY))),
        ("deflate", b"\x78\x9c not zlib"),
        ("deflate", zlib.compress(BODY) + b"more"),
        ("identity", b"\x0a\xff"),
        ("identity", b"\xff" * 40),
    ],
)
def test_damaged_bodies(service: Service, encoding: str, packed: bytes) -> None:
    """A body that is cut short or garbage answers 400 with a Status that names the field."""
    status, headers, answer = service.call(packed, headers={"content-encoding": encoding})
    assert (status, headers["content-type"]) == (400, PROTOBUF)
    told = Status.FromString(answer)
    detail = BadRequest()
    assert told.code == 3
    assert told.details[0].Unpack(detail)
    assert detail.field_violations[0].field == "body"
    assert service.ledger.calls == 0


def test_damaged_json(service: Service) -> None:
    """A JSON body that cannot be read answers 400 with a Status in JSON that names the field."""
    status, headers, answer = service.call(b'{"resourceSpans":5}', headers={"content-type": JSON})
    assert (status, headers["content-type"]) == (400, JSON)
    told = json.loads(answer)
    (detail,) = told["details"]
    assert told["code"] == 3
    assert detail["@type"] == "type.googleapis.com/google.rpc.BadRequest"
    (violation,) = detail["fieldViolations"]
    assert violation["field"] == "body"
    assert "resourceSpans" in violation["description"]


BOMB = bytes(64 * MESSAGE_BYTES_MAX)


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(BOMB, mtime=0)),
        ("deflate", zlib.compress(BOMB)),
        ("zstd", zstandard.compress(BOMB)),
        ("snappy", bytes(cramjam.snappy.compress_raw(BOMB[: 2 * MESSAGE_BYTES_MAX]))),
        ("x-snappy-framed", bytes(cramjam.snappy.compress(BOMB[: 4 * MESSAGE_BYTES_MAX]))),
        ("identity", BOMB[: MESSAGE_BYTES_MAX + 1]),
        ("gzip", gzip.compress(b"", mtime=0) * 12_000),
        ("zstd", zstandard.compress(b"") * 12_000),
        ("x-snappy-framed", b"\xff\x06\x00\x00sNaPpY" + b"\xfe\x00\x00\x00" * 12_000),
    ],
)
def test_bombs(service: Service, encoding: str, packed: bytes) -> None:
    """The limit counts bytes after decompression; beyond it the answer is 413, for good."""
    status, headers, answer = service.call(packed, headers={"content-encoding": encoding})
    assert (status, "retry-after" in headers) == (413, False)
    assert Status.FromString(answer).code == 8


def test_a_slash_behind_the_path(service: Service) -> None:
    """A path with a slash behind it is the same path: a 404 would cost the client its data."""
    assert service.call(BODY, path="/v1/traces/")[0] == 200
    assert service.call(method="PUT", path="/v1/traces/")[0] == 405
    assert len(service.ledger.events) == 1


def test_chunked(service: Service) -> None:
    """A body without a Content-Length is taken too."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in (BODY[:9], BODY[9:]))
    head = (
        f"POST /v1/traces HTTP/1.1\r\nhost: x\r\nx-api-key: {service.key}\r\nconnection: close"
        f"\r\ncontent-type: {PROTOBUF}\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.http_port), timeout=20) as connection:
        connection.sendall(head.encode() + chunks + b"0\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    assert len(service.ledger.events) == 1


@pytest.mark.parametrize("headers", [{"content-encoding": "lz4"}, {"content-type": "text/plain"}])
def test_unsupported(service: Service, headers: dict[str, str]) -> None:
    """Another media type or content encoding answers 415 with a Status."""
    status, got, answer = service.call(BODY, headers=headers)
    assert status == 415
    if got["content-type"] == PROTOBUF:
        assert Status.FromString(answer).code == 3
    else:
        assert json.loads(answer)["code"] == 3


def test_other_method(service: Service) -> None:
    """Another method answers 405 with Allow and a Status."""
    status, headers, answer = service.call(method="PUT", headers={"content-type": JSON})
    assert (status, headers["allow"], json.loads(answer)["code"]) == (405, "POST", 12)


@pytest.mark.parametrize(
    ("key", "reason"), [(None, "no API key"), ("ipk_000000000000_" + "A" * 43, "unknown API key")]
)
def test_no_valid_key(service: Service, key: str | None, reason: str) -> None:
    """Without a valid key the answer is 401 and says why."""
    status, _, answer = service.call(json_request(), headers={"content-type": JSON}, key=key)
    assert status == 401
    assert reason in json.loads(answer)["message"]


def test_the_tenant_is_that_of_the_key(service: Service) -> None:
    """No header, span attribute or resource attribute changes the tenant that a key stands for."""
    pair = field_bytes(1, b"tenant.id") + field_bytes(2, field_bytes(1, b"other"))
    body = request_bytes(span_message(tenant="other"), resource=field_bytes(1, pair))
    names = ("x-tenant", "x-tenant-id", "x-scope-orgid", "x-intentproof-tenant")
    assert service.call(body, headers=dict.fromkeys(names, "other"))[0] == 200
    assert [tenant for tenant, _ in service.ledger.events] == ["acme"]


def test_wrong_role(service: Service) -> None:
    """A key without the role ingest answers 403."""
    _, key = create_key(service.home, tenant="acme", roles=["read"])
    assert service.call(BODY, key=key)[0] == 403


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
@pytest.mark.parametrize("fault", [StoreUnavailable("disk full"), MemoryError(), KeyError("bug")])
def test_our_fault_is_retryable(service: Service, fault: Exception, media_type: str) -> None:
    """Our own fault answers 503 with Retry-After, whatever it is."""
    service.ledger.fault = fault
    body = json_request(json_span()) if media_type == JSON else BODY
    status, headers, answer = service.call(body, headers={"content-type": media_type})
    assert (status, headers["content-type"]) == (503, media_type)
    assert int(headers["retry-after"]) > 0
    code = json.loads(answer)["code"] if media_type == JSON else Status.FromString(answer).code
    assert code == 14


def test_the_key_file_is_unreadable(service: Service) -> None:
    """Where keys cannot be read the answer is 503, never 401."""
    path = service.home / "api-keys.json"
    content = path.read_bytes()
    path.write_bytes(b"{")
    try:
        status, headers, _ = service.call(BODY, key="ipk_ffffffffffff_" + "A" * 43)
        assert (status, "retry-after" in headers) == (503, True)
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("compression", list(Compression))
def test_the_python_exporter(service: Service, compression: Compression) -> None:
    """The SDK's own exporter is served with each of its compressions."""
    provider = TracerProvider()
    exporter = OTLPSpanExporter(
        endpoint=f"http://127.0.0.1:{service.http_port}/v1/traces",
        headers={"authorization": f"Bearer {service.key}"},
        compression=compression,
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("t").start_as_current_span(
        "refund", attributes={"intentproof.intent": "why"}
    ):
        pass
    provider.shutdown()
    assert [event.intent for _, event in service.ledger.events] == ["why"]


def test_health_and_readiness(service: Service) -> None:
    """Ready needs a healthy ledger; health only a process that answers."""
    assert service.call(method="GET", path="/ready", key=None)[0] == 200
    service.ledger.healthy = False
    assert service.call(method="GET", path="/ready", key=None)[0] == 503
    assert service.call(method="GET", path="/health", key=None)[0] == 200


def test_metrics_name_no_tenant(service: Service) -> None:
    """Metrics count spans by fate, and no line names a tenant."""
    service.call(BODY)
    status, headers, answer = service.call(method="GET", path="/metrics", key=None)
    text = answer.decode()
    assert (status, headers["content-type"].startswith("text/plain")) == (200, True)
    for line in (
        'intentproof_requests_total{outcome="ok",transport="http"}',
        'intentproof_spans_total{fate="taken"}',
        "intentproof_bytes_in_flight 0.0",
        "intentproof_ledger_healthy 1.0",
        "intentproof_export_seconds_bucket",
    ):
        assert line in text
    assert "acme" not in text


@pytest.mark.parametrize(("method", "path", "code"), [("GET", "/no", 404), ("PUT", "/health", 405)])
def test_other_failures_have_one_envelope(
    service: Service, method: str, path: str, code: int
) -> None:
    """Every failure outside /v1/traces has the same four members."""
    status, _, answer = service.call(method=method, path=path, headers={"x-correlation-id": "c-1"})
    envelope = json.loads(answer)
    assert (status, set(envelope), envelope["correlation_id"]) == (code, ENVELOPE, "c-1")


def test_docs(service: Service) -> None:
    """The API describes itself."""
    assert service.call(method="GET", path="/docs", key=None)[0] == 200
    answer = service.call(method="GET", path="/openapi.json", key=None)[2]
    assert "/v1/traces" in json.loads(answer)["paths"]


def test_overload_is_retryable(service: Service) -> None:
    """A body beyond the bytes in flight is refused before it is read, and room comes back."""
    with running_service(service.home, bytes_in_flight_max=2000) as small:
        status, headers, _ = small.call(bytes(3000))
        assert (status, "retry-after" in headers) == (503, True)
        assert small.call(BODY)[0] == 200


def test_a_tenant_has_a_limit_of_its_own(service: Service) -> None:
    """A body beyond what its tenant may hold beside other requests is refused unread."""
    with running_service(service.home, tenant_bytes_max=len(BODY)) as small:
        small.ledger.gate = threading.Event()
        busy = threading.Thread(target=small.call, args=(BODY,))
        busy.start()
        while small.ledger.calls == 0:
            busy.join(0.01)
        status, headers, _ = small.call(BODY)
        assert (status, headers["retry-after"]) == (503, "1")
        small.ledger.gate.set()
        other = create_key(service.home, tenant="calm")[1]
        assert small.call(BODY, key=other)[0] == 200
        busy.join()
        text = small.call(method="GET", path="/metrics", key=None)[2].decode()
        assert 'intentproof_refused_total{reason="tenant_limit"} 1.0' in text


def test_over_quota(service: Service) -> None:
    """Beyond its quota a tenant gets 429 with the same delay in header and body, retryable."""
    quotas = Quotas(tenants={"acme": Quota(events_per_second=0.05)})
    with running_service(service.home, quotas=quotas) as metered:
        assert metered.call(BODY)[0] == 200
        status, headers, answer = metered.call(b"{}", headers={"content-type": JSON})
        body = json.loads(answer)
        delay = int(headers["retry-after"])
        assert (status, body["code"]) == (429, 14)
        assert 1 <= delay <= 20
        assert body["details"][0]["retryDelay"] == f"{delay}s"
        other = create_key(service.home, tenant="calm")[1]
        assert metered.call(BODY, key=other)[0] == 200
        text = metered.call(method="GET", path="/metrics", key=None)[2].decode()
        assert 'intentproof_requests_total{outcome="over_quota",transport="http"} 1.0' in text
        assert 'intentproof_refused_total{reason="quota_events"} 1.0' in text


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (StoreBusy("full"), "store_queue"),
        (StoreUnavailable("disk full"), "store"),
        (RuntimeError("a bug"), "fault"),
    ],
)
def test_refusals_are_counted_by_reason(service: Service, fault: Exception, reason: str) -> None:
    """Metrics tell a store that has too much to do from one that is unwell, and both from a bug."""
    with running_service(service.home) as other:
        other.ledger.fault = fault
        assert other.call(BODY)[0] == 503
        text = other.call(method="GET", path="/metrics", key=None)[2].decode()
        assert f'intentproof_refused_total{{reason="{reason}"}} 1.0' in text


def test_concurrent_overload(service: Service) -> None:
    """What one request holds, another cannot have until it is answered."""
    with running_service(service.home, bytes_in_flight_max=2 * len(BODY)) as small:
        small.ledger.gate = threading.Event()
        codes: list[int] = []
        threads = [
            threading.Thread(target=lambda: codes.append(small.call(BODY)[0])) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        while len(codes) < 2:
            threads[0].join(0.01)
        assert codes == [503, 503]
        small.ledger.gate.set()
        for thread in threads:
            thread.join()
        assert sorted(codes) == [200, 200, 503, 503]


def test_draining(service: Service) -> None:
    """While draining, readiness is false and new spans are refused with a delay."""
    service.intake.draining = True
    try:
        assert service.call(method="GET", path="/ready", key=None)[0] == 503
        assert service.call(BODY)[0] == 503
    finally:
        service.intake.draining = False


def answered(service: Service) -> float:
    """How many requests over HTTP have come to an end."""
    text = service.call(method="GET", path="/metrics", key=None)[2].decode()
    lines = [line for line in text.splitlines() if line.startswith("intentproof_requests_total{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines if 'transport="http"' in line)


def test_a_client_that_hangs_up(service: Service) -> None:
    """A request whose client hangs up within the body keeps nothing and holds nothing."""
    before = answered(service)
    head = (
        f"POST /v1/traces HTTP/1.1\r\nhost: x\r\nx-api-key: {service.key}"
        f"\r\ncontent-type: {PROTOBUF}"
    )
    with socket.create_connection(("127.0.0.1", service.http_port), timeout=20) as connection:
        connection.sendall(f"{head}\r\ncontent-length: 9000\r\n\r\n".encode() + BODY)
    until(lambda: answered(service) > before, what="end of the request")
    assert service.ledger.calls == 0
    text = service.call(method="GET", path="/metrics", key=None)[2].decode()
    assert "intentproof_bytes_in_flight 0.0" in text


def test_a_body_that_does_not_come(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that stops within its body is refused after a time, and holds nothing then."""
    monkeypatch.setattr("intentproof_receiver.http_server.BODY_SECONDS_MAX", 0.1)
    head = (
        f"POST /v1/traces HTTP/1.1\r\nhost: x\r\nx-api-key: {service.key}"
        f"\r\ncontent-type: {PROTOBUF}"
    )
    with socket.create_connection(("127.0.0.1", service.http_port), timeout=20) as connection:
        connection.sendall(f"{head}\r\ncontent-length: 9000\r\n\r\n".encode() + BODY)
        assert connection.recv(4096).startswith(b"HTTP/1.1 503")
    text = service.call(method="GET", path="/metrics", key=None)[2].decode()
    assert "intentproof_bytes_in_flight 0.0" in text


def test_a_bug_in_a_transport_is_retryable(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a bug outside of the exporter is answered 503."""

    def fail(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(service.intake._exporter, "authenticate", fail)
    assert service.call(BODY)[0] == 503


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
@pytest.mark.parametrize("step", ["credentials_of", "success"])
def test_a_bug_in_the_handler_is_retryable(
    service: Service, monkeypatch: pytest.MonkeyPatch, step: str, media_type: str
) -> None:
    """Also a bug before and behind all that is shared is answered 503, in the right encoding."""
    monkeypatch.setattr(f"intentproof_receiver.http_server.{step}", None)
    body = b"{}" if media_type == JSON else b""
    status, headers, _ = service.call(body, headers={"content-type": media_type})
    assert (status, headers["content-type"]) == (503, media_type)
    assert int(headers["retry-after"]) > 0


def test_a_bug_on_another_path(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug outside of /v1/traces has the envelope too."""

    def fail() -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(service.metrics, "text", fail)
    status, _, answer = service.call(method="GET", path="/metrics")
    assert (status, set(json.loads(answer))) == (500, ENVELOPE)


def test_errors_of_later_paths(service: Service) -> None:
    """Paths to come get the envelope for invalid parameters and for the receiver's own errors."""
    app = make_app(
        intake=service.intake,
        metrics=service.metrics,
        status=service.ledger.status,
        message_bytes_max=MESSAGE_BYTES_MAX,
    )

    @app.get("/limit")
    async def limit(limit: int) -> int:
        raise Forbidden("no")

    answers = []
    for query in (b"limit=x", b"limit=1"):
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request"}

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/limit",
            "raw_path": b"/limit",
            "query_string": query,
            "headers": [],
        }
        asyncio.run(app(scope, receive, send))
        answers.append((sent[0]["status"], set(json.loads(sent[1]["body"]))))
    assert answers == [(422, ENVELOPE), (403, ENVELOPE)]
