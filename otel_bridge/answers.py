"""What a receiver may answer, and the one table that says which answers ask for a retry.

OTLP specification 1.x: gRPC codes under "Failures", HTTP statuses under "Retryable Response
Codes". What is neither success nor retryable is permanent.
"""

import math
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Protocol, TypeAlias

RETRYABLE_GRPC = frozenset(
    (
        "CANCELLED",
        "DEADLINE_EXCEEDED",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNAVAILABLE",
        "DATA_LOSS",
    )
)
RETRYABLE_GRPC_WITH_DELAY = frozenset(("RESOURCE_EXHAUSTED",))
RETRYABLE_HTTP = frozenset((429, 502, 503, 504))

# The request itself is refused: smaller ones may pass, so that one span costs itself alone.
SPLITTABLE_GRPC = frozenset(("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"))
SPLITTABLE_HTTP = frozenset((400, 413))

DELAY_S_MAX = 300.0  # no receiver can silence a program for longer


@dataclass(frozen=True)
class Accepted:
    """The receiver has the request; it refused `rejected` of its spans and says why."""

    rejected: int = 0
    message: str = ""


@dataclass(frozen=True)
class RetryLater:
    """Try again, after `delay_s` where the receiver named one."""

    reason: str
    message: str = ""
    delay_s: float | None = None


@dataclass(frozen=True)
class Refused:
    """No retry can help. `splittable`: smaller requests may pass."""

    reason: str
    message: str = ""
    splittable: bool = False


Answer: TypeAlias = Accepted | RetryLater | Refused


class Transport(Protocol):
    """One way to the receiver. Used by one thread, but `close` may come from another."""

    def send(self, body: bytes) -> Answer:
        """Send one ExportTraceServiceRequest. Blocks at most for the configured timeout."""

    def close(self) -> None:
        """Give up what is under way and release the connection. Does not block."""


def grpc_answer(code: str, message: str, delay_s: float | None) -> Answer:
    """The answer that a gRPC status means; `code` is its name, `delay_s` from RetryInfo."""
    if code in RETRYABLE_GRPC or (code in RETRYABLE_GRPC_WITH_DELAY and delay_s is not None):
        return RetryLater(f"grpc_{code}", message, bounded_delay(delay_s))
    return Refused(f"grpc_{code}", message, splittable=code in SPLITTABLE_GRPC)


def http_answer(status: int, message: str, retry_after: str | None) -> Answer:
    """The answer that an HTTP status other than 2xx means."""
    if status in RETRYABLE_HTTP:
        return RetryLater(f"http_{status}", message, bounded_delay(read_retry_after(retry_after)))
    return Refused(f"http_{status}", message, splittable=status in SPLITTABLE_HTTP)


def bounded_delay(delay_s: float | None) -> float | None:
    """A delay within 0 and DELAY_S_MAX, None where the receiver named none that can be read."""
    if delay_s is None or math.isnan(delay_s):
        return None
    return min(max(delay_s, 0.0), DELAY_S_MAX)


def read_retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header: a number, or an HTTP date (RFC 9110 section 10.2.3)."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
