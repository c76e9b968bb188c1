"""What several tests of the receiver share: a ledger in memory, requests, a running service."""

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pyarrow as pa
import uvicorn
from intentproof_receiver import grpc_server
from intentproof_receiver.client_certificates import MappingStore
from intentproof_receiver.decode import Block, Decoded, Request
from intentproof_receiver.export import Exporter
from intentproof_receiver.fair import FairPool
from intentproof_receiver.http_listener import HttpServer, bind
from intentproof_receiver.http_server import make_app
from intentproof_receiver.inflight import Budget
from intentproof_receiver.intake import Intake
from intentproof_receiver.key_commands import create_key
from intentproof_receiver.keys import KeyStore
from intentproof_receiver.metrics import Metrics
from intentproof_receiver.quotas import NO_QUOTAS, Quotas
from intentproof_receiver.status_metrics import LedgerCollector
from intentproof_receiver.usage import Usage
from intentproof_schemas import ExecutionEvent
from intentproof_store import Appended, LedgerStatus, TenantStatus, Undecodable
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

TRACE_ID = bytes(range(16))
PROTOBUF = "application/x-protobuf"
JSON = "application/json"
MESSAGE_BYTES_MAX = 1 << 20


def events_of(columns: pa.RecordBatch) -> list[ExecutionEvent]:
    """Events from columns, in which null is what an event has as nothing."""
    empty: Any = [0 if kind == pa.int64() else "" for kind in columns.schema.types]
    nothing = ExecutionEvent(*empty)._replace(output=None, error=None)
    columns.validate(full=True)
    return [
        nothing._replace(**{name: value for name, value in row.items() if value is not None})
        for row in columns.to_pylist()
    ]


def spans_of(request: Request) -> list[Decoded]:
    """A request's spans, one by one."""
    found: list[Decoded] = []
    for part in request.parts:
        if isinstance(part, Block):
            found += part.decoded(range(len(part.raws)))
        else:
            found.append(part)
    return found


@dataclass
class FakeLedger:
    """A ledger in memory, which fails with `fault` where one is set."""

    events: list[tuple[str, ExecutionEvent]] = field(default_factory=list)
    undecodable: list[tuple[str, Undecodable]] = field(default_factory=list)
    calls: int = 0
    fault: Exception | None = None
    healthy: bool = True
    gate: threading.Event | None = None

    def append(
        self,
        tenant: str,
        events: Sequence[ExecutionEvent] | pa.RecordBatch,
        undecodable: Sequence[Undecodable] = (),
    ) -> "Future[Appended]":
        self.calls += 1
        if isinstance(events, pa.RecordBatch):
            events = events_of(events)
        if self.gate is not None:
            self.gate.wait(20)
        future: Future[Appended] = Future()
        if self.fault is not None:
            future.set_exception(self.fault)
            return future
        self.events += [(tenant, event) for event in events]
        self.undecodable += [(tenant, one) for one in undecodable]
        future.set_result(
            Appended(stored=len(events), duplicates=0, conflicts=0, quarantined=len(undecodable))
        )
        return future

    def status(self) -> LedgerStatus:
        return LedgerStatus(
            writer="w-00000000",
            tenants={tenant: TenantStatus(1, 1, 0, 1, 0, 0, 0) for tenant, _ in self.events},
            queued=0,
            queued_bytes=0,
            healthy=self.healthy,
            fault=None,
            sealed_segments=0,
            frames=self.calls,
            fsync_seconds_total=0.0,
        )


def span_message(number: int = 1, **attributes: Any) -> SpanMessage:
    """An annotated span; keyword `x_y` becomes the attribute `intentproof.x_y`."""
    message = SpanMessage(
        trace_id=TRACE_ID,
        span_id=number.to_bytes(8, "big"),
        name="refund",
        kind=SpanMessage.SPAN_KIND_CLIENT,
        start_time_unix_nano=1_700_000_000_000_000_000,
        end_time_unix_nano=1_700_000_000_500_000_000,
    )
    for key, value in ({"intent": "Return captured funds"} | attributes).items():
        message.attributes.add(key=f"intentproof.{key}").value.string_value = value
    return message


def field_bytes(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """A protobuf varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def request_bytes(
    *spans: "SpanMessage | bytes", resource: bytes = b"", scope: bytes = b""
) -> bytes:
    """An export request of spans that may be damaged, under one resource and scope."""
    raws = [span if isinstance(span, bytes) else span.SerializeToString() for span in spans]
    scope_spans = field_bytes(1, scope) + b"".join(field_bytes(2, raw) for raw in raws)
    return field_bytes(1, field_bytes(1, resource) + field_bytes(2, scope_spans))


def attribute_bytes(key: bytes, value: bytes) -> bytes:
    """A span's attribute, field number included; `value` is an AnyValue."""
    return field_bytes(9, field_bytes(1, key) + field_bytes(2, value))


def nested_value(levels: int, *, maps: bool = False) -> bytes:
    """An AnyValue with so many levels of arrays or maps around a string."""
    raw = field_bytes(1, b"x")
    for _ in range(levels):
        if maps:
            raw = field_bytes(6, field_bytes(1, field_bytes(1, b"k") + field_bytes(2, raw)))
        else:
            raw = field_bytes(5, field_bytes(1, raw))
    return raw


def json_request(*spans: Any, resource: Any = None) -> bytes:
    """An OTLP/JSON request."""
    scope_spans = {"scope": {"name": "lib"}, "spans": list(spans)}
    return json.dumps(
        {"resourceSpans": [{"resource": resource or {}, "scopeSpans": [scope_spans]}]}
    ).encode()


def json_span(number: int = 1, **members: Any) -> dict[str, Any]:
    """An annotated span in OTLP/JSON."""
    span = {
        "traceId": TRACE_ID.hex().upper(),
        "spanId": f"{number:016x}",
        "name": "refund",
        "kind": 3,
        "startTimeUnixNano": "1700000000000000000",
        "endTimeUnixNano": 1_700_000_000_500_000_000,
        "attributes": [
            {"key": "intentproof.intent", "value": {"stringValue": "Return captured funds"}}
        ],
    }
    return span | members


def parsed(raw: bytes) -> ExportTraceServiceRequest:
    """A request that the protobuf library reads."""
    return ExportTraceServiceRequest.FromString(raw)


@dataclass
class Service:
    """A running receiver over a ledger in memory, with one key of tenant `acme`."""

    ledger: FakeLedger
    home: Path
    key: str
    key_id: str
    grpc: str
    http_port: int
    intake: Intake
    metrics: Metrics

    def call(
        self,
        body: bytes = b"",
        *,
        method: str = "POST",
        path: str = "/v1/traces",
        headers: "dict[str, str] | None" = None,
        key: str | None = "",
    ) -> tuple[int, dict[str, str], bytes]:
        """One HTTP request: status, headers in lower case, body. `key` None sends none."""
        sent = {"content-type": PROTOBUF} | (headers or {})
        if key is not None:
            sent["x-api-key"] = key or self.key
        connection = HTTPConnection("127.0.0.1", self.http_port, timeout=20)
        try:
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            got = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, got, answer.read()
        finally:
            connection.close()


@contextmanager
def running_service(
    home: Path,
    *,
    bytes_in_flight_max: int = 4 << 20,
    tenant_bytes_max: int | None = None,
    quotas: Quotas = NO_QUOTAS,
) -> Iterator[Service]:
    """A receiver on free ports, on a loop in a thread of its own."""
    ledger = FakeLedger()
    record, key = create_key(home, tenant="acme")
    metrics = Metrics()
    metrics.registry.register(LedgerCollector(ledger.status))
    pool = FairPool(4)
    intake = Intake(
        exporter=Exporter(keys=KeyStore(home), mappings=MappingStore(home), ledger=ledger),
        budget=Budget(
            bytes_max=bytes_in_flight_max, requests_max=64, tenant_bytes_max=tenant_bytes_max
        ),
        metrics=metrics,
        pool=pool,
        usage=Usage(quotas),
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    run = _Running(ledger, intake, metrics)
    try:
        grpc_port, http_port = asyncio.run_coroutine_threadsafe(run.start(), loop).result(20)
        yield Service(
            ledger,
            home,
            key,
            record.id,
            f"127.0.0.1:{grpc_port}",
            http_port,
            intake,
            metrics,
        )
    finally:
        asyncio.run_coroutine_threadsafe(run.stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()
        pool.shutdown()


class _Running:
    """Both servers, started and stopped inside their loop."""

    def __init__(self, ledger: FakeLedger, intake: Intake, metrics: Metrics) -> None:
        self._ledger, self._intake, self._metrics = ledger, intake, metrics

    async def start(self) -> tuple[int, int]:
        self._grpc, grpc_port = grpc_server.bind("127.0.0.1:0", message_bytes_max=MESSAGE_BYTES_MAX)
        grpc_server.add_export(self._grpc, self._intake)
        await self._grpc.start()
        app = make_app(
            intake=self._intake,
            metrics=self._metrics,
            status=self._ledger.status,
            message_bytes_max=MESSAGE_BYTES_MAX,
        )
        self._listener = bind("127.0.0.1:0")
        self._http = HttpServer(uvicorn.Config(app, log_config=None, lifespan="off"))
        self._task = asyncio.create_task(self._http.serve(sockets=[self._listener]))
        await self._http.listening.wait()
        return grpc_port, self._listener.getsockname()[1]

    async def stop(self) -> None:
        self._http.should_exit = True
        await self._task
        await self._grpc.stop(None)
