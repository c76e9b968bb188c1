"""A bound on what requests hold in memory, taken before their bytes are read."""

import threading

from .errors import Unavailable
from .stages import stage

_REFUSAL = "too much in flight"


class Lease:
    """The part of a budget that one request holds, until `release`."""

    def __init__(self, budget: "Budget") -> None:
        self._budget = budget
        self._held = 0
        self._open = True

    def grow(self, size: int) -> None:
        """Hold `size` more bytes. Raises Unavailable where the budget does not have them."""
        self._budget.take(size)
        self._held += size

    def release(self) -> None:
        """Give everything back; a second call does nothing."""
        if self._open:
            self._open = False
            self._budget.give(self._held)


class Budget:
    """Bytes and requests in flight, each with a limit. Thread-safe."""

    def __init__(self, *, bytes_max: int, requests_max: int) -> None:
        self._bytes_max = bytes_max
        self._requests_max = requests_max
        self._lock = threading.Lock()
        self._bytes = 0
        self._requests = 0

    @property
    def bytes_held(self) -> int:
        """Bytes in flight now."""
        return self._bytes

    @property
    def requests_held(self) -> int:
        """Requests in flight now."""
        return self._requests

    @stage("admit")
    def lease(self) -> Lease:
        """Admit one request. Raises Unavailable where there are too many, or no bytes are left."""
        with self._lock:
            if self._requests >= self._requests_max or self._bytes >= self._bytes_max:
                raise Unavailable(_REFUSAL)
            self._requests += 1
        return Lease(self)

    def take(self, size: int) -> None:
        """Hold bytes of a lease. Raises Unavailable beyond the limit."""
        with self._lock:
            if self._bytes + size > self._bytes_max:
                raise Unavailable(_REFUSAL)
            self._bytes += size

    def give(self, size: int) -> None:
        """End a lease that held `size` bytes."""
        with self._lock:
            self._bytes -= size
            self._requests -= 1
