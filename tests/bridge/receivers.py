"""Fake receivers on loopback that answer as a test scripts it, and the way back from the wire."""

import gzip
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from intentproof_schemas import ExecutionEvent, KeyValues, Span, SpanEvent, SpanLink, map_span
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@dataclass(frozen=True)
class Reply:
    """One scripted answer; code 0 (gRPC) or 200 (HTTP) is success."""

    status: int = 0
    message: str = ""
    rejected: int = 0
    retry_after_s: float | None = None
    own_trailer: bool = True
    raw: bytes | None = None  # the body as it is, whatever it should have been
    content_type: str = "application/x-protobuf"
    before: Callable[[], object] = field(default=lambda: None)


OK = Reply()


class Received:
    """What came in. `replies` is used up answer by answer, then every answer is success."""

    def __init__(self, *replies: Reply, accepts: Callable[[list[Any]], Reply] | None = None):
        self.replies = deque(replies)
        self.accepts = accepts
        self.headers: list[dict[str, str]] = []
        self.requests: list[ExportTraceServiceRequest] = []
        self.accepted: list[ExportTraceServiceRequest] = []
        self.first = threading.Event()

    def answer(self, body: bytes, headers: dict[str, str]) -> Reply:
        request = ExportTraceServiceRequest.FromString(body)
        self.requests.append(request)
        self.headers.append(headers)
        reply = self.replies.popleft() if self.replies else OK
        if self.accepts is not None:
            reply = self.accepts(spans_of(request))
        self.first.set()
        reply.before()
        if reply.status in (0, 200):
            self.accepted.append(request)
        return reply

    @property
    def spans(self) -> list[Any]:
        return [span for request in self.accepted for span in spans_of(request)]

    @property
    def events(self) -> list[ExecutionEvent]:
        events = [map_span(span) for request in self.accepted for span in read_request(request)]
        return [event for event in events if event is not None]

    @property
    def sequences(self) -> list[int]:
        return [event.sequence for event in self.events]


def spans_of(request: Any) -> list[Any]:
    return [
        span
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def success(reply: Reply) -> bytes:
    if reply.raw is not None:
        return reply.raw
    response = ExportTraceServiceResponse()
    if reply.rejected or reply.message:
        response.partial_success.rejected_spans = reply.rejected
        response.partial_success.error_message = reply.message
    return bytes(response.SerializeToString())


@contextmanager
def grpc_receiver(received: Received, tls: tuple[Path, Path] | None = None) -> Iterator[str]:
    """A real gRPC server; yields its endpoint."""

    def export(body: bytes, context: grpc.ServicerContext) -> bytes:
        metadata = {str(key): str(value) for key, value in context.invocation_metadata()}
        reply = received.answer(body, metadata)
        if reply.status == 0:
            return success(reply)
        if reply.retry_after_s is not None:
            context.set_trailing_metadata(trailers(reply))
        code = next(code for code in grpc.StatusCode if code.value[0] == reply.status)
        context.abort(code, reply.message)
        raise AssertionError("abort raises")

    handler = grpc.method_handlers_generic_handler(
        EXPORT.split("/")[1], {"Export": grpc.unary_unary_rpc_method_handler(export)}
    )
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((handler,))
    if tls is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        pair = (tls[0].read_bytes(), tls[1].read_bytes())
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def trailers(reply: Reply) -> tuple[tuple[str, bytes], ...]:
    assert reply.retry_after_s is not None
    delay = Duration()
    delay.FromMilliseconds(int(reply.retry_after_s * 1000))
    info = RetryInfo(retry_delay=delay)
    detail = AnyMessage()
    detail.Pack(info)
    status = Status(code=reply.status, message=reply.message, details=[detail])
    standard = ("grpc-status-details-bin", status.SerializeToString())
    own = ("google.rpc.retryinfo-bin", info.SerializeToString())
    return (standard, own) if reply.own_trailer else (standard,)


@contextmanager
def http_receiver(received: Received, tls: tuple[Path, Path] | None = None) -> Iterator[str]:
    """A real HTTP server; yields its base URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            headers = {key.lower(): value for key, value in self.headers.items()}
            reply = received.answer(body, {**headers, ":path": self.path})
            status = reply.status or 200
            failure = Status(message=reply.message).SerializeToString()
            answer = success(reply) if status == 200 or reply.raw is not None else failure
            self.send_response(status)
            self.send_header("content-type", reply.content_type)
            self.send_header("content-length", str(len(answer)))
            if reply.retry_after_s is not None:
                self.send_header("retry-after", str(int(reply.retry_after_s)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        secure.load_cert_chain(tls[1], tls[0])
        server.socket = secure.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def read_request(request: Any) -> Iterator[Span]:
    """Every span of a request as the mapping reads it; the test's own small decoder."""
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    trace_id=span.trace_id,
                    span_id=span.span_id,
                    parent_span_id=span.parent_span_id,
                    name=span.name,
                    kind=span.kind,
                    start_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    attributes=pairs(span.attributes),
                    status_code=span.status.code,
                    status_message=span.status.message,
                    events=[
                        SpanEvent(event.name, pairs(event.attributes)) for event in span.events
                    ],
                    links=[
                        SpanLink(link.trace_id, link.span_id, pairs(link.attributes))
                        for link in span.links
                    ],
                    dropped_attributes_count=span.dropped_attributes_count,
                    dropped_events_count=span.dropped_events_count,
                    dropped_links_count=span.dropped_links_count,
                    resource=pairs(resource.resource.attributes),
                    scope_name=scope.scope.name,
                    scope_version=scope.scope.version,
                )


def pairs(attributes: Any) -> list[tuple[str, Any]]:
    return [(item.key, value_of(item.value)) for item in attributes]


def value_of(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [value_of(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return KeyValues(pairs(value.kvlist_value.values))
    return getattr(value, kind)
