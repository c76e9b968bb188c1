"""A number that any thread counts up."""

import threading


class Tally:
    """Counts since the process started. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    @property
    def count(self) -> int:
        """How often so far."""
        return self._count

    def add(self) -> int:
        """Count one more; the count with it."""
        with self._lock:
            self._count += 1
            return self._count
