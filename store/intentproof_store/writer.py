"""The writer: one thread that decides, writes and fsyncs, a group at a time.

It owns all state of the logs. The clerk's answers reach it through the queue from which it takes
what arrives, so that nothing here needs a lock.
"""

import logging
import queue
import time
from collections.abc import Callable, Sequence

from intentproof_schemas import LeafInvalid

from .arrivals import Arrivals, Submission
from .clerk import Clerk, Ran, Sealed
from .errors import StoreBusy, StoreUnavailable
from .fulfilment import Fulfilment, Hands
from .hotlog import NewFrame
from .layout import date_of
from .recovery import Recovered
from .rounds import Rounds
from .rows import RowMaker
from .settings import LedgerSettings
from .tenantlog import Appended, TenantLog

_log = logging.getLogger("intentproof.store")
_TICK_SECONDS = 0.25
_GROUP_BYTES = 32 << 20  # beside the last submission: a frame must stay one that can be read
_SEALS_MAX = 2  # segments that may wait: what is acknowledged faster than sealed, waits in front
_SEAL_WAIT_SECONDS = 10.0


class Writer:
    """The writer's state and its loop. `run` is the thread; the rest is read for status only.

    Each group that is done is settled before its futures complete.
    """

    def __init__(
        self,
        settings: LedgerSettings,
        recovered: Recovered,
        *,
        clock_ns: Callable[[], int],
        arrivals: Arrivals,
    ) -> None:
        self._settings = settings
        self._clock_ns = clock_ns
        self._arrivals = arrivals
        self._factory = recovered.factory
        self._hot = recovered.hot
        self._writer_id = recovered.identity.writer
        self.logs = recovered.logs
        self.clerk = Clerk(
            recovered.layout,
            recovered.identity,
            recovered.signer,
            read=recovered.hot.read,
            done=arrivals.answer,
        )
        for tenant, tree in recovered.trees.items():
            self.clerk.add_tree(tenant, tree)
        for job in recovered.jobs:
            self.clerk.submit(job)
        self.rounds = Rounds(
            settings,
            recovered.layout,
            self.logs,
            clock_ns=clock_ns,
            append=self._append_told,
        )
        self._fulfilment = Fulfilment(
            settings,
            recovered.layout,
            recovered.identity,
            Hands(
                hot=self._hot,
                factory=self._factory,
                logs=self.logs,
                submit=self.clerk.submit,
                cut=self._cut,
                clock_ns=clock_ns,
                rest=self.clerk.rest,
            ),
        )
        self.fault: str | None = None
        self.frames = 0
        self.segments = 0
        self.fsyncs = 0
        self.fsync_seconds = 0.0
        self.refused = 0

    @property
    def clock_steps_back(self) -> int:
        """How often the wall clock went back, as the logs tell it."""
        return sum(log.steps_back for log in dict(self.logs).values())

    def run(self) -> None:
        """Take, decide, write, answer; until the queue ends. Then seal everything."""
        while True:
            group, ended = self._take()
            if group and self.clerk.wait_below(_SEALS_MAX, _SEAL_WAIT_SECONDS):
                self._write(group)
            elif group:
                lag = f"sealing lags behind: {self.clerk.fault or 'the disk is busy'}"
                self._refuse(group, StoreBusy(lag))
            if ended:
                break
            self._tick()
        self._fulfilment.close()
        for log in self.logs.values():
            self._cut(log, log.day)

    def _take(self) -> tuple[list[Submission], bool]:
        """What waits, up to a group; and whether the queue ended."""
        group: list[Submission] = []
        rows = size = 0
        timeout = _TICK_SECONDS
        while rows < self._settings.group_rows and size < _GROUP_BYTES:
            try:
                item = self._arrivals.take(timeout)
            except queue.Empty:
                break
            if item is None:
                return group, True
            if isinstance(item, Sealed | Ran):
                self._take_answer(item)
                continue
            if not item.future.set_running_or_notify_cancel():
                self._arrivals.settle([item])  # the caller gave up before anything was done
                continue
            group.append(item)
            rows += item.arrival.events.num_rows + len(item.arrival.undecodable)
            size += item.weight
            timeout = 0.0
        return group, False

    def _write(self, group: Sequence[Submission]) -> None:
        by_tenant: dict[str, list[Submission]] = {}
        for item in group:
            by_tenant.setdefault(item.tenant, []).append(item)
        try:
            results = self._commit(by_tenant)
        except Exception as error:  # noqa: BLE001 - our own fault must never destroy evidence
            for tenant in by_tenant:
                if tenant in self.logs:
                    self.logs[tenant].discard()
            if isinstance(error, LeafInvalid) and len(group) > 1:
                for item in group:  # one of them is at fault, and alone in it
                    self._write([item])
                return
            self.fault = f"{type(error).__name__}: {error}"
            _log.exception("a group was refused")
            self._refuse(group, StoreUnavailable(f"the store cannot write: {error}"))
            return
        self.fault = None
        self._arrivals.settle(group)
        for tenant, appended in results.items():
            for item, result in zip(by_tenant[tenant], appended, strict=True):
                item.future.set_result(result)

    def _refuse(self, group: Sequence[Submission], error: StoreUnavailable) -> None:
        self._arrivals.settle(group)
        self.refused += len(group)
        for item in group:
            item.future.set_exception(error)

    def _commit(self, by_tenant: dict[str, list[Submission]]) -> dict[str, list[Appended]]:
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
            makers[tenant] = maker = RowMaker(tenant, self._writer_id, received_ns)
            log.tell_silence(maker, self._settings.heartbeat_seconds)
            for item in items:
                ids = log.sameness.early(item.arrival.events, received_ns)
                early += [(tenant, event_id) for event_id in ids]
            results[tenant] = log.admit(maker, [item.arrival for item in items], today)
        if early:
            self._factory.remember_early(early, self.logs)
        self._append(makers, results, today)
        return results

    def _append(
        self, makers: dict[str, RowMaker], results: dict[str, list[Appended]], today: str
    ) -> None:
        full = {tenant: maker for tenant, maker in makers.items() if maker}
        frames = [
            NewFrame(tenant, maker.batch(self.logs[tenant].size), today)
            for tenant, maker in full.items()
        ]
        started = time.perf_counter()
        refs = self._hot.append(frames) if frames else []
        self.fsync_seconds += time.perf_counter() - started
        self.fsyncs += bool(frames)
        self.frames += len(refs)
        now = time.monotonic()
        by_tenant = {ref.tenant: ref for ref in refs}
        for tenant in makers:
            log = self.logs[tenant]
            ref = by_tenant.get(tenant)
            log.commit([ref] if ref else [], results[tenant])
            log.last_received_ns = full[tenant].received_ns if ref else log.last_received_ns
            if ref and not log.hot_since:
                log.hot_since = now
            log.quiet = log.quiet and not ref

    def _append_told(self, logs: Sequence[TenantLog], makers: dict[str, RowMaker]) -> None:
        """Append what logs say unasked. Raises OSError and StoreError: nothing was kept."""
        today = date_of(makers[logs[0].tenant].received_ns)
        for log in logs:
            self._factory.sign_genesis(log)
            if log.day != today:
                self._cut(log, today)
        alone = [log for log in logs if log.quiet or not log.refs]
        self._append(makers, {tenant: [] for tenant in makers}, today)
        for log in alone:
            log.quiet, log.hot_since = True, 0.0

    def _log_of(self, tenant: str, received_ns: int) -> TenantLog:
        log = self.logs.get(tenant)
        if log is None:
            log, tree = self._factory.create(tenant, self._hot, received_ns)
            self.clerk.add_tree(tenant, tree)
            log.hot_since = time.monotonic()
            log.checkpoint_due = time.monotonic() + self._settings.checkpoint_seconds
            self.logs[tenant] = log
        self._factory.sign_genesis(log)
        return log

    def _tick(self) -> None:
        now = time.monotonic()
        today = date_of(self._clock_ns())
        settings = self._settings
        self.rounds.make(now, jobs=self.clerk.jobs)
        self._fulfilment.poll()
        for log in self.logs.values():
            if log.quiet:
                if self._may_seal_quiet(log, today):
                    self._cut(log, today)
            elif log.refs and (
                log.hot_rows >= settings.seal_rows
                or log.hot_bytes >= settings.seal_bytes
                or now - log.hot_since >= settings.seal_seconds
                or log.day != today
            ):
                self._cut(log, today)
            if now >= log.checkpoint_due:
                log.checkpoint_due = now + settings.checkpoint_seconds
                job = log.checkpoint()
                if job is not None:
                    self.clerk.submit(job)

    def _may_seal_quiet(self, log: TenantLog, today: str) -> bool:
        """Heartbeats share a segment a day, unless they keep a full hot file from going.

        One log at a time: many idle ones at midnight must not keep the others waiting.
        """
        is_due = log.day != today or not self._hot.is_open(log.refs[0])
        return is_due and self.clerk.seals == 0

    def _cut(self, log: TenantLog, next_day: str) -> None:
        job = log.cut(next_day)
        if job is not None:
            self.clerk.submit(job)

    def finish(self) -> None:
        """After the thread: let the clerk end, and free what it sealed."""
        self.clerk.close()
        while (item := self._arrivals.take(0.0)) is not None:
            if isinstance(item, Sealed | Ran):
                self._take_answer(item)

    def _take_answer(self, item: Sealed | Ran) -> None:
        if isinstance(item, Sealed):
            self._release(item)
        else:
            item.then()

    def _release(self, sealed: Sealed) -> None:
        log = self.logs[sealed.job.tenant]
        log.sameness.sealed(sealed.job.generation, sealed.path)
        log.sealed_rows += sum(ref.rows for ref in sealed.job.refs)
        self.segments += 1
        self._hot.release(sealed.job.refs)
