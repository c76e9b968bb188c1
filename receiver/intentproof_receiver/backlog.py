"""When to come back: a virtual queue of what is held and what was told to come back.

A fixed delay makes all that were refused come back together. Here each that is refused stands, in
thought, behind those before it: its delay is the bytes in front divided by the rate at which bytes
are finished. Pure but for the clock. Not thread-safe.
"""

import math
from collections.abc import Callable

RETRY_SECONDS_MIN, RETRY_SECONDS_MAX = 1, 60
REFUSED_BYTES_MIN = 256 << 10  # a request refused unread counts as some 500 spans
_MEMORY_SECONDS = 10.0  # of work that the measured rate looks back on
_GUESS_RATE = 8 << 20  # bytes a second, before anything was measured; counts as one second of work


class Backlog:
    """What one limit holds, and who waits outside of it. Times in seconds of `clock`."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._now = clock()
        self.held = 0
        self._promised = 0.0  # bytes that were told to come back, less what was finished since
        self._finished = 0.0  # bytes, fading
        self._worked = 0.0  # seconds with anything held, fading alike

    def hold(self, size: int) -> None:
        """`size` more bytes are held."""
        self._advance()
        self.held += size

    def give(self, size: int, *, finished: bool) -> None:
        """`size` bytes are held no more; `finished` where that was because they were taken."""
        self._advance()
        self.held -= size
        self._finished += size if finished else 0

    def refuse(self, size: int) -> int:
        """The delay of one that is refused, in whole seconds: the next one's is not shorter."""
        delay = self.delay()
        self._promised += max(size, REFUSED_BYTES_MIN)
        return delay

    def delay(self) -> int:
        """What one that were refused now would be told; from 1 to 60 seconds."""
        self._advance()
        wanted = math.ceil((self.held + self._promised) / self._rate())
        return min(max(wanted, RETRY_SECONDS_MIN), RETRY_SECONDS_MAX)

    def _rate(self) -> float:
        """Bytes a second, while there was anything to do."""
        return (self._finished + _GUESS_RATE) / (self._worked + 1.0)

    def _advance(self) -> None:
        """Let time pass: what was measured fades while there is work, what was promised goes."""
        now = self._clock()
        passed, self._now = max(0.0, now - self._now), now
        if self.held:
            fading = math.exp(-passed / _MEMORY_SECONDS)
            self._finished *= fading
            self._worked = self._worked * fading + _MEMORY_SECONDS * (1.0 - fading)
        rate = self._rate()
        # No more than is told to anyone, so that nobody pays long for clients that do not wait.
        told = min(self._promised, rate * RETRY_SECONDS_MAX)
        self._promised = max(0.0, told - rate * passed)
