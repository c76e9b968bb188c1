"""The bound on what requests hold: counted exactly, and given back once."""

import pytest
from intentproof_receiver.errors import Unavailable
from intentproof_receiver.inflight import Budget


def test_requests_are_counted_and_given_back() -> None:
    """As many requests as the limit are admitted, and another when one has ended."""
    budget = Budget(bytes_max=10, requests_max=2)
    one, _ = budget.lease("acme"), budget.lease("acme")
    for _ in range(2):
        with pytest.raises(Unavailable):
            budget.lease("acme")
    one.release()
    budget.lease("acme")
    with pytest.raises(Unavailable):
        budget.lease("acme")


def test_bytes_are_counted_and_given_back_once() -> None:
    """Bytes are held to the last one, refused beyond, and given back once with their request."""
    budget = Budget(bytes_max=10, requests_max=9)
    one, two = budget.lease("acme"), budget.lease("acme")
    one.grow(4)
    two.grow(3)
    one.grow(3)
    assert budget.bytes_held == 10
    with pytest.raises(Unavailable):
        two.grow(1)
    with pytest.raises(Unavailable):
        budget.lease("acme")
    one.release()
    one.release()
    assert budget.bytes_held == 3
    two.release()
    assert budget.bytes_held == 0
    budget.lease("acme").grow(10)


def test_a_second_release_admits_nobody_more() -> None:
    """Requests that are given back twice count as given back once."""
    budget = Budget(bytes_max=10, requests_max=1)
    one = budget.lease("acme")
    one.release()
    one.release()
    budget.lease("acme")
    with pytest.raises(Unavailable):
        budget.lease("acme")


def test_one_tenant_leaves_room_for_others() -> None:
    """Beyond its own bytes or requests a tenant is refused, and another is not."""
    budget = Budget(bytes_max=10, requests_max=9, tenant_bytes_max=5, tenant_requests_max=2)
    busy, also_busy = budget.lease("busy"), budget.lease("busy")
    with pytest.raises(Unavailable) as caught:
        budget.lease("busy")
    assert caught.value.reason == "tenant_limit"
    busy.grow(4)
    with pytest.raises(Unavailable) as caught:
        also_busy.grow(2)
    assert caught.value.reason == "tenant_limit"
    budget.lease("calm").grow(5)
    also_busy.grow(1)
    with pytest.raises(Unavailable) as caught:
        budget.lease("third").grow(1)
    assert caught.value.reason == "service_limit"
    also_busy.release()
    budget.lease("busy")


def test_the_only_request_of_a_tenant_may_be_the_largest() -> None:
    """A message and what it decompresses to may pass a tenant's bytes, but not the service's."""
    budget = Budget(bytes_max=10, requests_max=9, tenant_bytes_max=5)
    alone = budget.lease("acme")
    alone.grow(5)
    alone.grow(5)
    with pytest.raises(Unavailable) as caught:
        alone.grow(1)
    assert caught.value.reason == "service_limit"
    with pytest.raises(Unavailable):
        budget.lease("acme")
    alone.release()
    assert budget.bytes_held == 0


def test_each_that_is_refused_is_told_to_come_later() -> None:
    """The delay rises with what is held and what was refused, of each limit on its own."""
    now = [0.0]
    budget = Budget(
        bytes_max=64 << 20, requests_max=9, tenant_bytes_max=32 << 20, clock=lambda: now[0]
    )
    lease = budget.lease("busy")
    lease.grow(32 << 20)
    told = []
    for _ in range(100):
        with pytest.raises(Unavailable) as caught:
            budget.lease("busy")
        told.append(caught.value.retry_after_s)
    assert told == sorted(told)
    assert (told[0], told[-1]) == (4, 8)
    assert budget.retry_delay() == 4  # no other tenant waits for what this one was refused
    assert lease.come_back() == 4
    assert budget.retry_delay() == 8
    lease.release(finished=True)
    now[0] = 60.0
    assert budget.retry_delay() == 1
