"""What witnesses did, at `/metrics`: numbers by witness, none by tenant."""

from collections.abc import Callable, Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from .cosigning import WitnessStatus

PREFIX = "intentproof_witness"


class WitnessCollector(Collector):
    """The senders' status, read when it is asked for."""

    def __init__(self, read_status: Callable[[], Sequence[WitnessStatus]]) -> None:
        self._read_status = read_status

    def collect(self) -> Iterable[Metric]:
        """Counters and gauges with the witness's name; no samples where there is none."""
        status = self._read_status()
        cosigned = CounterMetricFamily(
            f"{PREFIX}_cosignatures", "Cosignatures that were kept", labels=["witness"]
        )
        failures = CounterMetricFamily(
            f"{PREFIX}_failures", "Tries without one, by reason", labels=["witness", "reason"]
        )
        last = GaugeMetricFamily(
            f"{PREFIX}_last_timestamp_seconds",
            "The time in the last cosignature; 0 before the first",
            labels=["witness"],
        )
        waiting = GaugeMetricFamily(
            f"{PREFIX}_waiting_logs",
            "Logs whose newest checkpoint is not cosigned",
            labels=["witness"],
        )
        disagreeing = GaugeMetricFamily(
            f"{PREFIX}_disagreeing_logs",
            "Logs of which the witness saw what the store does not have: restored, or forked",
            labels=["witness"],
        )
        for one in status:
            cosigned.add_metric([one.name], one.cosigned)
            last.add_metric([one.name], one.last_s)
            waiting.add_metric([one.name], one.waiting)
            disagreeing.add_metric([one.name], one.disagreeing)
            for reason, count in one.failures.items():
                failures.add_metric([one.name, reason], count)
        yield from (cosigned, failures, last, waiting, disagreeing)
