"""The table of answers: what is retried, what is final, what can be halved."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from otel_bridge.answers import (
    DELAY_S_MAX,
    RETRYABLE_GRPC,
    Refused,
    RetryLater,
    bounded_delay,
    grpc_answer,
    http_answer,
    read_retry_after,
)


@pytest.mark.parametrize("code", sorted(RETRYABLE_GRPC))
def test_retryable_grpc_codes(code: str) -> None:
    """The specification's retryable codes are retried, with or without a delay."""
    assert isinstance(grpc_answer(code, "", None), RetryLater)
    assert grpc_answer(code, "m", 2.0) == RetryLater(f"grpc_{code}", "m", 2.0)


def test_exhausted_needs_a_delay() -> None:
    """RESOURCE_EXHAUSTED is retried only if the receiver says when."""
    assert isinstance(grpc_answer("RESOURCE_EXHAUSTED", "", 1.0), RetryLater)
    assert grpc_answer("RESOURCE_EXHAUSTED", "", None) == Refused(
        "grpc_RESOURCE_EXHAUSTED", splittable=True
    )


@pytest.mark.parametrize("code", ["UNAUTHENTICATED", "PERMISSION_DENIED", "INTERNAL", "UNKNOWN"])
def test_other_grpc_codes_are_final(code: str) -> None:
    """No other code is retried or halved."""
    assert grpc_answer(code, "m", 5.0) == Refused(f"grpc_{code}", "m")


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_retryable_http_statuses(status: int) -> None:
    """The specification's retryable statuses are retried."""
    assert http_answer(status, "", "3") == RetryLater(f"http_{status}", "", 3.0)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 408, 413, 500, 530])
def test_other_http_statuses_are_final(status: int) -> None:
    """No other status is retried; an unreadable or too large request can be halved."""
    answer = http_answer(status, "", "3")
    assert answer == Refused(f"http_{status}", splittable=status in (400, 413))


def test_retry_after_may_be_a_date() -> None:
    """Retry-After is seconds or an HTTP date; anything else is as if absent."""
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 25 < (read_retry_after(soon) or 0) <= 30
    assert read_retry_after("later") is None
    assert read_retry_after("\u0661") is None


@pytest.mark.parametrize(
    ("given", "kept"),
    [(None, None), (float("nan"), None), (-5.0, 0.0), (1e9, DELAY_S_MAX), (7.5, 7.5)],
)
def test_delays_are_bounded(given: float | None, kept: float | None) -> None:
    """No receiver can silence a program for ever."""
    assert bounded_delay(given) == kept
