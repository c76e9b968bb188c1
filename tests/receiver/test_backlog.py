"""When to come back: a delay that rises with the queue, is bounded, and falls again."""

from hypothesis import given
from hypothesis import strategies as st
from intentproof_receiver.backlog import RETRY_SECONDS_MAX, RETRY_SECONDS_MIN, Backlog

MIB = 1 << 20
SIZES = st.integers(0, 256 * MIB)
SECONDS = st.floats(0, 300)


class Clock:
    """Seconds that stand still until they are moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


# Seconds that pass, then bytes held, given back and refused; 0 is none.
HISTORY = st.lists(st.tuples(SECONDS, SIZES, SIZES, SIZES), max_size=30)


def lived(history: list[tuple[float, int, int, int]]) -> tuple[Backlog, Clock]:
    """A backlog with a history."""
    clock = Clock()
    backlog = Backlog(clock=clock)
    for passed, held, given_back, refused in history:
        clock.now += passed
        backlog.hold(held)
        backlog.give(min(given_back, backlog.held), finished=refused % 2 == 0)
        if refused:
            backlog.refuse(refused)
    return backlog, clock


@given(HISTORY, SIZES, SIZES)
def test_the_delay_rises_with_what_is_held(
    history: list[tuple[float, int, int, int]], less: int, more: int
) -> None:
    """Of two equal histories, the one that holds more tells no shorter delay."""
    less, more = sorted((less, more))
    one, other = lived(history)[0], lived(history)[0]
    one.hold(less)
    other.hold(more)
    assert one.delay() <= other.delay()


@given(HISTORY, st.lists(SIZES, min_size=2))
def test_each_that_is_refused_comes_later(
    history: list[tuple[float, int, int, int]], sizes: list[int]
) -> None:
    """Of those refused at one moment none is told to come before an earlier one, within bounds."""
    backlog, _ = lived(history)
    delays = [backlog.refuse(size) for size in sizes]
    assert delays == sorted(delays)
    assert delays[0] >= RETRY_SECONDS_MIN
    assert delays[-1] <= RETRY_SECONDS_MAX


@given(HISTORY, st.integers(0, 1000))
def test_idleness_forgets(history: list[tuple[float, int, int, int]], refused: int) -> None:
    """A minute after the last byte was given back, whoever was refused, the delay is the least."""
    backlog, clock = lived(history)
    for _ in range(refused):
        backlog.refuse(64 * MIB)
    backlog.give(backlog.held, finished=True)
    clock.now += RETRY_SECONDS_MAX + 0.001
    assert backlog.delay() == RETRY_SECONDS_MIN


def test_many_refused_are_spread() -> None:
    """A thousand requests that are refused at once come back over many seconds."""
    backlog = Backlog(clock=Clock())
    delays = [backlog.refuse(0) for _ in range(1000)]
    assert (delays[0], delays[-1]) == (1, 32)
    assert len(set(delays)) == 32


def test_a_fast_drain_shortens_the_delay() -> None:
    """The same queue is told as fewer seconds where more was finished a second."""
    told = []
    for size in (1 * MIB, 100 * MIB):
        clock = Clock()
        backlog = Backlog(clock=clock)
        for _ in range(30):
            backlog.hold(size)
            clock.now += 1
            backlog.give(size, finished=True)
        backlog.hold(128 * MIB)
        told.append(backlog.delay())
    assert told == [60, 2]


def test_what_was_refused_behind_the_limit_is_no_drain() -> None:
    """Bytes that were given back unfinished make no delay shorter."""
    told = []
    for finished in (True, False):
        clock = Clock()
        backlog = Backlog(clock=clock)
        for _ in range(30):
            backlog.hold(50 * MIB)
            clock.now += 1
            backlog.give(50 * MIB, finished=finished)
        backlog.hold(64 * MIB)
        told.append(backlog.delay())
    assert told[0] < told[1]


def test_a_store_that_stands_still_is_told() -> None:
    """While nothing is finished, the delay rises from moment to moment."""
    clock = Clock()
    backlog = Backlog(clock=clock)
    backlog.hold(32 * MIB)
    told = []
    for _ in range(5):
        clock.now += 10
        told.append(backlog.delay())
    assert told == sorted(told)
    assert told[-1] > 20
