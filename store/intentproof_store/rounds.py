"""What a log says without being asked: that it was silent and why, and who writes beside it.

On the writer's thread.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from .holes import sequence_hole
from .layout import Layout
from .roster import seen_beside
from .rows import RowMaker
from .settings import LedgerSettings
from .silence import heartbeat
from .tenantlog import TenantLog

_log = logging.getLogger("intentproof.store")
_LOGS_MAX = 64  # that are served at a time, less the jobs that wait for the clerk
_RETRY_SECONDS = 5.0

Append = Callable[[Sequence[TenantLog], dict[str, RowMaker]], None]


class Rounds:
    """Looks after logs in which nothing happens. Many of them cost one frame each and one fsync."""

    def __init__(
        self,
        settings: LedgerSettings,
        layout: Layout,
        logs: Mapping[str, TenantLog],
        *,
        clock_ns: Callable[[], int],
        append: Append,
    ) -> None:
        self._settings = settings
        self._layout = layout
        self._logs = logs
        self._clock_ns = clock_ns
        self._append = append
        self.fault: str | None = None

    def make(self, now: float, *, jobs: int) -> None:
        """Have each log that was silent for an interval say so, and name the writers beside it.

        A few at a time, and as many as the clerk can sign soon: `jobs` wait for it. What the disk
        refuses is tried again; nothing is lost by it.
        """
        received_ns = self._clock_ns()
        due = [log for log in self._logs.values() if self._is_due(log, now, received_ns)]
        if not due:
            self.fault = None
        served = [log for log in due if now >= log.rounds_due][: max(0, _LOGS_MAX - jobs)]
        if not served:
            return
        try:
            self._serve(served, now, received_ns)
        except Exception as error:  # noqa: BLE001 - a bug of ours must not end the thread either
            self.fault = f"{type(error).__name__}: {error}"
            fields = {"reason": self.fault}
            _log.error("heartbeats could not be written", extra={"fields": fields})
            for log in served:
                log.rounds_due = now + _RETRY_SECONDS
        else:
            self.fault = None

    def _is_due(self, log: TenantLog, now: float, received_ns: int) -> bool:
        interval = self._settings.heartbeat_seconds
        return not log.is_ended and (
            now >= log.roster_due
            or log.is_silent(interval, now=now, now_ns=received_ns)
            or log.holes.is_due(self._settings.hole_seconds, now)
        )

    def _serve(self, served: Sequence[TenantLog], now: float, received_ns: int) -> None:
        interval = self._settings.heartbeat_seconds
        makers: dict[str, RowMaker] = {}
        added: list[tuple[TenantLog, dict[str, Any]]] = []
        looked = [log for log in served if now >= log.roster_due]
        for log in served:
            maker = RowMaker(log.tenant, log.roster.writer, received_ns)
            beside = self._beside(log, now)
            holes = self._holes(log, now)
            silent = log.is_silent(interval, now=now, now_ns=received_ns)
            spoken = bool(beside or holes)
            if (spoken or silent) and not log.tell_silence(maker, interval) and not spoken:
                maker.add_detail("heartbeat", heartbeat(interval))
            if holes:
                maker.add_detail("gap", sequence_hole(holes))
            for detail in beside:
                maker.add_detail("writer-added", detail)
            added += [(log, detail) for detail in beside]
            if maker:
                makers[log.tenant] = maker
        telling = [log for log in served if log.tenant in makers]
        if telling:
            self._append(telling, makers)
        for log, detail in added:
            log.learn(log.size - 1, "writer-added", orjson.dumps(detail).decode())
        for log in looked:
            log.roster_due = now + interval
        for log in telling:
            log.checkpoint_due = now  # silence is proved once it is signed

    def _holes(self, log: TenantLog, now: float) -> list[dict[str, Any]]:
        """Holes that stood long enough; none to tell where other receivers may have the numbers."""
        found = log.holes.take(self._settings.hole_seconds, now)
        others = set(self._layout.writers(log.tenant)) if found else set()
        return [] if others - log.roster.ended - {log.roster.writer} else found

    def _beside(self, log: TenantLog, now: float) -> list[dict[str, Any]]:
        if now < log.roster_due:
            return []
        return seen_beside(self._layout, self._settings.home, log.tenant, log.roster)
