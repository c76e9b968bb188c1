"""The clerk gives way to requests while it seals."""

from typing import Any, cast

import pytest
from intentproof_store.clerk import Clerk


class Closing:
    """An event that nobody sets; it keeps how long somebody waited for it."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return False


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the clock shows."""
    shown = [100.0]
    monkeypatch.setattr("intentproof_store.clerk.time.monotonic", lambda: shown[0])
    return shown


def waits(now: list[float], *pieces: float, seals: int = 1) -> list[float]:
    """How long the clerk waits after each of these pieces of work, in seconds."""
    nothing = cast("Any", None)
    clerk = Clerk(nothing, nothing, nothing, read=nothing, done=nothing)
    clerk.seals, clerk._rested, clerk._closing = seals, now[0], cast("Any", Closing())
    for piece in pieces:
        now[0] += piece
        clerk.rest()
    found: list[float] = cast("Any", clerk._closing).waits
    return [round(each, 3) for each in found]


def test_requests_have_as_long_as_each_piece_of_work_took(now: list[float]) -> None:
    """After a piece of work the clerk waits as long; short pieces count together."""
    assert waits(now, 0.05, 0.3) == [0.05, 0.3]
    assert waits(now, 0.015, 0.015, 0.001) == [0.03]


def test_segments_that_wait_come_first(now: list[float]) -> None:
    """Where another segment waits to be sealed, the clerk does not rest."""
    assert waits(now, 0.05, seals=2) == []
