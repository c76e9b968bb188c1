"""Whose turn it is: bounds that hold for whatever tenants queue."""

from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intentproof_receiver.turns import TURN_COST, Turns

SLOTS, TENANT_SLOTS = 3, 2
TENANTS = ("acme", "busy", "calm")
PUSHES = st.tuples(st.just("push"), st.sampled_from(TENANTS), st.integers(0, 1 << 20))
POPS = st.tuples(st.just("pop"), st.just(""), st.just(0))
ENDS = st.tuples(st.just("done"), st.sampled_from(TENANTS), st.integers(0, 1 << 20))
STEPS = st.lists(st.one_of(PUSHES, POPS, ENDS), max_size=120)

Item = tuple[str, int, int]  # tenant, its number, cost


class Watched:
    """Turns, and what an onlooker counts of them."""

    def __init__(self) -> None:
        self.turns: Turns[Item] = Turns(slots=SLOTS, tenant_slots=TENANT_SLOTS)
        self.queued: dict[str, list[Item]] = defaultdict(list)
        self.running: Counter[str] = Counter()
        self.given: Counter[str] = Counter()
        self.past: dict[str, Counter[str]] = defaultdict(Counter)  # others, while one is first
        self._number = 0

    def step(self, what: str, tenant: str, cost: int) -> Item | None:
        """One call; what was popped."""
        if what == "push":
            self._number += 1
            item = (tenant, self._number, cost)
            self.queued[tenant].append(item)
            self.turns.push(tenant, cost, item)
        elif what == "done" and self.running[tenant]:
            self.running[tenant] -= 1
            self.given[tenant] += cost
            self.turns.done(tenant, more_cost=cost)
        elif what == "pop":
            found = self.turns.pop()
            if found is not None:
                self._popped(*found)
                return found[1]
        return None

    def waits(self, tenant: str) -> bool:
        """Whether a tenant could be given a slot."""
        return bool(self.queued[tenant]) and self.running[tenant] < TENANT_SLOTS

    def _popped(self, tenant: str, item: Item) -> None:
        cost = item[2] + TURN_COST
        for other in TENANTS:
            if other != tenant and self.waits(other):
                assert self.past[other][tenant] <= self.given[other], "went past too often"
                self.past[other][tenant] += cost
        self.past[tenant].clear()
        self.given[tenant] += cost
        self.running[tenant] += 1
        assert self.queued[tenant].pop(0) == item, "not in its tenant's order"


@given(STEPS)
def test_nobody_is_passed_for_long(steps: list[tuple[str, str, int]]) -> None:
    """While a tenant's item is first, each other is given what that one was, and one item more."""
    watched = Watched()
    for step in steps:
        watched.step(*step)


@given(STEPS)
def test_slots_are_bounded_and_none_is_idle(steps: list[tuple[str, str, int]]) -> None:
    """No more run than slots, of no tenant more than its own, and none is free for who waits."""
    watched = Watched()
    for step in steps:
        watched.step(*step)
        assert watched.running.total() <= SLOTS
        assert max(watched.running.values(), default=0) <= TENANT_SLOTS
        assert watched.turns.waiting == sum(map(len, watched.queued.values()))
        costs = (cost for items in watched.queued.values() for _, _, cost in items)
        assert watched.turns.waiting_cost == sum(costs)
        could = watched.running.total() < SLOTS and any(map(watched.waits, TENANTS))
        if step[0] != "pop":
            assert (watched.step("pop", "", 0) is not None) == could


@given(
    st.lists(st.integers(0, 1 << 20), min_size=1),
    st.lists(st.integers(0, 1 << 20), min_size=1),
)
def test_two_that_wait_on_are_given_the_same(one: list[int], other: list[int]) -> None:
    """While both have something queued, neither is ahead by more than one item of each."""
    turns: Turns[int] = Turns(slots=1, tenant_slots=1)
    left = {"acme": list(one), "busy": list(other)}
    for tenant, costs in left.items():
        for cost in costs:
            turns.push(tenant, cost, cost)
    shares: Counter[str] = Counter()
    while all(left.values()):
        found = turns.pop()
        assert found is not None
        tenant, cost = found
        left[tenant].pop(0)
        shares[tenant] += cost + TURN_COST
        turns.done(tenant)
        assert abs(shares["acme"] - shares["busy"]) <= max(one) + max(other) + 2 * TURN_COST


@pytest.mark.parametrize("queued", [1, 10, 1000])
def test_a_newcomer_is_next(queued: int) -> None:
    """A tenant that was given nothing yet is next but one, whatever another has queued."""
    turns: Turns[str] = Turns(slots=1, tenant_slots=1)
    for _ in range(queued + 2):
        turns.push("busy", 1 << 20, "large")
    turns.pop()
    turns.push("calm", 10, "small")
    turns.done("busy")
    order: list[str] = []
    while (found := turns.pop()) is not None and len(order) < 2:
        order.append(found[1])
        turns.done(found[0])
    assert "small" in order


def test_a_debt_is_paid() -> None:
    """What an item turned out to cost counts against its tenant's next."""
    turns: Turns[str] = Turns(slots=1, tenant_slots=1)
    for tenant in ("busy", "busy", "calm", "calm", "calm"):
        turns.push(tenant, 0, tenant)
    order: list[str] = []
    while (found := turns.pop()) is not None:
        order.append(found[0])
        turns.done(found[0], more_cost=10 * TURN_COST if found[0] == "busy" else 0)
    assert order == ["busy", "calm", "calm", "calm", "busy"]


def test_having_been_away_saves_nothing_up() -> None:
    """A tenant that comes after long does not go past others for long."""
    turns: Turns[str] = Turns(slots=1, tenant_slots=1)
    for _ in range(100):
        turns.push("busy", 1 << 20, "busy")
        turns.push("busy", 1 << 20, "busy")
        turns.pop()
        turns.done("busy")
    for _ in range(50):
        turns.push("calm", 1 << 20, "calm")
    order: list[str] = []
    for _ in range(20):
        found = turns.pop()
        assert found is not None
        order.append(found[0])
        turns.done(found[0])
    assert 9 <= order.count("calm") <= 11


def test_a_newcomer_begins_where_others_are() -> None:
    """Also where nobody had to wait yet, a tenant that comes later is no further ahead."""
    turns: Turns[str] = Turns(slots=2, tenant_slots=2)
    turns.push("busy", 1 << 20, "busy")
    turns.pop()
    for _ in range(100):
        turns.push("busy", 1 << 20, "busy")
        turns.pop()
        turns.done("busy")
    for _ in range(50):
        turns.push("calm", 1 << 20, "calm")
        turns.push("busy", 1 << 20, "busy")
    order: list[str] = []
    for _ in range(20):
        found = turns.pop()
        assert found is not None
        order.append(found[0])
        turns.done(found[0])
    assert 9 <= order.count("calm") <= 11


def test_what_is_taken_back_is_gone() -> None:
    """An item that was taken back gets no turn, and what is cleared is handed back."""
    turns: Turns[str] = Turns(slots=9, tenant_slots=9)
    for item in ("one", "two", "three"):
        turns.push("acme", 5, item)
    assert turns.discard("acme", "two")
    assert not turns.discard("acme", "two")
    assert not turns.discard("busy", "one")
    assert (turns.waiting, turns.waiting_cost) == (2, 10)
    assert turns.pop() == ("acme", "one")
    assert turns.clear() == ["three"]
    assert (turns.pop(), turns.waiting, turns.waiting_cost) == (None, 0, 0)
