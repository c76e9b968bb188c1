"""What waits for the writer: answers of the clerk first, then submissions, a tenant at a time."""

import queue
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from .clerk import Ran, Sealed
from .errors import StoreBusy, StoreUnavailable
from .tenantlog import Appended, Arrival


@dataclass(frozen=True)
class Submission:
    """What one `append` brought, on its way to the writer."""

    tenant: str
    arrival: Arrival
    weight: int
    future: "Future[Appended]"


class Arrivals:
    """The writer's queue, bounded by bytes. Thread-safe.

    Tenants take turns, one submission each, however many of them wait. What was taken counts
    until it is settled. Beyond `bytes_max` a tenant is refused that has more than an equal share
    of it, so that nobody is refused for what others queued.
    """

    def __init__(self, *, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._changed = threading.Condition()
        self._answers: deque[Sealed | Ran] = deque()
        self._waiting: dict[str, deque[Submission]] = {}  # in the order of their turns
        self._unsettled: dict[str, int] = {}  # bytes
        self._open = True
        self.submissions = 0
        self.bytes = 0

    @property
    def is_open(self) -> bool:
        """Whether submissions are taken."""
        return self._open

    def submit(self, item: Submission) -> None:
        """Queue a submission. Raises StoreUnavailable once closed, StoreBusy beyond the limit."""
        with self._changed:
            if not self._open:
                raise StoreUnavailable("the store is closing")
            mine = self._unsettled.get(item.tenant, 0)
            if mine and self.bytes + item.weight > self._bytes_max:
                share = self._bytes_max // len(self._unsettled)
                if mine + item.weight > share:
                    raise StoreBusy("the store's queue is full")
            self._unsettled[item.tenant] = mine + item.weight
            self.submissions += 1
            self.bytes += item.weight
            self._waiting.setdefault(item.tenant, deque()).append(item)
            self._changed.notify()

    def answer(self, done: Sealed | Ran) -> None:
        """Queue what the clerk has done."""
        with self._changed:
            self._answers.append(done)
            self._changed.notify()

    def close(self) -> bool:
        """Take no more submissions; whether it was open."""
        with self._changed:
            was_open, self._open = self._open, False
            self._changed.notify()
            return was_open

    def take(self, timeout: float) -> Submission | Sealed | Ran | None:
        """What is next, None once closed and empty. Raises queue.Empty after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(self._has_any, timeout):
                raise queue.Empty
            if self._answers:
                return self._answers.popleft()
            if not self._waiting:
                return None
            tenant, waiting = next(iter(self._waiting.items()))
            del self._waiting[tenant]
            item = waiting.popleft()
            if waiting:
                self._waiting[tenant] = waiting  # behind the others
            return item

    def settle(self, group: Sequence[Submission]) -> None:
        """Count submissions that were taken no more: they are done."""
        with self._changed:
            for item in group:
                self.submissions -= 1
                self.bytes -= item.weight
                self._unsettled[item.tenant] -= item.weight
                if not self._unsettled[item.tenant]:
                    del self._unsettled[item.tenant]

    def _has_any(self) -> bool:
        return bool(self._answers or self._waiting or not self._open)
