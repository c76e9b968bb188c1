"""What the processor hands ended spans to, and what it can tell of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from .ended import EndedSpan


@dataclass(frozen=True, kw_only=True)
class Counters:
    """What became of the events of one processor in this process, at one moment.

    sent: acknowledged by the receiver. retried: sent again after an answer that asked for it or
    a broken connection, counted each time. rejected: refused by the receiver while it took the
    rest of their request. quarantinable: sent, but by our own mapping the receiver will put them
    into quarantine. dropped: given up, by reason. queued: not yet acknowledged. errors: faults
    of the bridge itself, or of an exporter, that the program was kept from seeing.
    """

    sent: int = 0
    retried: int = 0
    rejected: int = 0
    quarantinable: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    queued: int = 0
    errors: int = 0


class Exporter(Protocol):
    """Takes the events of one processor. Every method may be called from any thread."""

    def export(self, ended: EndedSpan) -> None:
        """Take one event. Runs on the thread that ended the span: must not block."""

    def force_flush(self, timeout_millis: int) -> bool:
        """Whether all that was taken so far was acknowledged. Blocks at most that long."""

    def shutdown(self) -> None:
        """Take nothing more, send what is left within the exporter's own limit of time."""

    def after_fork(self) -> None:
        """Begin anew in a forked child: what waits belongs to the parent."""

    def counters(self) -> Counters:
        """What became of the events so far. Does not block."""
