"""The receiver's own traces."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from intentproof_receiver.errors import ConfigInvalid
from intentproof_receiver.key_commands import create_key
from intentproof_receiver.tracing import make_exporter
from intentproof_receiver.watch import traces_are_asked_for
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.receiver.serving import served, until
from tests.receiver.support import request_bytes, span_message

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
STAGES = {"authenticate", "admit", "read", "wait", "decode", "turn", "append"}


@contextmanager
def backend() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """A tracing backend that keeps what it is sent."""
    got: list[ExportTraceServiceRequest] = []

    def export(raw: bytes, context: Any) -> bytes:
        got.append(ExportTraceServiceRequest.FromString(raw))
        return bytes(ExportTraceServiceResponse().SerializeToString())

    server = grpc.server(ThreadPoolExecutor(1))
    handler: Any = grpc.unary_unary_rpc_method_handler(export)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {"Export": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}", got
    finally:
        server.stop(None).wait()


def spans_in(got: list[ExportTraceServiceRequest]) -> list[Span]:
    return [
        span
        for request in got
        for resource_spans in request.resource_spans
        for scope_spans in resource_spans.scope_spans
        for span in scope_spans.spans
    ]


def test_a_request_is_a_span_with_its_stages(tmp_path: Path) -> None:
    """Each request is a span, its stages are children in its time, and its end is an attribute."""
    _, key = create_key(tmp_path / "home", tenant="acme-secret-tenant")
    secret = "sk_live_secret"
    with backend() as (endpoint, got):
        environ = {
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_TRACES_SAMPLER": "always_on",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        with served(tmp_path, environ=environ) as running:
            assert running.post(request_bytes(span_message(inputs=secret)), key) == 200
            assert running.post(b"\xff", key) == 400
            until(lambda: len(spans_in(got)) >= 10, what="spans")
            assert running.stop() == 0
    found = spans_in(got)
    taken, refused = sorted(
        (span for span in found if span.name == "intentproof.export"),
        key=lambda span: span.start_time_unix_nano,
    )
    children = [span for span in found if span.parent_span_id == taken.span_id]
    assert {span.name for span in children} == STAGES
    for child in children:
        assert child.start_time_unix_nano >= taken.start_time_unix_nano - 1_000_000
        assert child.end_time_unix_nano <= taken.end_time_unix_nano + 1_000_000
    outcomes = [
        next(one.value.string_value for one in span.attributes if one.key == "intentproof.outcome")
        for span in (taken, refused)
    ]
    assert outcomes == ["ok", "invalid"]
    assert (taken.status.code, refused.status.code) == (0, 2)
    sent = b"".join(request.SerializeToString() for request in got)
    for hidden in (secret, key, key[-43:], "acme-secret-tenant"):
        assert hidden.encode() not in sent


def test_nothing_is_sent_or_loaded_by_default() -> None:
    """Without OTEL_TRACES_EXPORTER there are no traces, and the SDK is not even loaded."""
    assert not traces_are_asked_for({})
    assert not traces_are_asked_for({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4317"})
    assert not traces_are_asked_for({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"})
    code = "import sys, intentproof_receiver.serve; print('opentelemetry.sdk' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4317"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4317/v1/traces"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "127.0.0.1:4317"},
    ],
)
def test_traces_never_come_back_to_us(environ: dict[str, str]) -> None:
    """An endpoint that is one of our own ports on this machine is refused."""
    with pytest.raises(ConfigInvalid, match="is this receiver itself"):
        make_exporter({4317, 4318}, environ)


def test_another_receiver_is_no_loop() -> None:
    """The same port elsewhere, or another port here, is taken."""
    for endpoint in ("http://127.0.0.1:4319", "http://192.0.2.1:4317"):
        make_exporter({4317, 4318}, {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}).shutdown()


def test_a_loop_ends_serve_before_it_begins(tmp_path: Path) -> None:
    """`serve` does not start with traces that would come back to it, and says why."""
    argv = ["serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    places = ["--store", str(tmp_path / "s"), "--home", str(tmp_path / "h")]
    code = (
        "import os, sys, socket; from intentproof_receiver import grpc_server, cli\n"
        "bind = grpc_server.bind\n"
        "def told(*args, **more):\n"
        "    server, port = bind(*args, **more)\n"
        "    os.environ['OTEL_EXPORTER_OTLP_ENDPOINT'] = f'http://127.0.0.1:{port}'\n"
        "    return server, port\n"
        "grpc_server.bind = told\n"
        "os.environ['OTEL_TRACES_EXPORTER'] = 'otlp'\n"
        "sys.exit(cli.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *argv, *places], capture_output=True, text=True, check=False
    )
    assert done.returncode == 6
    assert "is this receiver itself" in done.stderr
    assert not (tmp_path / "s").exists()


def test_an_unknown_exporter_or_protocol_is_refused() -> None:
    """What is not known is named, not ignored."""
    with pytest.raises(ConfigInvalid, match="zipkin"):
        traces_are_asked_for({"OTEL_TRACES_EXPORTER": "zipkin"})
    with pytest.raises(ConfigInvalid, match="http/json"):
        make_exporter(set(), {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"})
