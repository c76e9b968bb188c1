"""An exporter for users' tests: events can be looked at as soon as their span has ended."""

import threading

from intentproof_schemas import ExecutionEvent, SpanRejected

from .ended import EndedSpan, WireSpan, map_ended
from .exporter import Counters


class InMemoryExporter:
    """Keeps every event in the process, as the receiver would make it.

    `events` are the events; `rejected` says why other intent spans would be quarantined, so that
    a test can assert that there are none; `spans` is what would go over the wire. Lists grow in
    the order in which spans end. Any thread may call; nothing blocks.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._dropped = 0
        self.events: list[ExecutionEvent] = []
        self.rejected: list[SpanRejected] = []
        self.spans: list[WireSpan] = []

    def clear(self) -> None:
        """Forget everything kept so far. Numbering goes on."""
        with self._lock:
            self.events.clear()
            self.rejected.clear()
            self.spans.clear()

    def export(self, ended: EndedSpan) -> None:
        """Map one span and keep what comes of it."""
        span = ended.wire_span()
        mapped = map_ended(span)
        with self._lock:
            if self._closed:
                self._dropped += 1
                return
            self.spans.append(span)
            if isinstance(mapped, ExecutionEvent):
                self.events.append(mapped)
            elif mapped is not None:
                self.rejected.append(mapped)

    def force_flush(self, timeout_millis: int) -> bool:  # noqa: ARG002 - nothing ever waits
        """True: nothing waits here."""
        return True

    def shutdown(self) -> None:
        """Keep nothing more. What was kept stays."""
        self._closed = True

    def after_fork(self) -> None:
        """Begin empty in a forked child."""
        self._lock = threading.Lock()
        self.clear()

    def counters(self) -> Counters:
        """`sent` counts the events kept, `quarantinable` the rejected spans."""
        with self._lock:
            return Counters(
                sent=len(self.events),
                quarantinable=len(self.rejected),
                dropped={"shutdown": self._dropped} if self._dropped else {},
            )
