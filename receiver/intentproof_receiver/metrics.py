"""Prometheus metrics in a registry of our own.

Counts only, and none by tenant: whoever may read them must not learn of other tenants.
"""

from collections.abc import Callable, Iterable

from intentproof_store import LedgerStatus
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from .outcome import Outcome

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """What the receiver counts. Thread-safe."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "intentproof_requests",
            "Export requests by transport and outcome",
            ("transport", "outcome"),
            registry=self.registry,
        )
        self._spans = Counter(
            "intentproof_spans",
            "Spans of requests that were taken, by what became of them",
            ("fate",),
            registry=self.registry,
        )
        self._events = Counter(
            "intentproof_events",
            "Events that the ledger was given, by what it made of them",
            ("result",),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "intentproof_export_seconds",
            "From the first byte asked for to the answer",
            ("transport",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.bytes_in_flight = Gauge(
            "intentproof_bytes_in_flight", "Bytes that requests hold now", registry=self.registry
        )
        self._refused = Counter(
            "intentproof_refused",
            "Requests that were told to come back, by reason",
            ("reason",),
            registry=self.registry,
        )

    def request(self, transport: str, outcome: str, seconds: float) -> None:
        """Count one request: `outcome` is `ok` or the word of its error."""
        self._requests.labels(transport, outcome).inc()
        self._seconds.labels(transport).observe(seconds)

    def refused(self, reason: str) -> None:
        """Count one request that was told to come back."""
        self._refused.labels(reason).inc()

    def show(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Add a gauge `intentproof_<name>`, read when it is asked for; `read` must not block."""
        gauge = Gauge(f"intentproof_{name}", meaning, registry=self.registry)
        gauge.set_function(read)

    def taken(self, outcome: Outcome) -> None:
        """Count the spans of a request that was taken."""
        fates = {
            "received": outcome.received,
            "taken": outcome.taken,
            "not_kept": outcome.not_kept,
            "rejected": outcome.rejected,
            "quarantined": outcome.quarantined,
        }
        results = {
            "stored": outcome.stored,
            "duplicate": outcome.duplicates,
            "conflict": outcome.conflicts,
        }
        for fate, count in fates.items():
            self._spans.labels(fate).inc(count)
        for result, count in results.items():
            self._events.labels(result).inc(count)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)


class LedgerCollector(Collector):
    """The ledger's status, read when it is asked for and summed over all tenants."""

    def __init__(self, read_status: Callable[[], LedgerStatus]) -> None:
        self._read_status = read_status

    def collect(self) -> Iterable[Metric]:
        """Gauges and counters without a tenant label."""
        status = self._read_status()
        tenants = status.tenants.values()
        gauges = {
            "healthy": (int(status.healthy), "1 if the ledger takes events"),
            "queued": (status.queued, "Appends that wait for the writer"),
            "leaves": (sum(one.size for one in tenants), "Leaves in all logs of this writer"),
            "hot_rows": (sum(one.hot_rows for one in tenants), "Rows not yet in a segment"),
            "sealed_segments": (status.sealed_segments, "Segments in place"),
        }
        for name, (value, meaning) in gauges.items():
            yield GaugeMetricFamily(f"intentproof_ledger_{name}", meaning, value=value)
        yield CounterMetricFamily("intentproof_ledger_frames", "Hot frames", value=status.frames)
        yield CounterMetricFamily(
            "intentproof_ledger_fsync_seconds",
            "Time spent in fsync of the hot file",
            value=status.fsync_seconds_total,
        )
