"""The same spans for everything that is measured: 512 a request, 8 attributes, about 550 bytes."""

import random
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

SPANS_A_REQUEST = 512
SPANS_A_TRACE = 10
START_NS = 1_795_263_000_000_000_000


@dataclass(frozen=True)
class Workload:
    """Request bytes, how many spans they hold, and one trace id that is among them."""

    requests: list[bytes]
    spans: int
    span_bytes: float
    trace_id: str


def make_workload(spans: int, *, seed: int = 1, now_ns: int = START_NS) -> Workload:
    """Requests with the spans of many traces at once, as they arrive from many programs."""
    random_bytes = random.Random(seed)  # the same bytes in each run
    requests = []
    total = 0
    trace = b""
    made = 0
    while made < spans:
        count = min(SPANS_A_REQUEST, spans - made)
        request = ExportTraceServiceRequest()
        resource_spans = request.resource_spans.add()
        resource_spans.resource.attributes.append(_text("service.name", "refunds"))
        resource_spans.resource.attributes.append(_text("service.version", "4.2.0"))
        scope_spans = resource_spans.scope_spans.add()
        scope_spans.scope.name = "shop.payments"
        traces = [random_bytes.randbytes(16) for _ in range(count // SPANS_A_TRACE + 1)]
        trace = traces[0]
        for place in range(count):
            span = _span(random_bytes, traces[place % len(traces)], made + place, now_ns)
            total += span.ByteSize()
            scope_spans.spans.append(span)
        requests.append(request.SerializeToString())
        made += count
    return Workload(requests, spans, total / spans, trace.hex())


def _span(random_bytes: random.Random, trace_id: bytes, number: int, now_ns: int) -> Span:
    amount = random_bytes.randrange(100, 100_000)
    start = now_ns + number * 1_000_003
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
