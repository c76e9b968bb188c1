"""The ledger: what the receiver hands over becomes durable here, or is refused.

One thread writes. It takes what waits, decides what is new, appends one frame a tenant, fsyncs
once, and only then completes the futures (group commit). Sealing and signing happen behind it.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from intentproof_schemas import ExecutionEvent

from .clerk import Clerk, Sealed
from .errors import StoreUnavailable
from .hotlog import NewFrame
from .layout import check_tenant, date_of
from .quarantine import Undecodable
from .recovery import Recovered, recover
from .rows import RowMaker
from .settings import LedgerSettings
from .tenantlog import Appended, TenantLog, leaf_hashes

_log = logging.getLogger("intentproof.store")
_TICK_SECONDS = 0.25
_SEALS_MAX = 3  # segments that may wait: what is acknowledged faster than sealed, waits in front
_SEAL_WAIT_SECONDS = 10.0
_STEP_BACK_NS = 10**9  # contract §4: a step back of over one second is told in the log
_EVENT_OVERHEAD = 400  # bytes that a waiting event costs beside its texts


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
    """The ledger in numbers. `fault` names what keeps it from taking or sealing events."""

    writer: str
    tenants: dict[str, TenantStatus]
    queued: int
    queued_bytes: int
    healthy: bool
    fault: str | None
    frames: int
    sealed_segments: int
    fsync_seconds_total: float


@dataclass(frozen=True)
class _Submission:
    tenant: str
    events: Sequence[ExecutionEvent]
    undecodable: Sequence[Undecodable]
    weight: int
    future: "Future[Appended]"


class Ledger:
    """A store open for writing. Thread-safe; a context manager."""

    def __init__(
        self, settings: LedgerSettings, recovered: Recovered, clock_ns: Callable[[], int]
    ) -> None:
        self._settings = settings
        self._clock_ns = clock_ns
        self._lock = recovered.lock
        self._factory = recovered.factory
        self._logs = recovered.logs
        self._hot = recovered.hot
        self._clerk = Clerk(
            recovered.layout,
            recovered.identity,
            recovered.signer,
            read=recovered.hot.read,
            done=self._sealed,
        )
        for tenant, tree in recovered.trees.items():
            self._clerk.add_tree(tenant, tree)
        self._writer_id = recovered.identity.writer
        self._queue: queue.SimpleQueue[_Submission | Sealed | None] = queue.SimpleQueue()
        self._gate = threading.Lock()
        self._queued = 0
        self._queued_bytes = 0
        self._open = True
        self._fault: str | None = None
        self._frames = 0
        self._segments = 0
        self._fsync_seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="intentproof-writer", daemon=True)

    @classmethod
    def open(
        cls, settings: LedgerSettings, *, clock_ns: Callable[[], int] = time.time_ns
    ) -> "Ledger":
        """Recover what is on disk and begin to write. Blocks until recovery is done.

        Raises LedgerLocked where another process holds this writer, LedgerBehind where the store
        holds less than this writer signed, HomeInvalid and StoreError for damaged files.
        """
        recovered = recover(settings, clock_ns=clock_ns)
        ledger = cls(settings, recovered, clock_ns)
        for job in recovered.jobs:
            ledger._clerk.submit(job)
        ledger._clerk.start()
        ledger._thread.start()
        return ledger

    def append(
        self,
        tenant: str,
        events: Sequence[ExecutionEvent],
        undecodable: Sequence[Undecodable] = (),
    ) -> "Future[Appended]":
        """Take events of a tenant; the future completes when they are fsynced.

        Never blocks on the disk. The future fails with StoreUnavailable where the disk or the
        queue is full or the ledger closes: nothing was acknowledged, send it again.
        """
        check_tenant(tenant)
        weight = sum(map(_weight, events)) + sum(len(item.raw) for item in undecodable)
        future: Future[Appended] = Future()
        with self._gate:
            if not self._open:
                raise StoreUnavailable("the store is closing")
            if self._queued_bytes + weight > self._settings.queue_bytes and self._queued:
                raise StoreUnavailable("the store's queue is full")
            self._queued += 1
            self._queued_bytes += weight
            # Inside the gate, so that nothing can be queued behind the end of the queue.
            self._queue.put(_Submission(tenant, events, undecodable, weight, future))
        return future

    def status(self) -> LedgerStatus:
        """The ledger in numbers. Never blocks on the disk."""
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
            for tenant, log in list(self._logs.items())
        }
        fault = self._fault or self._clerk.fault
        return LedgerStatus(
            writer=self._writer_id,
            tenants=tenants,
            queued=self._queued,
            queued_bytes=self._queued_bytes,
            healthy=self._open and fault is None,
            fault=fault,
            frames=self._frames,
            sealed_segments=self._segments,
            fsync_seconds_total=self._fsync_seconds,
        )

    def close(self) -> None:
        """Finish what was taken, seal everything, sign it, release the lock. Blocks. Idempotent."""
        with self._gate:
            if not self._open:
                return
            self._open = False
            self._queue.put(None)
        self._thread.join()
        self._clerk.close()
        self._drain_sealed()
        self._hot.close()
        self._factory.close()
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

    # The writer's thread.

    def _run(self) -> None:
        while True:
            group, ended = self._take()
            if group and self._clerk.wait_below(_SEALS_MAX, _SEAL_WAIT_SECONDS):
                self._write(group)
            elif group:
                lag = StoreUnavailable(f"sealing lags behind: {self._clerk.fault or 'disk busy'}")
                self._settle(group, lag)
            if ended:
                break
            self._tick()
        for log in self._logs.values():
            self._cut(log, log.day)

    def _take(self) -> tuple[list[_Submission], bool]:
        """What waits, up to a group; and whether the queue ended."""
        group: list[_Submission] = []
        rows = 0
        timeout: float | None = _TICK_SECONDS
        while rows < self._settings.group_rows:
            try:
                item = self._queue.get(timeout=timeout) if timeout else self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None:
                return group, True
            if isinstance(item, Sealed):
                self._release(item)
                continue
            group.append(item)
            rows += len(item.events) + len(item.undecodable)
            timeout = None
        return group, False

    def _write(self, group: Sequence[_Submission]) -> None:
        by_tenant: dict[str, list[_Submission]] = {}
        for item in group:
            by_tenant.setdefault(item.tenant, []).append(item)
        try:
            results = self._commit(by_tenant)
        except Exception as error:  # noqa: BLE001 - our own fault must never destroy evidence
            self._fault = f"{type(error).__name__}: {error}"
            _log.exception("a group was refused")
            for tenant in by_tenant:
                if tenant in self._logs:
                    self._logs[tenant].discard()
            self._settle(group, StoreUnavailable(f"the store cannot write: {error}"))
            return
        self._fault = None
        self._settle(group, None)
        for tenant, appended in results.items():
            for item, result in zip(by_tenant[tenant], appended, strict=True):
                item.future.set_result(result)

    def _settle(self, group: Sequence[_Submission], error: StoreUnavailable | None) -> None:
        with self._gate:
            self._queued -= len(group)
            self._queued_bytes -= sum(item.weight for item in group)
        if error is not None:
            for item in group:
                item.future.set_exception(error)

    def _commit(self, by_tenant: dict[str, list[_Submission]]) -> dict[str, list[Appended]]:
        """Decide, write, fsync. Whatever it raises, nothing of the group was taken."""
        received_ns = self._clock_ns()
        today = date_of(received_ns)
        makers: dict[str, RowMaker] = {}
        results: dict[str, list[Appended]] = {}
        early: list[tuple[str, str]] = []
        for tenant, items in by_tenant.items():
            log = self._log_of(tenant, received_ns)
            if log.day != today:
                self._cut(log, today)
            maker = RowMaker(tenant, self._writer_id, received_ns)
            if received_ns < log.last_received_ns - _STEP_BACK_NS:
                maker.add_detail("gap", _step_back(log.last_received_ns, received_ns))
            events = [event for item in items for event in item.events]
            log.sameness.prepare(events, today)
            early += [(tenant, e.event_id) for e in events if log.sameness.is_early(e, received_ns)]
            results[tenant] = [log.admit(maker, item.events, item.undecodable) for item in items]
            makers[tenant] = maker
        if early:
            self._factory.remember_early(early, self._logs)
        self._append(makers, results, today)
        return results

    def _append(
        self, makers: dict[str, RowMaker], results: dict[str, list[Appended]], today: str
    ) -> None:
        full = {tenant: maker for tenant, maker in makers.items() if maker.rows}
        frames = [
            NewFrame(tenant, maker.batch(self._logs[tenant].size), today)
            for tenant, maker in full.items()
        ]
        started = time.perf_counter()
        refs = self._hot.append(frames) if frames else []
        self._fsync_seconds += time.perf_counter() - started
        self._frames += len(refs)
        now = time.monotonic()
        by_tenant = {ref.tenant: ref for ref in refs}
        for tenant in makers:
            log = self._logs[tenant]
            ref = by_tenant.get(tenant)
            hashes = leaf_hashes(full[tenant]) if ref else b""
            log.commit([ref] if ref else [], hashes, results[tenant])
            log.last_received_ns = full[tenant].received_ns if ref else log.last_received_ns
            if ref and not log.hot_since:
                log.hot_since = now

    def _log_of(self, tenant: str, received_ns: int) -> TenantLog:
        log = self._logs.get(tenant)
        if log is None:
            log, tree = self._factory.create(tenant, self._hot, received_ns)
            self._clerk.add_tree(tenant, tree)
            log.hot_since = time.monotonic()
            log.checkpoint_due = time.monotonic() + self._settings.checkpoint_seconds
            self._logs[tenant] = log
        return log

    def _tick(self) -> None:
        now = time.monotonic()
        today = date_of(self._clock_ns())
        settings = self._settings
        for log in self._logs.values():
            if log.refs and (
                log.hot_rows >= settings.seal_rows
                or log.hot_bytes >= settings.seal_bytes
                or now - log.hot_since >= settings.seal_seconds
                or log.day != today
            ):
                self._cut(log, today)
            elif now >= log.checkpoint_due:
                log.checkpoint_due = now + settings.checkpoint_seconds
                job = log.checkpoint()
                if job is not None:
                    self._clerk.submit(job)

    def _cut(self, log: TenantLog, next_day: str) -> None:
        job = log.cut(next_day)
        if job is not None:
            self._clerk.submit(job)

    def _sealed(self, sealed: Sealed) -> None:
        """On the clerk's thread: the writer owns the state, so it is told through its queue."""
        self._queue.put(sealed)

    def _drain_sealed(self) -> None:
        while not self._queue.empty():
            item = self._queue.get()
            if isinstance(item, Sealed):
                self._release(item)

    def _release(self, sealed: Sealed) -> None:
        log = self._logs[sealed.job.tenant]
        log.sameness.sealed(sealed.job.generation, sealed.path)
        log.sealed_rows += sum(ref.rows for ref in sealed.job.refs)
        self._segments += 1
        self._hot.release(sealed.job.refs)


def _weight(event: ExecutionEvent) -> int:
    texts = len(event.inputs) + len(event.attributes) + len(event.intent)
    return _EVENT_OVERHEAD + texts + len(event.output or "") + len(event.error or "")


def _step_back(before_ns: int, now_ns: int) -> dict[str, str]:
    return {
        "from_ns": str(before_ns),
        "message": "the wall clock of the receiver went back",
        "reason": "clock_step_back",
        "to_ns": str(now_ns),
    }
