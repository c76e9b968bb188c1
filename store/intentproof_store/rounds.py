"""What a log says without being asked: that it was silent, and why. On the writer's thread."""

import logging
from collections.abc import Callable, Mapping, Sequence

from .rows import RowMaker
from .settings import LedgerSettings
from .silence import heartbeat
from .tenantlog import TenantLog

_log = logging.getLogger("intentproof.store")
_LOGS_MAX = 64  # that are served at a time, less the jobs that wait for the clerk
_RETRY_SECONDS = 5.0

Append = Callable[[Sequence[TenantLog], dict[str, RowMaker]], None]


class Rounds:
    """Looks after logs in which nothing happens. Many of them cost one frame and one fsync."""

    def __init__(
        self,
        settings: LedgerSettings,
        writer: str,
        logs: Mapping[str, TenantLog],
        *,
        clock_ns: Callable[[], int],
        append: Append,
    ) -> None:
        self._interval = settings.heartbeat_seconds
        self._writer = writer
        self._logs = logs
        self._clock_ns = clock_ns
        self._append = append
        self.fault: str | None = None

    def make(self, now: float, *, jobs: int) -> None:
        """Have each log that was silent for an interval say so.

        A few at a time, and as many as the clerk can sign soon: `jobs` wait for it. What the disk
        refuses is tried again; nothing is lost by it.
        """
        received_ns = self._clock_ns()
        silent = [
            log
            for log in self._logs.values()
            if log.is_silent(self._interval, now=now, now_ns=received_ns)
        ]
        if not silent:
            self.fault = None
        served = [log for log in silent if now >= log.rounds_due][: max(0, _LOGS_MAX - jobs)]
        if not served:
            return
        makers = {}
        for log in served:
            log.rounds_due = now + _RETRY_SECONDS
            makers[log.tenant] = maker = RowMaker(log.tenant, self._writer, received_ns)
            if not log.tell_silence(maker):
                maker.add_detail("heartbeat", heartbeat(self._interval))
        try:
            self._append(served, makers)
        except Exception as error:  # noqa: BLE001 - a bug of ours must not end the thread either
            self.fault = f"{type(error).__name__}: {error}"
            fields = {"reason": self.fault}
            _log.error("heartbeats could not be written", extra={"fields": fields})
            return
        self.fault = None
        for log in served:
            log.rounds_due = 0.0
            log.checkpoint_due = now  # silence is proved once it is signed
