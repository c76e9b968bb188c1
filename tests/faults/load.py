"""What applications send, and what was acknowledged to them."""

import http.client
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

SPANS_A_BATCH = 100
_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_RETRYABLE_CODES = {
    *(grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED),
    *(grpc.StatusCode.ABORTED, grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.DATA_LOSS),
}
_RETRYABLE_STATUSES = {429, 502, 503, 504}
_CALL_SECONDS = 20.0
_RESEND_SECONDS = 0.2


@dataclass(frozen=True)
class Batch:
    """One OTLP request, and the ids of its spans."""

    raw: bytes
    span_ids: frozenset[str]


class NotTaken(Exception):
    """No acknowledgement came: send it again."""


class Refused(Exception):
    """A permanent answer: an application would drop the batch now."""


Client = Callable[[bytes], None]  # returns when acknowledged; raises NotTaken or Refused


def grpc_client(address: str, key: str = "") -> Client:
    """Sends to OTLP/gRPC, over one channel that connects again soon."""
    options = [("grpc.max_reconnect_backoff_ms", 500), ("grpc.use_local_subchannel_pool", 1)]
    channel = grpc.insecure_channel(address, options=options)
    call: Any = channel.unary_unary(_EXPORT)
    metadata = (("x-api-key", key),) if key else ()

    def send(raw: bytes) -> None:
        try:
            _check(call(raw, timeout=_CALL_SECONDS, metadata=metadata))
        except grpc.RpcError as error:
            found: Any = error
            kind = NotTaken if found.code() in _RETRYABLE_CODES else Refused
            raise kind(f"{found.code().name}: {found.details()}") from error

    return send


def http_client(address: str, key: str = "") -> Client:
    """Sends to OTLP/HTTP, each batch over a connection of its own."""
    headers = {"content-type": "application/x-protobuf"} | ({"x-api-key": key} if key else {})

    def send(raw: bytes) -> None:
        connection = http.client.HTTPConnection(address, timeout=_CALL_SECONDS)
        try:
            connection.request("POST", "/v1/traces", body=raw, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise NotTaken(str(error)) from error
        finally:
            connection.close()
        if answer.status != http.client.OK:
            kind = NotTaken if answer.status in _RETRYABLE_STATUSES else Refused
            raise kind(f"{answer.status} {body!r}")
        _check(body)

    return send


def _check(answer: bytes) -> None:
    partial = ExportTraceServiceResponse.FromString(answer).partial_success
    if partial.rejected_spans or partial.error_message:
        raise Refused(partial.error_message)


@dataclass
class Load:
    """New spans at a rate, from a thread for each client, until `finish` or the block ends.

    Each batch is sent again until it is acknowledged, as the clients of OpenTelemetry do.
    """

    clients: Sequence[Client]
    spans_a_second: int
    payload_bytes: int = 100
    acknowledged: list[Batch] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    resends: int = 0

    def __post_init__(self) -> None:
        self._no_more = threading.Event()
        self._give_up = threading.Event()
        self._threads = [
            threading.Thread(target=self._send_batches, args=(client,)) for client in self.clients
        ]

    @property
    def span_ids(self) -> set[str]:
        """The spans that were acknowledged."""
        return {span_id for batch in list(self.acknowledged) for span_id in batch.span_ids}

    def send_for(self, seconds: float) -> None:
        """Let it go on for some time."""
        self._give_up.wait(seconds)

    def finish(self, *, within_s: float = 240) -> None:
        """Make nothing new; return when all that was made is acknowledged, and nothing refused."""
        self._no_more.set()
        deadline = time.monotonic() + within_s
        for thread in self._threads:
            thread.join(max(0, deadline - time.monotonic()))
            assert not thread.is_alive(), f"a batch was not acknowledged in {within_s} s"
        assert self.refusals == []

    def send_again(self) -> int:
        """Send what was acknowledged so far once more; how many spans that are."""
        batches = list(self.acknowledged)
        for batch in batches:
            self.clients[0](batch.raw)
        return sum(len(batch.span_ids) for batch in batches)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._no_more.set()
        self._give_up.set()
        for thread in self._threads:
            thread.join()

    def _send_batches(self, client: Client) -> None:
        pause = SPANS_A_BATCH * len(self.clients) / self.spans_a_second
        due = time.monotonic()
        while not self._no_more.wait(max(0, due - time.monotonic())):
            due = max(due + pause, time.monotonic())
            self._send(client, make_batch(payload_bytes=self.payload_bytes))

    def _send(self, client: Client, batch: Batch) -> None:
        while not self._give_up.is_set():
            try:
                client(batch.raw)
            except NotTaken:
                self.resends += 1
                self._give_up.wait(_RESEND_SECONDS)
            except Refused as refused:
                self.refusals.append(str(refused))
                return
            else:
                self.acknowledged.append(batch)
                return


def make_batch(*, payload_bytes: int = 100) -> Batch:
    """New annotated spans, each with a random payload, which no compression makes small."""
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.append(_text("service.name", "refunds"))
    scope_spans = resource_spans.scope_spans.add()
    span_ids = set()
    for _ in range(SPANS_A_BATCH):
        end = time.time_ns()
        noise = os.urandom(payload_bytes // 2).hex()
        span = scope_spans.spans.add(
            trace_id=os.urandom(16),
            span_id=os.urandom(8),
            name="POST /refunds",
            start_time_unix_nano=end - 1_000_000,
            end_time_unix_nano=end,
            attributes=[
                _text("intentproof.intent", "Return captured funds to the customer"),
                _text("intentproof.action", "refund.create"),
                _text("intentproof.inputs", f'{{"charge":"{noise}"}}'),
            ],
        )
        span_ids.add(span.span_id.hex())
    return Batch(request.SerializeToString(), frozenset(span_ids))


def _text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))
