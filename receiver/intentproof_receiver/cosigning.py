"""Sends new checkpoints to the configured witnesses, behind the ledger and never in its way.

One thread a witness, so that a slow one keeps nobody waiting. Only the newest checkpoint of a log
is sent; what failed is tried again, later each time.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from intentproof_store import LedgerStatus, StoreError, WitnessedLog

from .errors import WitnessDisagrees, WitnessFailed
from .homefile import Stamp, stamp_of
from .logs import log
from .witness_client import WitnessClient, cosign_log
from .witness_settings import WitnessSetting

_LOOK_SECONDS = 1.0
_BACKOFF_SECONDS_MAX = 60.0
_END_SECONDS = 5.0  # that the end of the process waits for the last cosignatures
# A cosignature tells that its checkpoint was the newest at that time. `verify --policy` holds the
# times of later leaves against it, so no checkpoint is sent that lags further behind than this.
UNCOVERED_SECONDS_MAX = 120.0
_SKEW_SECONDS_MAX = 60  # of the 300 that `verify --policy` tolerates
_log = logging.getLogger(__name__)


@dataclass
class _Log:
    """How far a witness is with one log."""

    seen: Stamp | None = None  # of the newest checkpoint when it was cosigned
    known_size: int = 0
    failures: int = 0
    next_try: float = 0.0
    is_waiting: bool = False
    disagrees: bool = False


@dataclass(frozen=True)
class WitnessStatus:
    """One witness in numbers, since this process started. `last_s` is in Unix seconds, 0 if none.

    `waiting` logs have a checkpoint that is not cosigned; with `disagreeing` ones the witness saw
    what this store does not have.
    """

    name: str
    cosigned: int
    last_s: int
    waiting: int
    disagreeing: int
    failures: dict[str, int]


@dataclass
class _Counts:
    cosigned: int = 0
    last_s: int = 0
    failures: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("unreachable", "unknown_log", "refused", "invalid", "disagrees", "store"), 0
        )
    )


class Sizes:
    """How large each log was some minutes ago, as far as was looked. Thread-safe."""

    def __init__(
        self,
        status: Callable[[], LedgerStatus],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._status = status
        self._clock = clock
        self._lock = threading.Lock()
        self._looked = clock()
        now = status()
        self.writer = now.writer
        # Moments and sizes from then on. What was replayed at the start may be of any age.
        self._seen = {
            tenant: deque([(float("-inf"), one.size)]) for tenant, one in now.tenants.items()
        }

    def look(self) -> list[str]:
        """Look at the ledger; the tenants that have a log."""
        with self._lock:
            before, self._looked = self._looked, self._clock()
            for tenant, one in self._status().tenants.items():
                seen = self._seen.setdefault(tenant, deque([(float("-inf"), 0)]))
                if one.size != seen[-1][1]:
                    seen.append((before, one.size))  # it came after the look before
                while len(seen) > 1 and seen[1][0] <= self._looked - UNCOVERED_SECONDS_MAX:
                    seen.popleft()
            return list(self._seen)

    def is_recent(self, tenant: str, size: int) -> bool:
        """Whether so many leaves are all but the last two minutes' of the log, if it has one."""
        with self._lock:
            seen = self._seen.get(tenant)
            return seen is None or size >= seen[0][1]


class _Sender:
    """One witness, on a thread of its own."""

    def __init__(
        self,
        setting: WitnessSetting,
        store: Path,
        sizes: Sizes,
        stopping: threading.Event,
    ) -> None:
        self.name = setting.name
        self._client = WitnessClient(setting)
        self._store = store
        self._sizes = sizes
        self._stopping = stopping
        self._logs: dict[str, _Log] = {}
        self._counts = _Counts()
        self._failures = 0
        self._next_try = 0.0
        self.thread = threading.Thread(
            target=self._run, name=f"intentproof-witness-{setting.name}", daemon=True
        )

    def status(self) -> WitnessStatus:
        logs = list(self._logs.values())
        return WitnessStatus(
            self.name,
            self._counts.cosigned,
            self._counts.last_s,
            sum(one.is_waiting for one in logs),
            sum(one.disagrees for one in logs),
            dict(self._counts.failures),
        )

    def _run(self) -> None:
        try:
            while not self._stopping.wait(_LOOK_SECONDS):
                self._guarded_round()
            self._next_try = 0.0  # once more for what was signed at the end, whatever failed before
            self._guarded_round(final=True)
        finally:
            self._client.close()

    def _guarded_round(self, *, final: bool = False) -> None:
        try:
            self._round(final=final)
        except Exception as error:  # noqa: BLE001 - a bug of ours must not end the thread either
            self._counts.failures["store"] += 1
            _log.error("witness_round_failed", exc_info=error)

    def _round(self, *, final: bool) -> None:
        for tenant in self._sizes.look():
            now = time.monotonic()
            if now < self._next_try:
                return
            state = self._logs.setdefault(tenant, _Log())
            if now >= state.next_try or final:
                self._look(WitnessedLog.of(self._store, tenant, self._sizes.writer), state)

    def _look(self, one: WitnessedLog, state: _Log) -> None:
        seen = stamp_of(one.newest_path)
        if seen is None or seen == state.seen:
            return
        try:
            size = one.newest_size()
            state.is_waiting = True
            if not self._sizes.is_recent(one.tenant, size):
                return  # the next checkpoint is due
            time_s = cosign_log(self._client, one, old_size=state.known_size, size=size)
        except WitnessFailed as error:
            self._failed(one, state, error.reason, error)
        except WitnessDisagrees as error:
            state.disagrees = True
            self._failed(one, state, "disagrees", error)
        except (StoreError, OSError) as error:  # a tile that is being replaced, or a damaged one
            self._failed(one, state, "store", error)
        else:
            self._counts.cosigned += 1
            self._counts.last_s = max(self._counts.last_s, time_s)
            self._failures, self._next_try = 0, 0.0
            self._logs[one.tenant] = _Log(seen=seen, known_size=size)
            self._compare_clocks(time_s)

    def _compare_clocks(self, time_s: int) -> None:
        """Tell of a clock by which the times in the log would look forged."""
        skew_s = round(time.time()) - time_s
        if abs(skew_s) > _SKEW_SECONDS_MAX:
            log(
                _log,
                logging.WARNING,
                "clock_differs_from_witness",
                witness=self.name,
                seconds=skew_s,
            )

    def _failed(self, one: WitnessedLog, state: _Log, reason: str, error: Exception) -> None:
        self._counts.failures[reason] += 1
        state.failures += 1
        state.next_try = time.monotonic() + _backoff(state.failures)
        if reason == "unreachable":  # then no other log of it gets through either
            self._failures += 1
            self._next_try = time.monotonic() + _backoff(self._failures)
        loud = reason == "disagrees"
        log(
            _log,
            logging.ERROR if loud else logging.WARNING,
            "store_restored_or_forked" if loud else "not_cosigned",
            witness=self.name,
            tenant=one.tenant,
            reason=str(error),
        )


def _backoff(failures: int) -> float:
    return min(_BACKOFF_SECONDS_MAX, float(2 ** min(failures - 1, 10)))


class Cosigning:
    """All witnesses of a receiver. Thread-safe."""

    def __init__(
        self,
        settings: Sequence[WitnessSetting],
        store: Path,
        status: Callable[[], LedgerStatus],
    ) -> None:
        self._stopping = threading.Event()
        sizes = Sizes(status)
        self._senders = [_Sender(one, store, sizes, self._stopping) for one in settings]

    def start(self) -> None:
        """Begin to send."""
        for sender in self._senders:
            sender.thread.start()

    def status(self) -> list[WitnessStatus]:
        """Every witness in numbers. Never blocks."""
        return [sender.status() for sender in self._senders]

    def close(self) -> None:
        """Send what is newest once more and end; waits some seconds at most. Idempotent."""
        self._stopping.set()
        deadline = time.monotonic() + _END_SECONDS
        for sender in self._senders:
            if sender.thread.ident is not None:
                sender.thread.join(max(0.0, deadline - time.monotonic()))
