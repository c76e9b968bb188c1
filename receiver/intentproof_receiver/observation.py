"""How a running receiver is looked at from outside, put together for `serve`."""

import logging
from importlib import import_module
from typing import Any

from .export import Exporter
from .fair import FairPool
from .inflight import Budget
from .logs import log
from .metrics import Metrics
from .watch import traces_are_asked_for

_log = logging.getLogger(__name__)


def make_tracer(own_ports: set[int]) -> Any:
    """The tracer of our own requests, or None. Raises ConfigInvalid."""
    if not traces_are_asked_for():
        return None
    # Not imported above: OpenTelemetry's SDK is loaded only by who uses it.
    tracing = import_module(".tracing", __package__)
    return tracing.Tracer(tracing.make_exporter(own_ports))


def tell_of_encodings(metrics: Metrics, line: str) -> None:
    """Count a line that a library wrote; where it tells of a refused encoding, say the cure."""
    if metrics.native_line(line):
        log(
            _log,
            logging.WARNING,
            "grpc_encoding_refused",
            mend="a client compresses gRPC with zstd or snappy, and drops what it sent: set "
            "compression: gzip there; zstd works over HTTP",
        )


def show_pressure(metrics: Metrics, budget: Budget, pool: FairPool, exporter: Exporter) -> None:
    """Where requests wait, of all tenants together."""
    metrics.show(
        "requests_waiting", "Requests that wait for a thread", lambda: pool.waiting.requests
    )
    metrics.show("bytes_waiting", "Bytes of requests that wait", lambda: pool.waiting.bytes)
    metrics.show(
        "decoding_waiting", "Requests that wait to be decoded", lambda: exporter.decoding.waiting
    )
    metrics.show(
        "retry_delay_seconds", "What a refused request would be told now", budget.retry_delay
    )
