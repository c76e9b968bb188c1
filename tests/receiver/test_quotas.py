"""Quotas: how they are read, and when a tenant may send again."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intentproof_receiver.config import load
from intentproof_receiver.errors import ConfigInvalid
from intentproof_receiver.quotas import BURST_SECONDS, NO_QUOTAS, Bucket, Quota, Quotas


def quotas(tmp_path: Path, text: str) -> Quotas:
    """The quotas of a configuration file."""
    file = tmp_path / "c.yaml"
    file.write_text(text)
    return load(file=str(file), environ={}, flags={}).quotas


def test_without_any(tmp_path: Path) -> None:
    """Without quotas nobody has a limit."""
    assert quotas(tmp_path, "seal_rows: 1") == NO_QUOTAS
    assert NO_QUOTAS.of("acme") == Quota(events_per_second=0, bytes_per_day=0)


def test_of_a_tenant(tmp_path: Path) -> None:
    """What a tenant's entry does not name is as in the default, and 0 is no limit."""
    read = quotas(
        tmp_path,
        "quotas:\n"
        "  default: {events_per_second: 2.5, bytes_per_day: 7}\n"
        "  acme: {events_per_second: 500}\n"
        "  free: {events_per_second: 0, bytes_per_day: 0}\n",
    )
    assert read.of("other") == Quota(events_per_second=2.5, bytes_per_day=7)
    assert read.of("acme") == Quota(events_per_second=500, bytes_per_day=7)
    assert read.of("free") == Quota()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("quotas: 5", r"quotas in .*: must be a mapping, in the file"),
        ("quotas: {acme: 5}", r"quotas\.acme in .*: must be a mapping"),
        ("quotas: {Acme: {}}", r"quotas\.Acme in .*: must be default or a tenant id"),
        ("quotas: {5: {}}", r"quotas\.5 in .*: must be default or a tenant id"),
        ("quotas: {acme: {events: 5}}", r"quotas\.acme\.events in .*: no such limit; there are"),
        (
            "quotas: {acme: {events_per_second: many}}",
            r"quotas\.acme\.events_per_second in .*: must be a number",
        ),
        (
            "quotas: {acme: {events_per_second: -1}}",
            r"quotas\.acme\.events_per_second in .*: must be from 0 \(no limit\) to 1000000000",
        ),
        ("quotas: {acme: {events_per_second: .nan}}", r"events_per_second in .*: must be from 0"),
        ("quotas: {acme: {events_per_second: true}}", r"events_per_second in .*: must be a number"),
        (
            "quotas: {default: {bytes_per_day: 1.5}}",
            r"quotas\.default\.bytes_per_day in .*: must be a whole number",
        ),
        ("quotas: {acme: {}, acme: {}}", "'acme' stands twice"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    """Each error names the tenant, the limit and the file."""
    with pytest.raises(ConfigInvalid, match=message):
        quotas(tmp_path, text)


def test_not_from_the_environment() -> None:
    """Quotas stand in the file: a variable of that name is refused, not ignored."""
    with pytest.raises(ConfigInvalid, match="quotas from INTENTPROOF_QUOTAS: must be a mapping"):
        load(file=None, environ={"INTENTPROOF_QUOTAS": "acme"}, flags={})


def test_any_request_passes_and_is_paid_for() -> None:
    """A request larger than all that can be saved up passes, and its debt is waited for."""
    bucket = Bucket(10, 0.0)
    assert bucket.wait(0.0) == 0
    bucket.spend(1000, 0.0)
    assert bucket.wait(0.0) == pytest.approx((1000 - 10 * BURST_SECONDS + 1) / 10)
    assert bucket.wait(90.2) == 0


def test_only_so_much_is_saved_up() -> None:
    """After any time without events a tenant has the tokens of ten seconds, and no more."""
    bucket = Bucket(10, 0.0)
    bucket.spend(10 * BURST_SECONDS, 1e6)
    assert bucket.wait(1e6) > 0


Sending = st.lists(st.tuples(st.floats(0, 100), st.integers(0, 5000)), max_size=60)


@given(st.floats(0.01, 10_000), Sending)
def test_over_time_the_rate_is_kept(rate: float, sending: Any) -> None:
    """A tenant that waits as it is told gets no more than its rate, a burst and one request."""
    bucket = Bucket(rate, 0.0)
    now = taken = largest = 0.0
    for passed, events in sending:
        now += passed
        if bucket.wait(now) == 0:
            taken += events
            largest = max(largest, events)
            bucket.spend(events, now)
    burst = max(1.0, rate * BURST_SECONDS)
    assert taken <= (rate * now + burst + largest) * (1 + 1e-9)


@given(st.floats(0.01, 10_000), st.integers(0, 100_000))
def test_who_waits_as_told_is_let_in(rate: float, spent: int) -> None:
    """After the delay that is told, rounded up, there is a token."""
    bucket = Bucket(rate, 0.0)
    bucket.spend(spent, 0.0)
    assert bucket.wait(math.ceil(bucket.wait(0.0)) + 1e-6) == pytest.approx(0, abs=1e-6)


def test_a_clock_that_stands_or_goes_back_gives_nothing() -> None:
    """Tokens come with time only."""
    bucket = Bucket(10, 100.0)
    bucket.spend(200, 100.0)
    assert bucket.wait(50.0) == bucket.wait(40.0) > 0
