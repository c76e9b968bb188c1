"""The sender: one daemon thread that sends what waits, and gives up only what it must.

1. A batch is taken from the queue, copied for the wire, and mapped, to warn of what the receiver
   will quarantine.
2. It is encoded and sent. An answer that asks for a retry is obeyed without end: while it
   lasts, the queue fills, and what no longer fits is dropped and counted there.
3. A request that is refused as such is halved, so that one bad span costs itself alone.
4. What the receiver took, rejected or refused for good is settled, counted, told once.
"""

import logging
import random
import threading
from collections.abc import Callable

from intentproof_schemas import SpanRejected
from opentelemetry import context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from .answers import Accepted, Answer, Refused, RetryLater, Transport
from .ended import EndedSpan, WireSpan, map_ended
from .event_queue import EventQueue, Waiting
from .exporter import Counters
from .guard import Faults, OnceLog
from .settings import HTTP, OtlpSettings, QueueSettings

_logger = logging.getLogger(__name__)


def open_transport(settings: OtlpSettings) -> Transport:
    """The transport that the settings ask for. May take long: grpc and requests are imported."""
    # Imported here, so that a program which imports the bridge does not pay for a network
    # library, before it sends and for the one that it does not use.
    if settings.protocol == HTTP:
        from .http_transport import HttpTransport

        return HttpTransport(settings)
    from .grpc_transport import GrpcTransport

    return GrpcTransport(settings)


class OtlpExporter:
    """Sends events over OTLP from a thread of its own, which the first event starts.

    Settings come from the environment where they are not given; SettingError is raised here
    and nowhere later. `export` does not block; see the README for what is lost when.
    """

    def __init__(
        self,
        otlp: OtlpSettings | None = None,
        *,
        queue: QueueSettings | None = None,
        transport: Callable[[OtlpSettings], Transport] = open_transport,
    ) -> None:
        self._otlp = otlp if otlp is not None else OtlpSettings.from_environment()
        self._settings = queue if queue is not None else QueueSettings.from_environment()
        self._open_transport = transport
        self._faults = Faults()
        self._once = OnceLog()
        self._left_to_parent: list[object] = []
        self._begin()

    def _begin(self) -> None:
        self._queue = EventQueue(self._settings)
        self._starting = threading.RLock()
        self._thread: threading.Thread | None = None
        self._transport: Transport | None = None
        self._closed = False

    def export(self, ended: EndedSpan) -> None:
        """Queue one event; a full queue drops it and counts that. Does not block."""
        if self._thread is None and not self._closed and not self._start():
            self._queue.drop_untaken("no_thread")
            return
        self._queue.put(ended)

    def _start(self) -> bool:
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(
                    target=self._run, args=(self._queue,), name="intentproof-sender", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError as error:  # the interpreter is going down, or out of threads
                    self._faults.caught("the start of the sender", error)
                    return False
                self._thread = thread
        return True

    def force_flush(self, timeout_millis: int) -> bool:
        """Send all that was taken so far; False if it took too long or something was lost."""
        return self._queue.flush(timeout_millis / 1000)

    def shutdown(self) -> None:
        """Send what is left within `shutdown_timeout_ms`, count what is not as dropped."""
        if self._closed:
            return
        self._closed = True
        done = self._queue.close(self._settings.shutdown_timeout_ms / 1000)
        if not done:
            dropped = self._queue.counters().dropped["shutdown"]
            _logger.error("IntentProof: shut down with %d events not sent; they are lost", dropped)
        transport = self._transport
        if transport is not None:
            transport.close()

    def after_fork(self) -> None:
        """Begin anew in a forked child: queue, thread and connection are the parent's."""
        # Kept, so that the child never finalises a channel whose threads exist in the parent.
        self._left_to_parent.append((self._queue, self._thread, self._transport))
        self._begin()

    def counters(self) -> Counters:
        """What became of the events so far; `errors` are faults of the sender's thread."""
        counted = self._queue.counters()
        return Counters(**{**vars(counted), "errors": self._faults.count})

    def _run(self, queue: EventQueue) -> None:
        _suppress_instrumentation()
        while (batch := queue.next_batch()) is not None:
            self._deliver(queue, self._copied(queue, batch))  # (1)

    def _copied(self, queue: EventQueue, batch: list[Waiting]) -> list[tuple[Waiting, WireSpan]]:
        copied = []
        for waiting in batch:
            try:
                span = waiting.ended.wire_span()
                mapped = map_ended(span)
            except Exception as error:  # noqa: BLE001 - a bad span must not stop the sender
                self._faults.caught("copying a span", error)
                queue.settle([waiting], dropped="not_encodable")
                continue
            copied.append((waiting, span))
            if isinstance(mapped, SpanRejected):
                queue.count_quarantinable(1)
                if self._once.is_first(f"quarantine {mapped.reason} {mapped.field}"):
                    _logger.warning(
                        "IntentProof: the receiver will quarantine the span %r: %s",
                        span.name,
                        mapped,
                    )
        return copied

    def _deliver(self, queue: EventQueue, batch: list[tuple[Waiting, WireSpan]]) -> None:
        parts = [batch] if batch else []
        while parts:
            part = parts.pop()
            answer = self._answer(queue, [span for _, span in part])  # (2)
            if isinstance(answer, RetryLater):
                return  # shut down meanwhile: the queue has counted them
            if isinstance(answer, Refused) and answer.splittable and len(part) > 1:  # (3)
                half = len(part) // 2
                parts += (part[half:], part[:half])
                continue
            self._settle(queue, [waiting for waiting, _ in part], answer)  # (4)

    def _answer(self, queue: EventQueue, spans: list[WireSpan]) -> Answer:
        """The receiver's last word: RetryLater only if there is no time left to retry in."""
        try:
            body = encode_spans(spans).SerializeToString()
        except Exception as error:  # noqa: BLE001 - a time beyond 64 bits, and what else may come
            return Refused("not_encodable", str(error), splittable=True)
        backoff_ms = self._settings.retry_delay_ms_min
        while True:
            try:
                if self._transport is None:
                    self._transport = self._open_transport(self._otlp)
                answer = self._transport.send(body)
            except Exception as error:  # noqa: BLE001 - a fault of ours must not stop the sender
                self._faults.caught("sending", error)
                return Refused("error", str(error))
            if not isinstance(answer, RetryLater):
                return answer
            self._tell_retry(answer)
            delay_s = backoff_ms / 1000 * random.uniform(0.8, 1.2)  # noqa: S311 - only jitter
            backoff_ms = min(backoff_ms * 2, self._settings.retry_delay_ms_max)
            asked_s = answer.delay_s
            if not queue.pause(delay_s if asked_s is None else asked_s, may_hurry=asked_s is None):
                return answer
            queue.count_retried(len(spans))

    def _settle(self, queue: EventQueue, batch: list[Waiting], answer: Accepted | Refused) -> None:
        if isinstance(answer, Refused):
            if self._once.is_first(answer.reason):
                _logger.error(
                    "IntentProof: the receiver refused %d events for good (%s: %s); they are "
                    "lost, further ones are only counted",
                    len(batch),
                    answer.reason,
                    answer.message,
                )
            queue.settle(batch, dropped=answer.reason)
            return
        self._once.forget("retry")
        rejected = min(max(answer.rejected, 0), len(batch))
        if rejected and self._once.is_first("rejected"):
            _logger.error("IntentProof: %d spans were rejected: %s", rejected, answer.message)
        elif answer.message and self._once.is_first("warned"):
            _logger.warning("IntentProof: the receiver warns: %s", answer.message)
        queue.settle(batch, rejected=rejected)

    def _tell_retry(self, answer: RetryLater) -> None:
        if self._once.is_first("retry"):
            _logger.warning(
                "IntentProof: %s cannot take events now (%s: %s); they wait, and are retried",
                self._otlp.endpoint,
                answer.reason,
                answer.message,
            )


def _suppress_instrumentation() -> None:
    """Keep instrumented HTTP and gRPC libraries from tracing this thread."""
    # The key is private in the API; instrumentations also read the plain one.
    keys = ("suppress_instrumentation", getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", None))
    current = context.get_current()
    for key in keys:
        if key is not None:
            current = context.set_value(key, True, current)  # noqa: FBT003 - the API's signature
    context.attach(current)
