"""Metrics that are read when they are asked for: the ledger, the keys, the load and the disks."""

import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from intentproof_store import LedgerStatus
from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from .config import Config
from .inflight import Budget
from .keys import KeysStatus
from .metrics import Metrics
from .wire import STRINDEX_TEXTS


class Watched(NamedTuple):
    """What is looked at for `/metrics`."""

    ledger: Callable[[], LedgerStatus]
    keys: Callable[[], KeysStatus]
    budget: Budget


def register(metrics: Metrics, config: Config, watched: Watched) -> None:
    """Add to `/metrics` what is read when it is asked for. Once for a `Metrics`."""
    metrics.bytes_in_flight.set_function(lambda: watched.budget.bytes_held)
    registry = metrics.registry
    registry.register(LedgerCollector(watched.ledger))
    registry.register(KeysCollector(watched.keys))
    registry.register(LoadCollector(config, watched.budget))
    places = {"store": config.store, "hot": config.hot_folder, "home": config.home}
    registry.register(DiskCollector(places))
    registry.register(BuildCollector())
    ProcessCollector(registry=registry)


class LedgerCollector(Collector):
    """The ledger's status, read when it is asked for and summed over all tenants."""

    def __init__(self, read_status: Callable[[], LedgerStatus]) -> None:
        self._read_status = read_status

    def collect(self) -> Iterable[Metric]:
        """Gauges and counters without a tenant label."""
        status = self._read_status()
        tenants = status.tenants.values()
        leaves = sum(one.size for one in tenants)
        hot_rows = sum(one.hot_rows for one in tenants)
        yield from _gauges(
            ("healthy", int(status.healthy), "1 if the ledger takes events"),
            ("queued", status.queued, "Appends that wait for the writer"),
            ("queued_bytes", status.queued_bytes, "Bytes of the appends that wait"),
            ("leaves", leaves, "Leaves in all logs of this writer"),
            ("hot_rows", hot_rows, "Rows not yet cut for a segment"),
            ("hot_bytes", status.hot_bytes, "Bytes of these rows in memory"),
            ("hot_age_seconds", status.hot_seconds, "Since the oldest of these rows came"),
            (
                "unsigned_age_seconds",
                status.unsigned_seconds,
                "Since the oldest leaf or job that waits for a checkpoint came",
            ),
            ("clerk_jobs", status.jobs, "Seals and checkpoints that are not done"),
            ("clerk_seals", status.seals, "Segments that wait to be sealed"),
        )
        yield from _counters(
            ("frames", status.frames, "Hot frames written"),
            ("fsyncs", status.fsyncs, "Groups made durable, each by one fsync"),
            ("fsync_seconds", status.fsync_seconds_total, "Time spent writing and syncing them"),
            ("refused", status.refused, "Appends that the disk or the clerk kept from being taken"),
            ("segments", status.sealed_segments, "Segments sealed"),
            ("clerk_faults", status.clerk_faults, "Tries to seal or sign that failed"),
            ("clock_steps_back", status.clock_steps_back, "Gaps for a clock that went back"),
        )


class KeysCollector(Collector):
    """The file of API keys, and why requests had none that is valid."""

    def __init__(self, read_status: Callable[[], KeysStatus]) -> None:
        self._read_status = read_status

    def collect(self) -> Iterable[Metric]:
        """Numbers without ids or tenants."""
        status = self._read_status()
        yield GaugeMetricFamily(
            "intentproof_keys_readable",
            "1 if the file of API keys can be read",
            value=int(status.readable),
        )
        keys = GaugeMetricFamily("intentproof_keys", "API keys by state", labels=["state"])
        for state in ("valid", "expired", "revoked"):
            keys.add_metric([state], getattr(status, state))
        yield keys
        expiry = GaugeMetricFamily(
            "intentproof_key_next_expiry_timestamp_seconds",
            "When the next valid key expires; absent if none does",
        )
        if status.next_expiry is not None:
            expiry.add_metric([], status.next_expiry)
        yield expiry
        refusals = CounterMetricFamily(
            "intentproof_unauthenticated",
            "Requests refused for their key, by reason",
            labels=["reason"],
        )
        for reason, count in status.refusals.items():
            refusals.add_metric([reason], count)
        yield refusals


class LoadCollector(Collector):
    """What requests hold and wait for, beside the limits."""

    def __init__(self, config: Config, budget: Budget) -> None:
        self._config, self._budget = config, budget

    def collect(self) -> Iterable[Metric]:
        """Gauges, and the one counter of what was decoded as absent."""
        config = self._config
        for name, value, meaning in (
            ("bytes_in_flight_max", config.bytes_in_flight_max, "Limit of bytes_in_flight"),
            (
                "requests_in_flight",
                self._budget.requests_held,
                "Requests admitted and not answered",
            ),
            (
                "requests_in_flight_max",
                config.requests_in_flight_max,
                "Limit of requests_in_flight",
            ),
            ("message_bytes_max", config.message_bytes_max, "Limit of one message"),
        ):
            yield GaugeMetricFamily(f"intentproof_{name}", meaning, value=value)
        yield CounterMetricFamily(
            "intentproof_strindex_texts",
            "Keys and values by index, which traces do not have, treated as absent",
            value=STRINDEX_TEXTS.count,
        )


class DiskCollector(Collector):
    """The room on the disks of the store, the hot folder and --home. Asks the file systems."""

    def __init__(self, places: Mapping[str, Path]) -> None:
        self._places = places

    def collect(self) -> Iterable[Metric]:
        """Free and total bytes; a place that cannot be asked is left out."""
        free = GaugeMetricFamily("intentproof_disk_free_bytes", "Room left", labels=["place"])
        size = GaugeMetricFamily("intentproof_disk_size_bytes", "Room at all", labels=["place"])
        for name, folder in self._places.items():
            try:
                usage = shutil.disk_usage(folder)
            except OSError:
                continue
            free.add_metric([name], usage.free)
            size.add_metric([name], usage.total)
        yield from (free, size)


class BuildCollector(Collector):
    """Which version runs."""

    def collect(self) -> Iterable[Metric]:
        """One line whose labels are what is told."""
        yield InfoMetricFamily(
            "intentproof_build",
            "Versions of this receiver and its Python",
            value={"version": version("intentproof-otel"), "python": platform.python_version()},
        )


def _gauges(*told: tuple[str, float, str]) -> Iterator[Metric]:
    for name, value, meaning in told:
        yield GaugeMetricFamily(f"intentproof_ledger_{name}", meaning, value=value)


def _counters(*told: tuple[str, float, str]) -> Iterator[Metric]:
    for name, value, meaning in told:
        yield CounterMetricFamily(f"intentproof_ledger_{name}", meaning, value=value)
