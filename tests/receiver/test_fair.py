"""Threads that tenants share: nobody holds them all, and what is given up leaves nothing behind."""

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import Any

import pytest
from intentproof_receiver.fair import FairGate, FairPool, Waiting


def nothing() -> int:
    return 0


def finish(*futures: "Future[Any]") -> None:
    for future in futures:
        future.result(20)


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """What blocked work waits for; set in the end, so that no thread is left."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def pool() -> Iterator[FairPool]:
    pool = FairPool(3)
    yield pool
    pool.shutdown()


def until_set(event: threading.Event) -> Callable[[], bool]:
    return lambda: event.wait(20)


def test_results_and_errors_come_back(pool: FairPool) -> None:
    """A future has what the work returned or raised."""
    assert pool.submit("acme", nothing, lambda: 5).result(20) == 5
    with pytest.raises(ZeroDivisionError):
        pool.submit("acme", nothing, lambda: 1 // 0).result(20)


def test_one_tenant_does_not_hold_all_threads(pool: FairPool, released: threading.Event) -> None:
    """However many requests of one tenant block, another's is done."""
    busy = [pool.submit("busy", lambda: 7, until_set(released)) for _ in range(9)]
    assert pool.submit("calm", nothing, lambda: "done").result(20) == "done"
    assert pool.waiting == Waiting(requests=7, bytes=49)
    assert not any(future.done() for future in busy)
    released.set()
    assert all(future.result(20) for future in busy)
    assert pool.waiting == Waiting(requests=0, bytes=0)


def test_one_thread_serves_all() -> None:
    """With a single thread tenants take turns on it."""
    pool = FairPool(1)
    order: list[str] = []
    released = threading.Event()
    first = pool.submit("busy", nothing, until_set(released))
    later = [
        pool.submit(tenant, lambda: 1 << 20, partial(order.append, tenant))
        for tenant in ("busy", "busy", "calm")
    ]
    released.set()
    finish(first, *later)
    pool.shutdown()
    assert order.index("calm") <= 1


def test_what_a_request_grew_by_counts() -> None:
    """A tenant whose small message turned out large comes behind one whose messages stay small."""
    pool = FairPool(1)
    order: list[str] = []
    released = threading.Event()
    held = [1]

    def grow() -> None:
        released.wait(20)
        held[0] = 1 << 30

    first = pool.submit("busy", lambda: held[0], grow)
    later = [
        pool.submit(tenant, nothing, partial(order.append, tenant))
        for tenant in ("busy", "calm", "calm", "calm")
    ]
    released.set()
    finish(first, *later)
    pool.shutdown()
    assert order == ["calm", "calm", "calm", "busy"]


class Message:
    """Stands for the bytes that a request holds."""

    def read(self) -> None:
        """Nothing."""


def test_what_is_cancelled_leaves_the_queue(pool: FairPool, released: threading.Event) -> None:
    """A request that is given up before its turn is not done, and its message is freed at once."""
    busy = [pool.submit("busy", nothing, until_set(released)) for _ in range(2)]
    message = Message()
    gone = weakref.ref(message)
    future = pool.submit("busy", lambda: 100, message.read)
    del message
    assert pool.waiting == Waiting(requests=1, bytes=100)
    assert future.cancel()
    assert pool.waiting == Waiting(requests=0, bytes=0)
    del future
    gc.collect()
    assert gone() is None
    released.set()
    assert all(one.result(20) for one in busy)


def test_shutdown_does_not_wait_for_ever(pool: FairPool, released: threading.Event) -> None:
    """Work that does not end in time is left alone, which is told."""
    pool.submit("acme", nothing, until_set(released))
    assert not pool.shutdown(0.01)
    assert pool.is_busy
    released.set()
    assert pool.shutdown()
    assert not pool.is_busy


def test_shutdown_cancels_what_waits(pool: FairPool, released: threading.Event) -> None:
    """What has not begun when the pool ends is cancelled, and what runs is finished."""
    begun = threading.Event()

    def work() -> bool:
        begun.set()
        return released.wait(20)

    running = [pool.submit("busy", nothing, work) for _ in range(2)]
    waiting = pool.submit("busy", nothing, nothing)
    assert begun.wait(20)
    threading.Timer(0.05, released.set).start()
    pool.shutdown()
    assert all(future.result(0) for future in running)
    with pytest.raises(CancelledError):
        waiting.result(0)


def test_one_tenant_does_not_hold_the_gate(released: threading.Event) -> None:
    """While one tenant holds and wants all slots it may have, another passes the gate."""
    gate = FairGate(2)
    inside = threading.Semaphore(0)

    def pass_through() -> None:
        with gate.slot("busy"):
            inside.release()
            released.wait(20)

    threads = [threading.Thread(target=pass_through) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert inside.acquire(timeout=20)
    with gate.slot("calm"):
        assert not inside.acquire(blocking=False)
    while gate.waiting < 2:
        threads[0].join(0.001)
    released.set()
    for thread in threads:
        thread.join(20)
    assert gate.waiting == 0


def test_a_fault_inside_gives_the_slot_back() -> None:
    """A slot is free again after an error."""
    gate = FairGate(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), gate.slot("acme"):
            raise ZeroDivisionError
