"""OTLP over gRPC, against a real server."""

import gzip
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from intentproof_receiver.key_commands import create_key
from intentproof_receiver.quotas import Quota, Quotas
from intentproof_store import StoreUnavailable
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.receiver.support import (
    MESSAGE_BYTES_MAX,
    Service,
    attribute_bytes,
    field_bytes,
    request_bytes,
    running_service,
    span_message,
)

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@pytest.fixture
def channel(service: Service) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(service.grpc) as channel:
        yield channel


def export(
    channel: grpc.Channel, body: bytes, key: str | None, *, header: str = "x-api-key", **more: Any
) -> ExportTraceServiceResponse:
    call: Any = channel.unary_unary(METHOD)
    metadata = [] if key is None else [(header, key)]
    raw = call(body, metadata=metadata, timeout=20, **more)
    return ExportTraceServiceResponse.FromString(raw)


def refused(channel: grpc.Channel, body: bytes, key: str | None) -> tuple[Any, Any]:
    with pytest.raises(grpc.RpcError) as caught:
        export(channel, body, key)
    error: Any = caught.value
    return error, dict(error.trailing_metadata())


def test_spans_are_taken(service: Service, channel: grpc.Channel) -> None:
    """An annotated span is kept under the tenant of its key, and partial_success is unset."""
    answer = export(channel, request_bytes(span_message()), service.key)
    assert not answer.HasField("partial_success")
    assert [(tenant, event.intent) for tenant, event in service.ledger.events] == [
        ("acme", "Return captured funds")
    ]


def test_bearer(service: Service, channel: grpc.Channel) -> None:
    """A key may also stand in the authorization header."""
    export(channel, b"", f"Bearer {service.key}", header="authorization")


def test_an_empty_request_succeeds(service: Service, channel: grpc.Channel) -> None:
    """A request without spans is a success that does not touch the ledger."""
    assert export(channel, b"", service.key) == ExportTraceServiceResponse()
    assert service.ledger.calls == 0


def test_gzip(service: Service, channel: grpc.Channel) -> None:
    """A gzip message is taken."""
    body = request_bytes(span_message())
    export(channel, body, service.key, compression=grpc.Compression.Gzip)
    assert len(service.ledger.events) == 1


def test_partial_success(service: Service, channel: grpc.Channel) -> None:
    """A bad span costs itself alone and is counted exactly."""
    bad = span_message(2).SerializeToString() + attribute_bytes(b"k", field_bytes(1, b"\xff"))
    body = request_bytes(span_message(1), bad, span_message(3), bad)
    answer = export(channel, body, service.key)
    assert answer.partial_success.rejected_spans == 2
    assert "invalid_utf8" in answer.partial_success.error_message
    assert len(service.ledger.events) == 2
    assert service.ledger.undecodable[0][1].raw.endswith(bad)


def test_garbage_is_invalid(service: Service, channel: grpc.Channel) -> None:
    """Bytes that are no request answer INVALID_ARGUMENT with a BadRequest."""
    error, trailers = refused(channel, b"\x0a\xff", service.key)
    status = Status.FromString(trailers["grpc-status-details-bin"])
    detail = BadRequest()
    assert status.details[0].Unpack(detail)
    assert (error.code(), status.code) == (grpc.StatusCode.INVALID_ARGUMENT, 3)
    assert detail.field_violations[0].field == "body"


@pytest.mark.parametrize(
    ("key", "reason"), [(None, "no API key"), ("ipk_x", "unknown API key"), ("", "no API key")]
)
def test_no_valid_key(
    service: Service, channel: grpc.Channel, key: str | None, reason: str
) -> None:
    """Without a valid key the answer is UNAUTHENTICATED and says why."""
    error, _ = refused(channel, b"", key)
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert reason in error.details()


def test_wrong_role(service: Service, channel: grpc.Channel) -> None:
    """A key without the role ingest is PERMISSION_DENIED."""
    _, key = create_key(service.home, tenant="acme", roles=["read"])
    error, _ = refused(channel, b"", key)
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("fault", [StoreUnavailable("disk full"), RuntimeError("a bug")])
def test_our_fault_is_retryable(service: Service, channel: grpc.Channel, fault: Exception) -> None:
    """Our own fault answers UNAVAILABLE with both trailers that carry a delay."""
    service.ledger.fault = fault
    error, trailers = refused(channel, request_bytes(span_message()), service.key)
    status = Status.FromString(trailers["grpc-status-details-bin"])
    detail = RetryInfo()
    assert status.details[0].Unpack(detail)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert detail.retry_delay.seconds > 0
    assert RetryInfo.FromString(trailers["google.rpc.retryinfo-bin"]) == detail


@pytest.mark.parametrize("step", ["_credentials", "success"])
def test_a_bug_in_the_handler_is_retryable(
    service: Service, channel: grpc.Channel, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Also a bug before and behind all that is shared answers UNAVAILABLE with both trailers."""
    monkeypatch.setattr(f"intentproof_receiver.grpc_server.{step}", None)
    error, trailers = refused(channel, b"", service.key)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert {"grpc-status-details-bin", "google.rpc.retryinfo-bin"} <= set(trailers)


def test_over_quota(service: Service) -> None:
    """Beyond its quota a tenant gets UNAVAILABLE with the delay in both trailers."""
    quotas = Quotas(default=Quota(events_per_second=0.05))
    with (
        running_service(service.home, quotas=quotas) as metered,
        grpc.insecure_channel(metered.grpc) as channel,
    ):
        export(channel, request_bytes(span_message()), metered.key)
        error, trailers = refused(channel, request_bytes(span_message()), metered.key)
        detail = RetryInfo()
        status = Status.FromString(trailers["grpc-status-details-bin"])
        assert status.details[0].Unpack(detail)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert 1 <= detail.retry_delay.seconds <= 20
        assert RetryInfo.FromString(trailers["google.rpc.retryinfo-bin"]) == detail


def test_a_full_service_refuses_before_the_message(service: Service) -> None:
    """While a tenant holds all it may, a call of it is refused though its message never comes."""
    size = len(request_bytes(span_message()))
    with (
        running_service(service.home, tenant_bytes_max=size) as small,
        grpc.insecure_channel(small.grpc) as channel,
    ):
        small.ledger.gate = threading.Event()
        unary: Any = channel.unary_unary(METHOD)
        metadata = [("x-api-key", small.key)]
        busy = unary.future(request_bytes(span_message()), metadata=metadata, timeout=20)
        while small.ledger.calls == 0:
            time.sleep(0.01)
        never = threading.Event()
        call: Any = channel.stream_unary(METHOD)
        with pytest.raises(grpc.RpcError) as caught:
            call(_after(never), metadata=metadata, timeout=20)
        never.set()
        error: Any = caught.value
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        small.ledger.gate.set()
        busy.result(20)


def _after(moment: threading.Event) -> Iterator[bytes]:
    """A message that comes at that moment."""
    moment.wait(20)
    yield b""


def test_too_large(service: Service, channel: grpc.Channel) -> None:
    """A message over the limit is RESOURCE_EXHAUSTED without a delay, so nobody retries."""
    error, trailers = refused(channel, bytes(MESSAGE_BYTES_MAX + 1), service.key)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "google.rpc.retryinfo-bin" not in trailers


def test_a_bomb_is_too_large(service: Service, channel: grpc.Channel) -> None:
    """The limit counts bytes after decompression."""
    assert len(gzip.compress(bytes(MESSAGE_BYTES_MAX + 1))) < MESSAGE_BYTES_MAX
    with pytest.raises(grpc.RpcError) as caught:
        export(
            channel,
            bytes(MESSAGE_BYTES_MAX + 1),
            service.key,
            compression=grpc.Compression.Gzip,
        )
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_draining(service: Service, channel: grpc.Channel) -> None:
    """While draining, new spans are refused with a delay in both trailers."""
    service.intake.draining = True
    try:
        error, trailers = refused(channel, request_bytes(span_message()), service.key)
    finally:
        service.intake.draining = False
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert RetryInfo.FromString(trailers["google.rpc.retryinfo-bin"]).retry_delay.seconds > 0


def test_no_message(service: Service, channel: grpc.Channel) -> None:
    """A call without a message, as a cut connection leaves it, is not refused for good."""
    call: Any = channel.stream_unary(METHOD)
    with pytest.raises(grpc.RpcError) as caught:
        call(iter(()), metadata=[("x-api-key", service.key)], timeout=20)
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.UNAVAILABLE


def test_the_python_exporter(service: Service) -> None:
    """The SDK's own exporter is served."""
    provider = TracerProvider()
    exporter = OTLPSpanExporter(
        endpoint=service.grpc, insecure=True, headers=(("x-api-key", service.key),)
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("t").start_as_current_span(
        "refund", attributes={"intentproof.intent": "why"}
    ):
        pass
    provider.shutdown()
    assert [event.intent for _, event in service.ledger.events] == ["why"]
