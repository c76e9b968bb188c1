"""What waits for the writer: tenants in turn, within bounds, and nothing behind the end."""

import queue
from concurrent.futures import Future
from typing import Any

import pytest
from intentproof_store import StoreBusy, StoreUnavailable
from intentproof_store.arrivals import Arrivals, Submission


def submission(tenant: str, weight: int = 1) -> Submission:
    nothing: Any = None
    return Submission(tenant, nothing, weight, Future())


def test_tenants_take_turns() -> None:
    """However many submissions one tenant has waiting, another's first is next but one."""
    arrivals = Arrivals(bytes_max=100)
    busy = [submission("busy") for _ in range(9)]
    for item in busy:
        arrivals.submit(item)
    calm = [submission("calm") for _ in range(2)]
    for item in calm:
        arrivals.submit(item)
    taken = [arrivals.take(0) for _ in range(11)]
    assert taken[:5] == [busy[0], calm[0], busy[1], calm[1], busy[2]]
    assert [item for item in taken if item in busy] == busy


def test_answers_of_the_clerk_come_first() -> None:
    """What frees memory does not wait behind what needs it."""
    arrivals = Arrivals(bytes_max=100)
    answer: Any = object()
    arrivals.submit(submission("acme"))
    arrivals.answer(answer)
    assert arrivals.take(0) is answer


def test_nobody_is_refused_for_what_others_queued() -> None:
    """Beyond the limit only a tenant with more than an equal share of it is refused."""
    arrivals = Arrivals(bytes_max=100)
    first = submission("busy", 90)
    arrivals.submit(first)
    with pytest.raises(StoreBusy):
        arrivals.submit(submission("busy", 20))
    arrivals.submit(submission("calm", 30))
    arrivals.submit(submission("calm", 20))
    with pytest.raises(StoreBusy):
        arrivals.submit(submission("calm", 1))
    assert (arrivals.submissions, arrivals.bytes) == (3, 140)
    arrivals.settle([first])
    arrivals.submit(submission("calm", 1))


def test_the_largest_passes_an_empty_queue() -> None:
    """A submission larger than the limit is taken where its tenant has nothing waiting."""
    arrivals = Arrivals(bytes_max=100)
    arrivals.submit(submission("acme", 1000))


def test_an_empty_queue_is_waited_for() -> None:
    """Where nothing comes in time that is told."""
    with pytest.raises(queue.Empty):
        Arrivals(bytes_max=1).take(0.001)


def test_nothing_comes_behind_the_end() -> None:
    """Once closed, what waits is handed out, then the end, and nothing more is taken."""
    arrivals = Arrivals(bytes_max=100)
    item = submission("acme")
    arrivals.submit(item)
    assert arrivals.close()
    assert not arrivals.close()
    with pytest.raises(StoreUnavailable, match="closing"):
        arrivals.submit(submission("acme"))
    assert [arrivals.take(20), arrivals.take(20), arrivals.take(20)] == [item, None, None]
