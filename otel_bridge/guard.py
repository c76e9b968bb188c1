"""Faults that the program must not see: swallowed, counted, logged once."""

import logging
from types import TracebackType

_logger = logging.getLogger(__name__)


class OnceLog:
    """Logs the first message of each key, so that an outage does not flood the program's log."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def is_first(self, key: str) -> bool:
        """Whether nothing was told under this key yet; from now on something was."""
        if key in self._told:
            return False
        self._told.add(key)
        return True

    def forget(self, key: str) -> None:
        """Let the next message of this key be told again."""
        self._told.discard(key)


class Faults:
    """Counts faults. Any thread may add; the number never misleads by more than a race."""

    def __init__(self) -> None:
        self.count = 0
        self._once = OnceLog()

    def caught(self, where: str, error: BaseException) -> None:
        """Count one fault; log the first of its place and kind."""
        self.count += 1
        if self._once.is_first(f"{where} {type(error).__name__}"):
            _logger.error(
                "IntentProof: a fault in %s was kept from the program; further ones are only "
                "counted",
                where,
                exc_info=error,
            )


class Guard:
    """`with guard:` swallows what an Exception in the block would do to the program.

    KeyboardInterrupt and its like pass. One guard may be entered by many threads at once.
    """

    def __init__(self, where: str, faults: Faults) -> None:
        self._where = where
        self._faults = faults

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self._faults.caught(self._where, error)
        return True


_RECORDING = Faults()


def recording(where: str) -> Guard:
    """The guard of code that runs outside a processor: what it records is not worth a failure."""
    return Guard(where, _RECORDING)
