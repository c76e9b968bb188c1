"""The ledger: what the receiver hands over becomes durable here, or is refused.

One thread writes. It takes what waits, decides what is new, appends one frame a tenant, fsyncs
once, and only then completes the futures (group commit). Sealing and signing happen behind it.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from intentproof_schemas import ExecutionEvent

from .arrivals import Arrivals, Submission
from .events import checked_events, event_columns
from .identity import remember_stop
from .layout import Layout, check_tenant
from .quarantine import Undecodable
from .recovery import Recovered, recover
from .rotation import finish_rotation, is_rotating, tell_rotation
from .settings import LedgerSettings
from .tenantlog import Appended, Arrival
from .writer import Writer

_log = logging.getLogger("intentproof.store")
_BATCH_OVERHEAD = 8_192  # bytes that a waiting batch costs beside its columns


@dataclass(frozen=True)
class TenantStatus:
    """One log in numbers, since this process started but for size and rows."""

    size: int
    hot_rows: int
    sealed_rows: int
    stored: int
    duplicates: int
    conflicts: int
    quarantined: int


@dataclass(frozen=True)
class LedgerStatus:
    """The ledger in numbers. `fault` names what keeps it from taking or sealing events.

    `hot_seconds` and `unsigned_seconds` are the ages of what has waited longest for a segment and
    for a checkpoint, 0 where nothing waits; `jobs` wait for the clerk, `seals` of them to seal.
    """

    writer: str
    tenants: dict[str, TenantStatus]
    queued: int
    queued_bytes: int
    healthy: bool
    fault: str | None
    frames: int
    sealed_segments: int
    fsync_seconds_total: float
    fsyncs: int = 0
    refused: int = 0
    hot_bytes: int = 0
    hot_seconds: float = 0.0
    unsigned_seconds: float = 0.0
    jobs: int = 0
    seals: int = 0
    clerk_faults: int = 0
    clock_steps_back: int = 0


class Ledger:
    """A store open for writing. Thread-safe; a context manager."""

    def __init__(
        self, settings: LedgerSettings, recovered: Recovered, clock_ns: Callable[[], int]
    ) -> None:
        self._lock = recovered.lock
        self._factory = recovered.factory
        self._hot = recovered.hot
        self._identity = recovered.identity
        self._clock_ns = clock_ns
        self._arrivals = Arrivals(bytes_max=settings.queue_bytes)
        self._writer = Writer(settings, recovered, clock_ns=clock_ns, arrivals=self._arrivals)
        self._thread = threading.Thread(
            target=self._writer.run, name="intentproof-writer", daemon=True
        )

    @classmethod
    def open(
        cls, settings: LedgerSettings, *, clock_ns: Callable[[], int] = time.time_ns
    ) -> "Ledger":
        """Recover what is on disk and begin to write. Blocks until recovery is done.

        A rotation of the key that was begun is carried out first. Raises LedgerLocked where another
        process holds this writer, LedgerBehind where the store holds less than this writer signed,
        HomeInvalid and StoreError for damaged files.
        """
        if is_rotating(settings.home) and not settings.new_writer:
            with cls._open(settings, clock_ns) as ledger:  # which signs with both keys
                identity = ledger._identity  # noqa: SLF001 - of this class
                tell_rotation(identity, ledger._writer.logs, ledger.tell)  # noqa: SLF001
            finish_rotation(Layout(settings.store), identity)
        return cls._open(settings, clock_ns)

    @classmethod
    def _open(cls, settings: LedgerSettings, clock_ns: Callable[[], int]) -> "Ledger":
        recovered = recover(settings, clock_ns=clock_ns)
        ledger = cls(settings, recovered, clock_ns)
        ledger._writer.clerk.start()
        ledger._thread.start()
        return ledger

    def append(
        self,
        tenant: str,
        events: Sequence[ExecutionEvent] | pa.RecordBatch,
        undecodable: Sequence[Undecodable] = (),
    ) -> "Future[Appended]":
        """Take events of a tenant, as they are or as a batch of EVENT_SCHEMA.

        The future completes when they are fsynced.
        Never blocks on the disk. The future fails with StoreUnavailable where the disk or the
        queue is full or the ledger closes: nothing was acknowledged, send it again. Raises
        EventsInvalid for events that cannot be written, now or later.
        """
        check_tenant(tenant)
        columns = (
            checked_events(events) if isinstance(events, pa.RecordBatch) else event_columns(events)
        )
        weight = (
            columns.get_total_buffer_size()
            + sum(len(item.raw) for item in undecodable)
            + _BATCH_OVERHEAD
        )
        future: Future[Appended] = Future()
        self._arrivals.submit(Submission(tenant, Arrival(columns, undecodable), weight, future))
        return future

    def tell(self, tenant: str, kind: str, detail: dict[str, Any]) -> "Future[Appended]":
        """Append a leaf of a kind that has only a detail; as `append`, for what is no event.

        The future completes when the leaf is fsynced; a checkpoint covers it when one is due.
        """
        check_tenant(tenant)
        future: Future[Appended] = Future()
        arrival = Arrival(event_columns([]), told=((kind, detail),))
        self._arrivals.submit(Submission(tenant, arrival, _BATCH_OVERHEAD, future))
        return future

    def has_ended(self, tenant: str) -> bool:
        """Whether this writer's log of a tenant says last that it ends."""
        log = self._writer.logs.get(tenant)
        return log is not None and log.is_ended

    def status(self) -> LedgerStatus:
        """The ledger in numbers. Never blocks on the disk."""
        writer = self._writer
        logs = dict(writer.logs)
        now = time.monotonic()
        tenants = {
            tenant: TenantStatus(
                size=log.size,
                hot_rows=log.hot_rows,
                sealed_rows=log.sealed_rows,
                stored=log.totals.stored,
                duplicates=log.totals.duplicates,
                conflicts=log.totals.conflicts,
                quarantined=log.totals.quarantined,
            )
            for tenant, log in logs.items()
        }
        fault = writer.fault or writer.clerk.fault or writer.rounds.fault
        return LedgerStatus(
            writer=self._identity.writer,
            tenants=tenants,
            queued=self._arrivals.submissions,
            queued_bytes=self._arrivals.bytes,
            healthy=self._arrivals.is_open and fault is None,
            fault=fault,
            frames=writer.frames,
            sealed_segments=writer.segments,
            fsync_seconds_total=writer.fsync_seconds,
            fsyncs=writer.fsyncs,
            refused=writer.refused,
            hot_bytes=sum(log.hot_bytes for log in logs.values()),
            hot_seconds=_age(now, [log.hot_since for log in logs.values()]),
            unsigned_seconds=_age(
                now, [writer.clerk.oldest_job, *(log.unsigned_since for log in logs.values())]
            ),
            jobs=writer.clerk.jobs,
            seals=writer.clerk.seals,
            clerk_faults=writer.clerk.faults,
            clock_steps_back=writer.clock_steps_back,
        )

    def close(self) -> None:
        """Finish what was taken, seal everything, sign it, release the lock. Blocks. Idempotent."""
        if not self._arrivals.close():
            return
        self._thread.join()
        self._writer.finish()
        self._hot.close()
        self._factory.close()
        try:
            remember_stop(self._identity.home, self._clock_ns())
        except OSError as error:
            fields = {"reason": str(error)}
            _log.warning("the next start will tell of a kill", extra={"fields": fields})
        finally:
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _age(now: float, moments: Sequence[float]) -> float:
    """Seconds since the earliest of these moments, of which 0 is none."""
    return max([now - moment for moment in moments if moment], default=0.0)
