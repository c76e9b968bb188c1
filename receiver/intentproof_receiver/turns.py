"""Whose turn it is: equal shares between tenants, whatever each of them has queued.

Start-time fair queueing (Goyal, Vin, Cheng: SIGCOMM 1996): each tenant has a mark that grows by
what it was given, and of those that wait the one with the lowest mark is next.
Pure: no clock, no thread, no lock.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

TURN_COST = 4096  # bytes that any item counts beside its own: tiny ones are not free


@dataclass
class _Tenant(Generic[T]):
    """What one tenant has waiting, and what it was given."""

    mark: int
    waiting: deque[tuple[int, T]] = field(default_factory=deque)
    running: int = 0


class Turns(Generic[T]):
    """Items of tenants, of which `slots` run at a time, of one tenant at most `tenant_slots`.

    However much another tenant has queued: while an item is its tenant's first and a slot of that
    tenant is free, the other is given no more than the tenant was given itself, and one item. So
    who was given nothing yet waits for one item of each other tenant at most.
    Given is the cost of items and TURN_COST for each. Callers see to it that one thread calls at a
    time.
    """

    def __init__(self, *, slots: int, tenant_slots: int) -> None:
        self._slots = slots
        self._tenant_slots = tenant_slots
        self._tenants: dict[str, _Tenant[T]] = {}
        self._waiting: dict[str, _Tenant[T]] = {}  # those of them that wait
        self._reached = 0  # the mark at which an item was last given its turn
        self._running = 0
        self.waiting = 0
        self.waiting_cost = 0

    def push(self, tenant: str, cost: int, item: T) -> None:
        """Queue an item behind its tenant's others."""
        one = self._tenants.get(tenant)
        if one is None:
            one = self._tenants[tenant] = _Tenant(0)
        if not one.waiting:
            one.mark = max(one.mark, self._floor())  # having been away saves nothing up
            self._waiting[tenant] = one
        one.waiting.append((cost, item))
        self.waiting += 1
        self.waiting_cost += cost

    def pop(self) -> tuple[str, T] | None:
        """The item whose turn it is, which takes a slot; None where there is none, or no slot."""
        if self._running >= self._slots:
            return None
        ready = [
            (one.mark, one.running, tenant)
            for tenant, one in self._waiting.items()
            if one.running < self._tenant_slots
        ]
        if not ready:
            return None
        mark, _, tenant = min(ready)
        one = self._tenants[tenant]
        cost, item = one.waiting.popleft()
        one.mark += cost + TURN_COST
        one.running += 1
        self._running += 1
        self._reached = max(self._reached, mark)
        self._left(tenant, one, cost)
        return tenant, item

    def done(self, tenant: str, *, more_cost: int = 0) -> None:
        """Give a slot back; `more_cost` is what the item cost beyond what it was queued with."""
        one = self._tenants[tenant]
        one.mark += more_cost
        one.running -= 1
        self._running -= 1
        if not self.waiting:
            self._forget()

    def discard(self, tenant: str, item: T) -> bool:
        """Take back an item that waits; whether there was one."""
        one = self._waiting.get(tenant)
        for place, (cost, waiting) in enumerate(one.waiting if one else ()):
            if one is not None and waiting is item:
                del one.waiting[place]
                self._left(tenant, one, cost)
                return True
        return False

    def clear(self) -> list[T]:
        """Take back all that waits."""
        items = [item for one in self._waiting.values() for _, item in one.waiting]
        for one in self._waiting.values():
            one.waiting.clear()
        self._waiting.clear()
        self.waiting = self.waiting_cost = 0
        return items

    def _left(self, tenant: str, one: _Tenant[T], cost: int) -> None:
        self.waiting -= 1
        self.waiting_cost -= cost
        if not one.waiting:
            del self._waiting[tenant]

    def _floor(self) -> int:
        """Where a tenant begins that comes now: beside the one that waits with the lowest mark."""
        return min((one.mark for one in self._waiting.values()), default=self._reached)

    def _forget(self) -> None:
        """Where nobody waits there is nothing to be shared: only what runs is remembered."""
        for tenant in [name for name, one in self._tenants.items() if not one.running]:
            del self._tenants[tenant]
