"""Where a request spends its time: the stages of its way, marked where they happen.

Whoever watches a request is told of each stage when it ends. Without one a mark costs next to
nothing. The watcher goes along into another thread where the work for it is `carried`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# In the order of the way. `wait` is for a thread of the pool, `turn` for leave to decode.
STAGES = ("authenticate", "admit", "read", "wait", "decode", "turn", "append")


class Watcher(Protocol):
    """Is told of stages, on whatever thread they end."""

    def stage_ended(self, name: str, started_ns: int, ended_ns: int) -> None:
        """`name` is one of STAGES; times are `time.perf_counter_ns`."""
        ...


_watcher: ContextVar[Watcher | None] = ContextVar("intentproof_watcher", default=None)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Tell `watcher` of the stages inside."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Mark a stage; also a decorator of functions that are no coroutines."""
    watcher = _watcher.get()
    if watcher is None:
        yield
        return
    started = time.perf_counter_ns()
    try:
        yield
    finally:
        watcher.stage_ended(name, started, time.perf_counter_ns())


def ended(name: str, started_ns: int) -> None:
    """Tell of a stage that ends now, where it is no block of its own."""
    watcher = _watcher.get()
    if watcher is not None:
        watcher.stage_ended(name, started_ns, time.perf_counter_ns())


def carried(work: Callable[P, T]) -> Callable[P, T]:
    """`work` for another thread: watched as here, and the time until it begins is a stage."""
    context = copy_context()
    queued = time.perf_counter_ns()

    def begin(*args: P.args, **kwargs: P.kwargs) -> T:
        context.run(ended, "wait", queued)
        return context.run(work, *args, **kwargs)

    return begin
