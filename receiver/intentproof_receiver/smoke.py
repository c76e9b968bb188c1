"""The command `smoke`: after a deployment, whether a span gets from a client into the log.

The client is OpenTelemetry's own exporter. What is sent becomes evidence and cannot be unsaid: it
has the action `intentproof.smoke`.
"""

import argparse
import io
import ipaddress
import json
import logging
import secrets
import ssl
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import grpc
from intentproof_store import Reader, StoreError
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
    OTLPSpanExporter as GrpcSpanExporter,
)
from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
    OTLPSpanExporter as HttpSpanExporter,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from prometheus_client.parser import text_string_to_metric_families

from .cli import main as command_line
from .errors import Unusable

OK, FAILED = 0, 1
ACTION = "intentproof.smoke"
_EVENTS = "intentproof_events_total"


class Step(NamedTuple):
    """One thing that was tried, and how it went; `ok` None is one that could not be tried."""

    name: str
    ok: bool | None
    told: str


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


def register(subparsers: Any) -> None:
    """Add `smoke` to the command line."""
    smoke = subparsers.add_parser(
        "smoke",
        help="send a span as a client does, and see that it is kept",
        description=f"What it sends stays in the log for ever, under the action {ACTION}.",
    )
    smoke.add_argument("--endpoint", default="http://127.0.0.1:4318", metavar="URL")
    smoke.add_argument("--grpc-endpoint", metavar="HOST:PORT", help="tried only if given")
    smoke.add_argument("--key-file", required=True, metavar="FILE", help="an API key that may send")
    smoke.add_argument("--ca-file", metavar="FILE", help="who signed the receiver's certificate")
    smoke.add_argument("--client-cert", metavar="FILE", help="for mutual TLS")
    smoke.add_argument("--client-key", metavar="FILE", help="for mutual TLS")
    smoke.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS")
    smoke.add_argument(
        "--insecure", action="store_true", help="send the key in clear to another machine"
    )
    smoke.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """One line a step; 0 if none failed, else 1."""
    target = _target(args)
    failed = False
    for step in _steps(target, args):
        mark = {True: "ok", False: "FAIL", None: "skip"}[step.ok]
        sys.stdout.write(f"{mark:4}  {step.name}: {step.told}\n")
        sys.stdout.flush()
        failed |= step.ok is False
    sys.stdout.write(f"what was sent stays in the log, with action {ACTION}\n")
    return FAILED if failed else OK


def _target(args: argparse.Namespace) -> Target:
    try:
        key = Path(args.key_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"--key-file {args.key_file}: cannot be read: {error}") from error
    if not key:
        raise Unusable(f"--key-file {args.key_file}: is empty; see `keys create`")
    target = Target(
        http=args.endpoint.rstrip("/"),
        grpc=args.grpc_endpoint,
        key=key,
        ca_file=args.ca_file,
        client_cert=args.client_cert,
        client_key=args.client_key,
        seconds=args.timeout,
    )
    parts = urlsplit(target.http)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Unusable(f"--endpoint {target.http}: must be http://HOST:PORT or https://HOST:PORT")
    if not args.insecure:
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise Unusable(f"--endpoint {target.http}: the key would go in clear; or --insecure")
        if target.grpc and target.grpc_is_clear and not _is_loopback(_host(target.grpc)):
            raise Unusable(
                f"--grpc-endpoint {target.grpc}: the key would go in clear; give "
                "--ca-file, or https://HOST:PORT, or --insecure"
            )
    return target


def _host(address: str) -> str:
    return urlsplit(address if "//" in address else f"//{address}").hostname or ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _steps(target: Target, args: argparse.Namespace) -> Iterator[Step]:
    yield _ready(target)
    sent: list[ReadableSpan] = []
    transports = [("http", _http_exporter)]
    if target.grpc:
        transports.append(("grpc", _grpc_exporter))
    for name, make in transports:
        span = _span(name)
        try:
            exporter = make(target)
        except (OSError, ValueError) as error:
            yield Step(f"{name} sends", False, str(error))
            continue
        before = _events(target)
        step = _send(f"{name} sends", exporter, span)
        yield step
        if step.ok:
            sent.append(span)
            yield _send(f"{name} sends again", exporter, span)
            yield _recognised(name, before, _events(target))
        exporter.shutdown()
    if args.store_flag:
        yield from _in_store(sent, args)
    else:
        yield Step("store", None, "give --store, --home and --hot to see the events in the log")


def _span(transport: str) -> ReadableSpan:
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


def _http_exporter(target: Target) -> SpanExporter:
    return HttpSpanExporter(
        endpoint=f"{target.http}/v1/traces",
        certificate_file=target.ca_file,
        client_key_file=target.client_key,
        client_certificate_file=target.client_cert,
        headers={"x-api-key": target.key},
        timeout=target.seconds,
    )


def _grpc_exporter(target: Target) -> SpanExporter:
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


def _ready(target: Target) -> Step:
    try:
        state = json.loads(_get(target, "/ready"))["status"]
    except (OSError, ValueError, KeyError) as error:
        return Step("ready", False, f"{target.http}/ready: {error}")
    return Step("ready", state == "ready", str(state))


def _get(target: Target, path: str) -> bytes:
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


def _send(name: str, exporter: SpanExporter, span: ReadableSpan) -> Step:
    with _complaints() as told:
        result = exporter.export([span])
    if result is SpanExportResult.SUCCESS:
        return Step(name, True, "acknowledged")
    return Step(name, False, "; ".join(told)[:500] or "refused")


@contextmanager
def _complaints() -> Iterator[list[str]]:
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


def _events(target: Target) -> dict[str, float] | None:
    """The receiver's counts of events by result, or None where /metrics cannot be had."""
    try:
        page = _get(target, "/metrics").decode()
        return {
            one.labels["result"]: one.value
            for family in text_string_to_metric_families(page)
            for one in family.samples
            if one.name == _EVENTS
        }
    except (OSError, ValueError):
        return None


def _recognised(name: str, before: dict[str, float] | None, after: dict[str, float] | None) -> Step:
    name = f"{name} resend is recognised"
    if before is None or after is None:
        return Step(name, None, "/metrics cannot be had")
    more = after.get("duplicate", 0) - before.get("duplicate", 0)
    return Step(name, more >= 1, f"{more:.0f} more duplicates counted")


def _in_store(sent: Sequence[ReadableSpan], args: argparse.Namespace) -> Iterator[Step]:
    tenants = set()
    try:
        with Reader(args.store, hot=args.hot, home=args.home) as reader:
            for span in sent:
                trace_id = f"{span.get_span_context().trace_id:032x}"
                rows = reader.rows(
                    "SELECT tenant FROM leaves WHERE trace_id = ? AND kind = 'event'", [trace_id]
                )
                tenants |= {str(row["tenant"]) for row in rows}
                yield Step("store", len(rows) == 1, f"trace {trace_id} is there {len(rows)} times")
    except StoreError as error:
        yield Step("store", False, str(error))
    for tenant in sorted(tenants):
        places = ["--store", str(args.store), "--home", str(args.home), "--hot", str(args.hot)]
        with redirect_stdout(io.StringIO()) as out:
            code = command_line(["verify", "--json", "--tenant", tenant, *places])
        try:
            told = str(json.loads(out.getvalue())["outcome"])
        except (ValueError, KeyError):
            told = "no answer"
        yield Step(f"verify {tenant}", code == 0, f"{told}, exit {code}")
