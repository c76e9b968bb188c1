"""Threads that tenants share fairly: a pool for whole requests, a gate for parts of their work."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeVar

from .turns import Turns

SHUTDOWN_SECONDS = 5.0  # of what runs, once nothing new comes
T = TypeVar("T")


def all_but_one(slots: int) -> int:
    """How many of `slots` one tenant may hold, so that another finds one free (of one, that)."""
    return max(1, slots - 1)


class Waiting(NamedTuple):
    """What waits for a thread."""

    requests: int
    bytes: int


class _Job(Future[T], Generic[T]):
    """One call on its way to a thread."""

    def __init__(self, tenant: str, weigh: Callable[[], int], work: Callable[[], T]) -> None:
        super().__init__()
        self.tenant = tenant
        self.weigh = weigh
        self.cost = weigh()
        self._work: list[Callable[[], T]] = [work]

    def run(self) -> None:
        """Do the work, unless that was cancelled. Blocks as the work does."""
        work = self._work.pop()  # what it holds, the message, is not to live as long as the future
        if not self.set_running_or_notify_cancel():
            return
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            self.set_exception(error)
        else:
            self.set_result(result)


class FairPool:
    """A pool of threads in which tenants take turns by bytes. Thread-safe.

    One tenant holds all threads but one at most.
    """

    def __init__(self, threads: int) -> None:
        self._turns: Turns[_Job[Any]] = Turns(slots=threads, tenant_slots=all_but_one(threads))
        self._lock = threading.Condition()
        self._running = 0
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="export")

    @property
    def waiting(self) -> Waiting:
        """What waits for a thread now."""
        return Waiting(self._turns.waiting, self._turns.waiting_cost)

    @property
    def is_busy(self) -> bool:
        """Whether anything runs."""
        return self._running > 0

    def submit(self, tenant: str, weigh: Callable[[], int], work: Callable[[], T]) -> "Future[T]":
        """Call `work` in a thread when it is the tenant's turn. Never blocks.

        `weigh` says what the request holds, in bytes. It is asked again when the work is done:
        what it has grown by counts too. A future that is cancelled before its turn leaves the
        queue, and what it would have worked on goes with it.
        """
        job = _Job(tenant, weigh, work)
        with self._lock:
            self._turns.push(tenant, job.cost, job)
            self._start()
        job.add_done_callback(self._drop)
        return job

    def shutdown(self, seconds: float = SHUTDOWN_SECONDS) -> bool:
        """Cancel what waits for a thread, and wait a while for what runs; whether that ended."""
        with self._lock:
            waiting = self._turns.clear()
        for job in waiting:
            job.cancel()
        self._threads.shutdown(wait=False)
        with self._lock:
            return self._lock.wait_for(lambda: not self._running, seconds)

    def _start(self) -> None:
        found = self._turns.pop()
        if found is not None:
            self._running += 1
            self._threads.submit(self._run, found[1])

    def _run(self, job: _Job[Any]) -> None:
        job.run()
        with self._lock:
            self._running -= 1
            self._lock.notify_all()
            self._turns.done(job.tenant, more_cost=max(0, job.weigh() - job.cost))
            self._start()

    def _drop(self, job: "Future[Any]") -> None:
        if isinstance(job, _Job) and job.cancelled():
            with self._lock:
                self._turns.discard(job.tenant, job)


class FairGate:
    """A semaphore at which tenants take turns. Thread-safe. One holds all slots but one at most."""

    def __init__(self, slots: int) -> None:
        self._turns: Turns[threading.Event] = Turns(slots=slots, tenant_slots=all_but_one(slots))
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return self._turns.waiting

    @contextmanager
    def slot(self, tenant: str) -> Iterator[None]:
        """Hold a slot. Blocks until it is the tenant's turn."""
        turn = threading.Event()
        with self._lock:
            self._turns.push(tenant, 0, turn)
            self._start()
        turn.wait()
        try:
            yield
        finally:
            with self._lock:
                self._turns.done(tenant)
                self._start()

    def _start(self) -> None:
        found = self._turns.pop()
        if found is not None:
            found[1].set()
