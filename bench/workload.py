"""The same spans for everything that is measured: 8 attributes, about 550 bytes."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

SPANS_A_REQUEST = 512  # as the batch processors of the OpenTelemetry SDKs send by default
SPANS_A_TRACE = 10
START_NS = 1_795_263_000_000_000_000
_TRACE_ID, _SPAN_ID = b"\x0a\x10", b"\x12\x08"  # tag and length, as a span begins


@dataclass(frozen=True)
class Workload:
    """Request bytes, how many spans they hold, and one trace id that is among them."""

    requests: list[bytes]
    spans: int
    span_bytes: float
    trace_id: str


def make_workload(spans: int, *, seed: int = 1, spans_a_request: int = SPANS_A_REQUEST) -> Workload:
    """Requests with the spans of many traces at once, as they arrive from many programs."""
    random_bytes = random.Random(seed)  # the same bytes in each run
    requests = []
    total = 0
    trace = b""
    made = 0
    while made < spans:
        count = min(spans_a_request, spans - made)
        request = ExportTraceServiceRequest()
        resource_spans = request.resource_spans.add()
        resource_spans.resource.attributes.append(_text("service.name", "refunds"))
        resource_spans.resource.attributes.append(_text("service.version", "4.2.0"))
        scope_spans = resource_spans.scope_spans.add()
        scope_spans.scope.name = "shop.payments"
        traces = [random_bytes.randbytes(16) for _ in range(count // SPANS_A_TRACE + 1)]
        trace = traces[0]
        for place in range(count):
            span = _span(random_bytes, traces[place % len(traces)], made + place)
            total += span.ByteSize()
            scope_spans.spans.append(span)
        requests.append(request.SerializeToString())
        made += count
    return Workload(requests, spans, total / spans, trace.hex())


def _span(random_bytes: random.Random, trace_id: bytes, number: int) -> Span:
    amount = random_bytes.randrange(100, 100_000)
    start = START_NS + number * 1_000_003
    span = Span(
        trace_id=trace_id,
        span_id=random_bytes.randbytes(8),
        parent_span_id=random_bytes.randbytes(8),
        name="POST /refunds",
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=start,
        end_time_unix_nano=start + random_bytes.randrange(1_000_000, 400_000_000),
        status=Status(code=Status.STATUS_CODE_OK),
        flags=0x101,
    )
    charge = random_bytes.randbytes(12).hex()
    span.attributes.extend(
        [
            _text("intentproof.intent", "Return captured funds to the customer"),
            _text("intentproof.action", "stripe.refund.create"),
            _text("intentproof.correlation_id", f"order-{number // 3:08d}"),
            _text(
                "intentproof.inputs",
                f'{{"amount":{amount},"charge":"ch_{charge}","currency":"EUR",'
                '"reason":"requested_by_customer"}',
            ),
            _text("intentproof.output", f'{{"id":"re_{charge}","status":"succeeded"}}'),
            _text("http.request.method", "POST"),
            KeyValue(key="http.response.status_code", value=AnyValue(int_value=200)),
            _text("user.id", f"customer-{number % 5000}"),
        ]
    )
    return span


def _text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


class Again:
    """Requests without end: those of a workload over and over, each time with other ids.

    A trace id and a span id are exclusive-ored with bytes that are new for each request, so that
    spans of one trace stay together and no event comes twice. All else of a span comes again.
    """

    def __init__(self, workload: Workload) -> None:
        self._templates = [_Template.of(raw) for raw in workload.requests]
        self._random = np.random.default_rng()

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        while True:
            for template in self._templates:
                yield template.filled(self._random), len(template.at)


@dataclass(frozen=True)
class _Template:
    """A request's bytes, where the ids of each span stand in it, and these ids."""

    raw: bytes
    at: NDArray[np.int64]
    ids: NDArray[np.uint8]

    @classmethod
    def of(cls, raw: bytes) -> "_Template":
        begins, place = [], 0
        for resource_spans in ExportTraceServiceRequest.FromString(raw).resource_spans:
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    head = _TRACE_ID + span.trace_id + _SPAN_ID + span.span_id
                    place = raw.index(head, place)
                    begins.append(place)
        offsets = [*range(2, 18), *range(20, 28)]
        at = np.array(begins, np.int64)[:, None] + np.array(offsets, np.int64)
        return cls(raw, at, np.frombuffer(raw, np.uint8)[at])

    def filled(self, random_bytes: np.random.Generator) -> bytes:
        """The request with other ids."""
        made = np.frombuffer(self.raw, np.uint8).copy()
        made[self.at] = self.ids ^ np.frombuffer(random_bytes.bytes(24), np.uint8)
        return made.tobytes()
