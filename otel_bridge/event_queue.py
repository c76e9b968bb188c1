"""The bounded queue between the program's threads and the sender's one thread.

Every event that is taken is settled exactly once: sent, rejected or dropped. Settling goes in
the order of taking, which is what lets `flush` say what became of everything before it.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple

from .ended import EndedSpan
from .exporter import Counters
from .settings import QueueSettings


class Waiting(NamedTuple):
    """An event in the queue, and about how many bytes it weighs."""

    ended: EndedSpan
    size: int


class _Flush:
    """One call of `flush`: how many events it waits for, and whether none of them was lost."""

    __slots__ = ("intact", "target")

    def __init__(self, target: int) -> None:
        self.target = target
        self.intact = True


class EventQueue:
    """Bounded in number and bytes; the newest is dropped when full, and counted.

    The lock is held for moments only, never while something is sent. It may be taken again by
    the thread that holds it: a signal handler may end spans.
    """

    def __init__(self, settings: QueueSettings) -> None:
        self._settings = settings
        self._changed = threading.Condition()
        self._waiting: deque[tuple[float, Waiting]] = deque()
        self._bytes = 0  # waiting and in flight
        self._taken = 0
        self._settled = 0
        self._hurries = 0  # flushes and closings so far: each ends a pause
        self._hurries_seen = 0
        self._flushes: list[_Flush] = []
        self._closing = False
        self._abandoned = False
        self._sent = self._retried = self._rejected = self._quarantinable = 0
        self._dropped: Counter[str] = Counter()

    def put(self, ended: EndedSpan) -> None:
        """Take one event, or count why not. Does not block."""
        size = ended.bytes_estimate()
        with self._changed:
            if self._closing:
                self._dropped["shutdown"] += 1
            elif (
                self._taken - self._settled >= self._settings.queue_size
                or self._bytes + size > self._settings.queue_bytes
            ):
                self._dropped["queue_full"] += 1
            else:
                self._waiting.append((time.monotonic(), Waiting(ended, size)))
                self._taken += 1
                self._bytes += size
                if len(self._waiting) in (1, self._settings.batch_size):
                    self._changed.notify_all()

    def drop_untaken(self, reason: str) -> None:
        """Count an event that never came into the queue."""
        with self._changed:
            self._dropped[reason] += 1

    def next_batch(self) -> list[Waiting] | None:
        """The events to send next; None when closed and done.

        Blocks until there are enough, the oldest is due, or somebody waits for them.
        """
        with self._changed:
            while not self._abandoned:
                remaining_s = self._remaining_s()
                if remaining_s is not None and remaining_s <= 0:
                    self._hurries_seen = self._hurries
                    return self._batch()
                if self._closing and not self._waiting:
                    return None
                self._changed.wait(remaining_s)
            return None

    def _remaining_s(self) -> float | None:
        if not self._waiting:
            return None
        if self._closing or self._flushes or len(self._waiting) >= self._settings.batch_size:
            return 0
        due = self._waiting[0][0] + self._settings.schedule_delay_ms / 1000
        return due - time.monotonic()

    def _batch(self) -> list[Waiting]:
        """As many as fit; at least one, however large."""
        batch: list[Waiting] = []
        size = 0
        while self._waiting and len(batch) < self._settings.batch_size:
            waiting = self._waiting[0][1]
            if batch and size + waiting.size > self._settings.batch_bytes:
                break
            size += waiting.size
            batch.append(waiting)
            self._waiting.popleft()
        return batch

    def settle(
        self, batch: Sequence[Waiting], *, rejected: int = 0, dropped: str | None = None
    ) -> None:
        """Say what became of events that `next_batch` gave.

        All were sent but for `rejected` of them, or all dropped for one reason.
        """
        with self._changed:
            if self._abandoned:
                return  # they are counted already
            if dropped is not None:
                self._dropped[dropped] += len(batch)
            else:
                self._rejected += rejected
                self._sent += len(batch) - rejected
            if rejected or dropped is not None:
                self._mark_lost()
            self._settled += len(batch)
            self._bytes -= sum(waiting.size for waiting in batch)
            self._changed.notify_all()

    def _mark_lost(self) -> None:
        for flush in self._flushes:
            if flush.target > self._settled:
                flush.intact = False

    def count_retried(self, number: int) -> None:
        """Count events that are about to be sent again."""
        with self._changed:
            self._retried += number

    def count_quarantinable(self, number: int) -> None:
        """Count events that the receiver will quarantine."""
        with self._changed:
            self._quarantinable += number

    def pause(self, seconds: float, *, may_hurry: bool) -> bool:
        """Wait before a retry; False if there is nothing left to retry for.

        A flush since the last attempt ends the wait where `may_hurry` allows; closing always does.
        """
        with self._changed:
            closing = self._closing
            self._changed.wait_for(
                lambda: (
                    self._abandoned
                    or self._closing is not closing
                    or (may_hurry and self._hurries != self._hurries_seen)
                ),
                seconds,
            )
            self._hurries_seen = self._hurries
            return not self._abandoned

    def flush(self, timeout_s: float) -> bool:
        """Whether all events taken so far were sent. Blocks for at most `timeout_s`."""
        with self._changed:
            if self._settled >= self._taken:
                return True
            flush = _Flush(self._taken)
            self._flushes.append(flush)
            self._hurries += 1
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: self._settled >= flush.target, timeout_s)
            self._flushes.remove(flush)
            return done and flush.intact

    def close(self, timeout_s: float) -> bool:
        """Take nothing more; whether all that was taken is settled after at most `timeout_s`.

        What is not is dropped and counted: this is where a dead receiver costs events.
        """
        with self._changed:
            self._closing = True
            self._hurries += 1
            self._changed.notify_all()
            if self._changed.wait_for(lambda: self._settled >= self._taken, timeout_s):
                return True
            self._mark_lost()
            self._dropped["shutdown"] += self._taken - self._settled
            self._settled = self._taken
            self._abandoned = True
            self._waiting.clear()
            self._bytes = 0
            self._changed.notify_all()
            return False

    def counters(self) -> Counters:
        """What became of the events so far."""
        with self._changed:
            return Counters(
                sent=self._sent,
                retried=self._retried,
                rejected=self._rejected,
                quarantinable=self._quarantinable,
                dropped=dict(self._dropped),
                queued=self._taken - self._settled,
            )
