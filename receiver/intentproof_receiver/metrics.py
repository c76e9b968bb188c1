"""Prometheus metrics in a registry of our own.

Counts only, and none by tenant: whoever may read them must not learn of other tenants.
What is read when it is asked for, such as the ledger's status, is in `status_metrics.py`.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS_TYPE
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from .errors import ANSWERS, READERS_ONLY
from .outcome import Outcome

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
TRANSPORTS = ("grpc", "http")
_UNSUPPORTED = "unsupported_encoding"
_REFUSED_ENCODING = "Error parsing 'grpc-encoding' metadata"  # hpack_parser.cc of gRPC's core


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
        self._rejected = Counter(
            "intentproof_rejected_spans",
            "Spans that are kept in quarantine only, by reason",
            ("reason",),
            registry=self.registry,
        )
        self._events = Counter(
            "intentproof_events",
            "Events that the ledger was given, by what it made of them",
            ("result",),
            registry=self.registry,
        )
        self._warned = Counter(
            "intentproof_warned_requests",
            "Requests that were taken, but whose client was warned that spans were not recognised",
            registry=self.registry,
        )
        self._native_lines = Counter(
            "intentproof_native_lines",
            "Lines that libraries wrote to stderr on their own",
            registry=self.registry,
        )
        self._seconds = Histogram(
            "intentproof_export_seconds",
            "From the first byte asked for to the answer",
            ("transport",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._stage_seconds = Histogram(
            "intentproof_stage_seconds",
            "How long requests were in a stage of their way",
            ("stage",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._loop_lag = Histogram(
            "intentproof_event_loop_lag_seconds",
            "How much later than asked for the event loop came back",
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

        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """Make what is known to come: `increase()` does not see the value a series begins with."""
        refusals = [one.word for kind, one in ANSWERS.items() if kind not in READERS_ONLY]
        words = ["ok", "cancelled", *refusals]
        for transport in TRANSPORTS:
            for word in words:
                self._requests.labels(transport, word)
        self._requests.labels("grpc", _UNSUPPORTED)
        self.taken(Outcome())

    def request(self, transport: str, outcome: str, seconds: float) -> None:
        """Count one request: `outcome` is `ok` or the word of its error."""
        self._requests.labels(transport, outcome).inc()
        self._seconds.labels(transport).observe(seconds)

    def refused_early(self, transport: str, outcome: str) -> None:
        """Count a request that was refused before it was looked at, by the word of its error."""
        self._requests.labels(transport, outcome).inc()

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
        for reason, count in outcome.reasons.items():
            self._rejected.labels(reason).inc(count)
        if outcome.warned:
            self._warned.inc()

    def stage_ended(self, name: str, started_ns: int, ended_ns: int) -> None:
        """Observe a stage of a request; see `stages.py`."""
        self._stage_seconds.labels(name).observe((ended_ns - started_ns) / 1e9)

    def loop_lagged(self, seconds: float) -> None:
        """Observe how late the event loop was."""
        self._loop_lag.observe(seconds)

    def native_line(self, line: str) -> bool:
        """Count a line that a library wrote; whether it tells of a refused gRPC encoding.

        gRPC's core refuses such a call before our handler reads a message, so that the handler
        counts it as cancelled as well.
        """
        self._native_lines.inc()
        refused = _REFUSED_ENCODING in line
        if refused:
            self.refused_early("grpc", _UNSUPPORTED)
        return refused

    def text(self) -> bytes:
        """The exposition format of Prometheus. May block: it asks disks for their room."""
        return generate_latest(self.registry)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The format that an Accept header asks for, OpenMetrics or text, and its media type."""
        if "application/openmetrics-text" in accept:
            return generate_openmetrics(self.registry), OPENMETRICS_TYPE  # type: ignore[no-untyped-call]
        return self.text(), TEXT_TYPE
