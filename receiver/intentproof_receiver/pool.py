"""The threads that decode and wait for the disk, and how many requests wait for one of them."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import ParamSpec, TypeVar

from . import stages

P = ParamSpec("P")
T = TypeVar("T")


class ExportPool(Executor):
    """A pool of threads that counts what waits and runs, and takes the caller's context along."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="export")
        self._lock = threading.Lock()
        self.threads = threads
        self.waiting = 0
        self.running = 0

    def submit(  # type: ignore[override] # typeshed has the parameters positional-only
        self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> "Future[T]":
        """Run `fn` in a thread. Does not block."""
        context = copy_context()
        queued = time.perf_counter_ns()
        with self._lock:
            self.waiting += 1

        def run() -> T:
            with self._lock:
                self.waiting -= 1
                self.running += 1
            try:
                stages.ended("wait", queued)
                return fn(*args, **kwargs)
            finally:
                with self._lock:
                    self.running -= 1

        try:
            future = self._pool.submit(context.run, run)
        except RuntimeError:
            with self._lock:
                self.waiting -= 1
            raise
        future.add_done_callback(self._forget_if_cancelled)
        return future

    def _forget_if_cancelled(self, future: "Future[T]") -> None:
        if future.cancelled():
            with self._lock:
                self.waiting -= 1

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - Executor's signature
        """As an executor does."""
        self._pool.shutdown(wait=wait, cancel_futures=cancel_futures)
