"""What a log tells of its own silences: heartbeats, restarts, a clock that went back. Pure.

Every leaf is a sign of life. A log in which nothing happens for an interval appends a heartbeat;
one that could not, because its receiver was down, tells that in a `gap` leaf when it is back.
"""

from dataclasses import dataclass
from typing import Any

STEP_NS = 10**9  # contract §4: a step of the clock of over one second is told in the log
SECOND_NS = 10**9


@dataclass(frozen=True)
class Restart:
    """A receiver that was not running: from a log's last leaf until its start.

    `stopped_ns` is when it stopped of its own will, None where it was killed.
    """

    from_ns: int
    to_ns: int
    stopped_ns: int | None

    def detail(self, interval_seconds: float) -> dict[str, Any]:
        """The detail of the `gap` leaf that tells it, with the interval promised from then on."""
        detail: dict[str, Any] = {
            "from_ns": str(self.from_ns),
            "interval_ms": interval_ms(interval_seconds),
            "message": "the receiver was killed or lost its machine, and started again"
            if self.stopped_ns is None
            else "the receiver was stopped, and started again",
            "reason": "restart",
            "to_ns": str(self.to_ns),
        }
        if self.stopped_ns is not None:
            detail["stopped_ns"] = str(self.stopped_ns)
        return detail


def restart_of(last_received_ns: int, now_ns: int, stopped_ns: int | None) -> Restart | None:
    """The restart that a log has to tell; None where no more than a second passed."""
    if now_ns - last_received_ns <= STEP_NS:
        return None
    if stopped_ns is not None and not last_received_ns <= stopped_ns <= now_ns:
        stopped_ns = None  # by another clock, or of another life: it says nothing of this silence
    return Restart(last_received_ns, now_ns, stopped_ns)


def step_back(last_received_ns: int, received_ns: int) -> dict[str, str] | None:
    """The detail of the `gap` leaf for a clock that went back; None where it did not."""
    if received_ns >= last_received_ns - STEP_NS:
        return None
    return {
        "from_ns": str(last_received_ns),
        "message": "the wall clock of the receiver went back",
        "reason": "clock_step_back",
        "to_ns": str(received_ns),
    }


def heartbeat(interval_seconds: float) -> dict[str, int]:
    """The detail of a heartbeat."""
    return {"interval_ms": interval_ms(interval_seconds)}


def interval_ms(seconds: float) -> int:
    """An interval as leaves tell it."""
    return max(1, round(seconds * 1000))
