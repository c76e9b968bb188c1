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
