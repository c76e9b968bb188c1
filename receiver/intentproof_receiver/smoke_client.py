"""The client of `smoke`: OpenTelemetry's own exporters, and the receiver's status pages."""

import logging
import secrets
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import requests
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
    OTLPSpanExporter as GrpcSpanExporter,
)
from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
    OTLPSpanExporter as HttpSpanExporter,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from prometheus_client.parser import text_string_to_metric_families

from .errors import Unusable

ACTION = "intentproof.smoke"
_EVENTS = "intentproof_events_total"


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where to send, and as whom."""

    http: str
    grpc: str | None
    key: str
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    seconds: float = 30.0

    @property
    def grpc_is_clear(self) -> bool:
        """Whether gRPC goes without TLS: `http://`, or no scheme and no --ca-file."""
        address = self.grpc or ""
        return address.startswith("http://") or not ("//" in address or self.ca_file)


def make_span(transport: str) -> ReadableSpan:
    """A span that has ended and declares an intent. Raises Unusable."""
    provider = TracerProvider(
        sampler=ALWAYS_ON, resource=Resource({"service.name": "intentproof-smoke"})
    )
    span = provider.get_tracer("intentproof_receiver.smoke").start_span(
        ACTION,
        attributes={
            "intentproof.intent": f"Show that a deployed receiver takes a span over {transport}",
            "intentproof.action": ACTION,
            "intentproof.correlation_id": f"smoke-{secrets.token_hex(8)}",
        },
    )
    span.end()
    if not isinstance(span, ReadableSpan):
        raise Unusable("OTEL_SDK_DISABLED is set: unset it for this command")
    return span


def http_exporter(target: Target) -> SpanExporter:
    """OpenTelemetry's exporter over HTTP and protobuf."""
    session = requests.Session()
    # REQUESTS_CA_BUNDLE, where it is set, would win over the file that was asked for.
    session.trust_env = target.ca_file is None
    return HttpSpanExporter(
        endpoint=f"{target.http}/v1/traces",
        certificate_file=target.ca_file,
        client_key_file=target.client_key,
        client_certificate_file=target.client_cert,
        headers={"x-api-key": target.key},
        timeout=target.seconds,
        session=session,
    )


def grpc_exporter(target: Target) -> SpanExporter:
    """OpenTelemetry's exporter over gRPC. Raises OSError where a file cannot be read."""
    credentials = None
    if not target.grpc_is_clear:
        files = (target.ca_file, target.client_key, target.client_cert)
        credentials = grpc.ssl_channel_credentials(
            *(Path(one).read_bytes() if one else None for one in files)
        )
    return GrpcSpanExporter(
        endpoint=target.grpc,
        insecure=target.grpc_is_clear,
        credentials=credentials,
        headers=(("x-api-key", target.key),),
        timeout=target.seconds,
    )


def get_page(target: Target, path: str) -> bytes:
    """A status page. Raises OSError where it cannot be had, or is refused."""
    context = None
    if target.http.startswith("https:"):
        context = ssl.create_default_context(cafile=target.ca_file)
        if target.client_cert:
            context.load_cert_chain(target.client_cert, target.client_key)
    with urllib.request.urlopen(  # noqa: S310 - http or https, as checked
        target.http + path, timeout=target.seconds, context=context
    ) as answer:
        body: bytes = answer.read()
        return body


@contextmanager
def complaints() -> Iterator[list[str]]:
    """What OpenTelemetry's exporters log, instead of on stderr: they return no reason."""
    told: list[str] = []

    class _Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())

    logger = logging.getLogger("opentelemetry")
    keep = _Keep()
    logger.addHandler(keep)
    logger.propagate = False
    try:
        yield told
    finally:
        logger.removeHandler(keep)
        logger.propagate = True


def count_events(target: Target) -> dict[str, float] | None:
    """The receiver's counts of events by result, or None where /metrics cannot be had."""
    try:
        page = get_page(target, "/metrics").decode()
        return {
            one.labels["result"]: one.value
            for family in text_string_to_metric_families(page)
            for one in family.samples
            if one.name == _EVENTS
        }
    except (OSError, ValueError):
        return None


def trace_id_of(span: ReadableSpan) -> int:
    """The trace of a span that was made here."""
    context = span.get_span_context()
    return context.trace_id if context else 0
