"""Bounds on what requests hold in memory, for the service and for each tenant."""

import threading
import time
from collections.abc import Callable

from .backlog import Backlog
from .errors import Unavailable
from .stages import stage


class Lease:
    """The part of a budget that one request holds, until `release`."""

    def __init__(self, budget: "Budget", tenant: str) -> None:
        self._budget = budget
        self.tenant = tenant
        self._open = True
        self.held = 0

    def grow(self, size: int) -> None:
        """Hold `size` more bytes. Raises Unavailable where the budget does not have them."""
        self._budget.take(self.tenant, size, alone=self.held)
        self.held += size

    def come_back(self) -> int:
        """The delay, in seconds, of a request that the budget took and something behind refuses."""
        return self._budget.come_back(self.held)

    def release(self, *, finished: bool = False) -> None:
        """Give everything back; a second call does nothing. `finished`: the request was taken."""
        if self._open:
            self._open = False
            self._budget.give(self.tenant, self.held, finished=finished)


class _Account:
    """What the service or one tenant holds, and may hold."""

    def __init__(self, owner: str, limits: tuple[int, int], clock: Callable[[], float]) -> None:
        self._owner = owner
        self._bytes_max, self._requests_max = limits
        self.backlog = Backlog(clock=clock)
        self.requests = 0

    def is_full(self) -> bool:
        return self.requests >= self._requests_max or self.backlog.held >= self._bytes_max

    def has_room(self, size: int) -> bool:
        return self.backlog.held + size <= self._bytes_max

    def refusal(self, size: int) -> Unavailable:
        return Unavailable(
            f"too much in flight of this {self._owner}",
            retry_after_s=self.backlog.refuse(size),
            reason=f"{self._owner}_limit",
        )


class Budget:
    """Bytes and requests in flight, of all and of each tenant, each with a limit. Thread-safe.

    A tenant's limits are those of the service where they are not given. The only request of a
    tenant may go beyond its bytes, to those of the service: before and after decompression it can
    be twice the largest message, and would else never be taken.
    """

    def __init__(
        self,
        *,
        bytes_max: int,
        requests_max: int,
        tenant_bytes_max: int | None = None,
        tenant_requests_max: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._tenant_limits = (tenant_bytes_max or bytes_max, tenant_requests_max or requests_max)
        self._lock = threading.Lock()
        self._service = _Account("service", (bytes_max, requests_max), clock)
        self._tenants: dict[str, _Account] = {}

    @property
    def bytes_held(self) -> int:
        """Bytes in flight now."""
        return self._service.backlog.held

    @property
    def requests_held(self) -> int:
        """Requests in flight now."""
        return self._service.requests

    def retry_delay(self) -> int:
        """The delay, in seconds, that the service's limit would tell now."""
        with self._lock:
            return self._service.backlog.delay()

    @stage("admit")
    def lease(self, tenant: str) -> Lease:
        """Admit one request. Raises Unavailable where there are too many, or no bytes are left."""
        with self._lock:
            accounts = self._accounts(tenant)
            for account in accounts:
                if account.is_full():
                    raise account.refusal(0)
            for account in accounts:
                account.requests += 1
        return Lease(self, tenant)

    def take(self, tenant: str, size: int, *, alone: int = 0) -> None:
        """Hold bytes of a lease that has `alone` so far. Raises Unavailable beyond a limit."""
        with self._lock:
            of_tenant, service = self._accounts(tenant)
            if not of_tenant.has_room(size) and of_tenant.backlog.held > alone:
                raise of_tenant.refusal(size)
            if not service.has_room(size):
                raise service.refusal(size)
            for account in (of_tenant, service):
                account.backlog.hold(size)

    def come_back(self, size: int) -> int:
        """Count a request as refused by the service; its delay in seconds."""
        with self._lock:
            return self._service.backlog.refuse(size)

    def give(self, tenant: str, size: int, *, finished: bool) -> None:
        """End a lease that held `size` bytes."""
        with self._lock:
            for account in self._accounts(tenant):
                account.backlog.give(size, finished=finished)
                account.requests -= 1

    def _accounts(self, tenant: str) -> tuple[_Account, _Account]:
        if tenant not in self._tenants:  # only of tenants that have a key: they stay few
            self._tenants[tenant] = _Account("tenant", self._tenant_limits, self._clock)
        return self._tenants[tenant], self._service
