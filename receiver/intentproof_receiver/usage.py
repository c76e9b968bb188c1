"""What tenants have used of their quotas; the bytes of a day outlive the process.

`quota-usage.json` in --home: {"version": 1, "day": "2026-11-21", "bytes": {"acme": 1234}}.
"""

import json
import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from intentproof_schemas import TENANT

from .errors import OverQuota
from .homefile import write_file
from .logs import log
from .outcome import Outcome
from .quotas import Bucket, Quotas

FILE_NAME = "quota-usage.json"
SAVE_SECONDS = 5.0  # between two writes of the file
RATE_SECONDS_MAX = 60  # that a tenant over its events a second is told to wait
DAY_SECONDS_MAX = 3600  # and one over its bytes a day: quotas may have been raised meanwhile
_DAY = 86_400

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clocks:
    """Unix time for days, monotonic time for rates. Seconds."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


class Usage:
    """Counts what tenants send against their quotas. Thread-safe.

    `home` None keeps nothing: for services without quotas, and tests.
    """

    def __init__(
        self, quotas: Quotas, *, home: Path | None = None, clocks: Clocks = Clocks()
    ) -> None:
        self._quotas = quotas
        self._path = home / FILE_NAME if home else None
        self._clocks = clocks
        self._lock = threading.Lock()
        self._saving = threading.Lock()
        self._buckets: dict[str, Bucket] = {}
        self._day, self._bytes = self._read()
        self._changed = False
        self._saved = clocks.monotonic()

    def check(self, tenant: str) -> None:
        """Raises OverQuota where the tenant has used up what it has; never blocks on the disk."""
        quota = self._quotas.of(tenant)
        with self._lock:
            if quota.bytes_per_day:
                self._begin_day()
                if self._bytes.get(tenant, 0) >= quota.bytes_per_day:
                    left = _DAY - self._clocks.wall() % _DAY
                    raise OverQuota(
                        f"over this tenant's quota of {quota.bytes_per_day} bytes a day (UTC)",
                        retry_after_s=_seconds(left, DAY_SECONDS_MAX),
                        reason="quota_bytes",
                    )
            if quota.events_per_second:
                wait = self._bucket(tenant, quota.events_per_second).wait(self._clocks.monotonic())
                if wait:
                    raise OverQuota(
                        f"over this tenant's quota of {quota.events_per_second:g} events a second",
                        retry_after_s=_seconds(wait, RATE_SECONDS_MAX),
                        reason="quota_events",
                    )

    def charge(self, tenant: str, outcome: Outcome, *, size: int) -> None:
        """Count a request that was taken, of `size` bytes. Blocks on the disk every few seconds.

        Duplicates are free, and so are the bytes of a request that brought nothing else: a resend
        after a lost answer is not the tenant's doing.
        """
        quota = self._quotas.of(tenant)
        new = outcome.stored + outcome.conflicts + outcome.quarantined
        with self._lock:
            if quota.events_per_second and new:
                now = self._clocks.monotonic()
                self._bucket(tenant, quota.events_per_second).spend(new, now)
            if quota.bytes_per_day and (new or not outcome.duplicates):
                self._begin_day()
                self._bytes[tenant] = self._bytes.get(tenant, 0) + size
                self._changed = True
            due = self._clocks.monotonic() - self._saved >= SAVE_SECONDS
        if due:
            self.save()

    def save(self) -> None:
        """Write the file where anything has changed. Blocks on the disk; a fault is only logged."""
        with self._saving:
            with self._lock:
                self._saved = self._clocks.monotonic()
                if not self._changed or self._path is None:
                    return
                self._changed = False
                content = {"version": 1, "day": self._day, "bytes": self._bytes}
                raw = json.dumps(content, sort_keys=True).encode() + b"\n"
            try:
                write_file(self._path, raw)
            except OSError as error:
                self._changed = True
                log(_log, logging.WARNING, "quota_usage_not_saved", reason=str(error.strerror))

    def _bucket(self, tenant: str, rate: float) -> Bucket:
        if tenant not in self._buckets:
            self._buckets[tenant] = Bucket(rate, self._clocks.monotonic())
        return self._buckets[tenant]

    def _begin_day(self) -> None:
        today = _day(self._clocks.wall())
        if today != self._day:
            self._day, self._bytes = today, {}

    def _read(self) -> tuple[str, dict[str, int]]:
        """The day and its bytes; a file that cannot be read is told, and does not stop us."""
        today = _day(self._clocks.wall())
        if self._path is None:
            return today, {}
        try:
            return _parse(self._path.read_bytes())
        except FileNotFoundError:
            return today, {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            log(
                _log,
                logging.WARNING,
                "quota_usage_unreadable",
                file=str(self._path),
                reason=f"{type(error).__name__}: today's bytes are counted from 0",
            )
            return today, {}


def _parse(raw: bytes) -> tuple[str, dict[str, int]]:
    content: Any = json.loads(raw)
    used = content["bytes"]
    for tenant, size in used.items():
        if not TENANT.fullmatch(tenant) or type(size) is not int or size < 0:
            raise ValueError("a damaged entry")
    return str(content["day"]), dict(used)


def _day(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).date().isoformat()


def _seconds(wait: float, most: int) -> int:
    return min(max(math.ceil(wait), 1), most)
