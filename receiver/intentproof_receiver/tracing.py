"""The receiver's own traces: one span a request, with its stages as children. Off by default.

Switched on, and led elsewhere, by the variables that every OpenTelemetry SDK reads:
OTEL_TRACES_EXPORTER=otlp, OTEL_EXPORTER_OTLP_*, OTEL_TRACES_SAMPLER, OTEL_BSP_*. Two differ from
the specification: nothing is sent where OTEL_TRACES_EXPORTER is not set, and without a sampler one
request in a hundred is traced. A span carries no payload, no key and no tenant.
"""

import os
import socket
import time
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
    OTLPSpanExporter as GrpcSpanExporter,
)
from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
    OTLPSpanExporter as HttpSpanExporter,
)
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace import Tracer as SpanMaker

from .errors import ConfigInvalid
from .watch import TRACES_EXPORTER

SAMPLED_BY_DEFAULT = 0.01
_SERVICE = "intentproof-receiver"
_GRPC, _HTTP = "grpc", "http/protobuf"
_PORTS = {_GRPC: 4317, _HTTP: 4318}


class Tracer:
    """Traces requests. `begin` and what it returns do not block; spans are sent from a thread."""

    def __init__(self, exporter: SpanExporter, environ: Mapping[str, str] = os.environ) -> None:
        sampler = None
        if not environ.get("OTEL_TRACES_SAMPLER"):
            sampler = ParentBased(TraceIdRatioBased(SAMPLED_BY_DEFAULT))
        name = environ.get("OTEL_SERVICE_NAME") or _SERVICE
        self._provider = TracerProvider(
            sampler=sampler, resource=Resource.create({SERVICE_NAME: name})
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("intentproof_receiver")

    def begin(self, transport: str) -> "Trace | None":
        """The trace of a request, or None where it is not sampled."""
        span = self._tracer.start_span(
            "intentproof.export",
            kind=SpanKind.SERVER,
            attributes={"intentproof.transport": transport},
        )
        if not isinstance(span, Span) or not span.is_recording():
            return None
        return Trace(self._tracer, span)

    def close(self) -> None:
        """Send what waits, and stop. Blocks for at most OTEL_BSP_EXPORT_TIMEOUT."""
        self._provider.shutdown()


class Trace:
    """One request's span. Stages may end on any thread, until `finished`."""

    def __init__(self, tracer: SpanMaker, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._context = set_span_in_context(span)
        # Stages are timed by a clock that does not step; spans want the wall clock's time.
        self._offset = time.time_ns() - time.perf_counter_ns()

    def stage_ended(self, name: str, started_ns: int, ended_ns: int) -> None:
        """A child span from one reading of `time.perf_counter_ns` to another."""
        child = self._tracer.start_span(
            name, context=self._context, start_time=started_ns + self._offset
        )
        child.end(ended_ns + self._offset)

    def finished(self, outcome: str, counts: dict[str, int]) -> None:
        """End the span; anything but `ok` is an error."""
        self._span.set_attribute("intentproof.outcome", outcome)
        for name, count in counts.items():
            self._span.set_attribute(f"intentproof.spans.{name}", count)
        if outcome != "ok":
            self._span.set_status(Status(StatusCode.ERROR, outcome))
        self._span.end()


def make_exporter(
    own_ports: Collection[int], environ: Mapping[str, str] = os.environ
) -> SpanExporter:
    """The exporter that the environment asks for.

    Raises ConfigInvalid for a protocol that is not known, and where the traces would come back to
    one of our own ports: each would be a request, and make another.
    """
    protocol = _of(environ, "PROTOCOL") or _GRPC
    if protocol not in _PORTS:
        raise ConfigInvalid(f"OTEL_EXPORTER_OTLP_PROTOCOL {protocol!r}: must be {_GRPC} or {_HTTP}")
    endpoint = _of(environ, "ENDPOINT") or f"http://localhost:{_PORTS[protocol]}"
    _check_not_own(endpoint, _PORTS[protocol], own_ports)
    return GrpcSpanExporter() if protocol == _GRPC else HttpSpanExporter()


def _of(environ: Mapping[str, str], name: str) -> str:
    traces = environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}", "").strip()
    return traces or environ.get(f"OTEL_EXPORTER_OTLP_{name}", "").strip()


def _check_not_own(endpoint: str, default_port: int, own_ports: Collection[int]) -> None:
    parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    port = parts.port or default_port
    if port in own_ports and _is_this_machine(parts.hostname or "localhost"):
        raise ConfigInvalid(
            f"OTEL_EXPORTER_OTLP_ENDPOINT {endpoint}: is this receiver itself; name a Collector or "
            f"tracing backend, or set {TRACES_EXPORTER}=none"
        )


def _is_this_machine(host: str) -> bool:
    """Whether a name leads here: only an address of this machine can be bound."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except OSError:
        return False
    for family, kind, _, _, address in found:
        with socket.socket(family, kind) as probe:
            try:
                probe.bind(address)
            except OSError:
                continue
            return True
    return False
