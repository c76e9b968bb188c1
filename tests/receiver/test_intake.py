"""The way of a request: strangers are not read, and what is held is given back whatever happens."""

import asyncio
from typing import Any

import pytest
from intentproof_receiver.credentials import Credentials
from intentproof_receiver.errors import (
    OverQuota,
    ReceiverError,
    StoreRefused,
    Unauthenticated,
    Unavailable,
    answer_to,
)
from intentproof_receiver.fair import FairPool
from intentproof_receiver.inflight import Budget, Lease
from intentproof_receiver.intake import GetBody, Intake
from intentproof_receiver.keys import Principal
from intentproof_receiver.outcome import Outcome
from intentproof_receiver.quotas import Quota, Quotas
from intentproof_receiver.status import Encoding
from intentproof_receiver.usage import Usage


class Silent:
    """Metrics that nobody reads."""

    def taken(self, outcome: object) -> None:
        """Nothing."""

    def refused(self, reason: str) -> None:
        """Nothing."""

    def request(self, transport: str, word: str, seconds: float) -> None:
        """Nothing."""


class Exports:
    """Knows one key, and fails to export what is `bad` or comes while the store `lags`."""

    def authenticate(self, credentials: Credentials) -> Principal:
        if credentials.api_key != "key":
            raise Unauthenticated("unknown")
        return Principal("acme", ("ingest",), "1")

    def export(self, credentials: Credentials, body: bytes, *, encoding: Encoding) -> Outcome:
        if body == b"bad":
            raise Unavailable("not now")
        if body == b"lags":
            raise StoreRefused("not now", reason="store_queue")
        return Outcome(received=1)


def take(
    budget: Budget,
    *,
    key: str = "key",
    body: bytes = b"body",
    fail: bool = False,
    usage: Usage | None = None,
) -> Any:
    """One request, of which the body is held; and whether it was read."""
    read_it: list[bytes] = []

    async def read(lease: Lease) -> GetBody:
        lease.grow(len(body))
        read_it.append(body)
        if fail:
            raise OSError("the client is gone")
        return lambda: body

    exporter: Any = Exports()
    metrics: Any = Silent()
    pool = FairPool(1)
    intake = Intake(exporter=exporter, budget=budget, metrics=metrics, pool=pool, usage=usage)
    try:
        return asyncio.run(intake.take("http", Credentials(key), Encoding.JSON, read))
    except ReceiverError as error:
        return error, read_it
    finally:
        pool.shutdown()


@pytest.mark.parametrize(
    "how", [{}, {"body": b"bad"}, {"fail": True}, {"key": "no"}], ids=["taken", "bad", "cut", "no"]
)
def test_what_a_request_held_is_given_back(how: dict[str, Any]) -> None:
    """However a request ends, its bytes and its place are free again."""
    budget = Budget(bytes_max=4, requests_max=1)
    for _ in range(3):
        take(budget, **how)
        assert budget.bytes_held == 0
    assert take(budget) == Outcome(received=1)


def test_the_body_of_a_stranger_is_not_read() -> None:
    """Without a valid key nothing of a body is asked for."""
    error, read_it = take(Budget(bytes_max=4, requests_max=1), key="no")
    assert isinstance(error, Unauthenticated)
    assert read_it == []


def test_what_nobody_foresaw_is_our_fault() -> None:
    """An error that has no answer of its own, or is no error of ours, has one that is retried."""
    error, _ = take(Budget(bytes_max=4, requests_max=1), fail=True)
    assert isinstance(error, Unavailable)
    assert answer_to(ReceiverError("new")) == answer_to(Unavailable("busy"))
    assert answer_to(ReceiverError("new")).retryable


@pytest.mark.parametrize("told", [1, 50])
def test_a_store_that_lags_is_told_as_a_queue(told: int) -> None:
    """Where the store refuses, the delay is the queue's, and no less than a store's fault has."""
    now = [0.0]
    budget = Budget(bytes_max=1 << 30, requests_max=9, clock=lambda: now[0])
    budget.lease("busy").grow(told * (8 << 20) - 4)
    error, _ = take(budget, body=b"lags")
    assert isinstance(error, StoreRefused)
    assert (error.retry_after_s, error.reason) == (max(5, told), "store_queue")


def test_quotas_are_looked_at_before_bytes() -> None:
    """A tenant over its quota is refused unread, and what was taken was charged."""
    usage = Usage(Quotas(default=Quota(bytes_per_day=4)))
    budget = Budget(bytes_max=9, requests_max=9)
    assert take(budget, body=b"body", usage=usage) == Outcome(received=1)
    error, read_it = take(budget, body=b"body", usage=usage)
    assert isinstance(error, OverQuota)
    assert read_it == []
    assert budget.bytes_held == 0


def test_what_is_refused_is_not_charged() -> None:
    """A request that was not kept leaves the quota as it was."""
    usage = Usage(Quotas(default=Quota(bytes_per_day=4)))
    budget = Budget(bytes_max=9, requests_max=9)
    for _ in range(3):
        error, _ = take(budget, body=b"bad", usage=usage)
        assert not isinstance(error, OverQuota)
