"""A receiver and a Collector before it, told to fail; and what has to be true in the end."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from tests.collector.processes import (
    _COMMAND,
    Collector,
    Process,
    Receiver,
    clean_environment,
    get,
    running,
)
from tests.faults.load import Load, grpc_client, http_client

_QUEUED = "otelcol_exporter_queue_size"
_CAPACITY = "otelcol_exporter_queue_capacity"  # there as soon as the queue is
# Often, so that a fault also meets the sealing of a segment and the signing of a checkpoint.
SEALING_OFTEN = {"INTENTPROOF_SEAL_ROWS": "1500", "INTENTPROOF_CHECKPOINT_SECONDS": "1"}
PATIENCE_SECONDS = 240.0  # the longest wait for what must come; never how long it takes


def until(probe: Callable[[], object], what: str, *, every_s: float = 0.5) -> None:
    """Return once the probe holds; fail if it does not for minutes."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not probe():
        assert time.monotonic() < deadline, f"no {what} in {PATIENCE_SECONDS} s"
        time.sleep(every_s)


@dataclass(frozen=True)
class ReceiverUnderTest(Receiver):
    """A receiver with an environment of its own, such as its settings."""

    environment: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def serving(self) -> Iterator[Process]:
        """Serve until the block ends; ready when the block starts."""
        argv = [str(_COMMAND), "serve", "--grpc", str(self.grpc), "--http", str(self.http)]
        env = clean_environment() | dict(self.environment)
        with running([*argv, *self._places], log=self.folder / "receiver.log", env=env) as process:
            ready = f"{self.http.url}/ready"
            process.wait_for(lambda: get(ready) is not None, what="receiver ready", within_s=120)
            yield process

    def metric(self, series: str) -> float:
        """The value of one series, labels as written in /metrics; 0 while it does not exist."""
        page = get(f"{self.http.url}/metrics") or ""
        found = [line for line in page.splitlines() if line.rpartition(" ")[0] == series]
        return sum(float(line.rpartition(" ")[2]) for line in found)

    def requests(self, outcome: str) -> float:
        """Requests of both transports with one outcome, since this process started."""
        series = 'intentproof_requests_total{{outcome="{}",transport="{}"}}'
        return sum(self.metric(series.format(outcome, way)) for way in ("grpc", "http"))

    def duplicates(self) -> float:
        """Events that were in the log already, since this process started."""
        return self.metric('intentproof_events_total{result="duplicate"}')

    def count(self, view: str) -> int:
        """How many rows a view of the tenant has."""
        return int(self.sql(f"SELECT count(*) AS n FROM {view}")[0]["n"])

    def revoke(self, key: str) -> None:
        """Revoke a key."""
        self._run("keys", "revoke", key.split("_")[1], "--home", str(self._home))

    def verify_sealed(self) -> int:
        """The exit code of verify over the sealed files alone."""
        return self._run("verify", "--sealed", *self._places, check=False).returncode


@dataclass(frozen=True)
class Site:
    """One receiver behind one Collector, each in a folder of its own."""

    receiver: ReceiverUnderTest
    collector: Collector

    def load(self, *, spans_a_second: int, payload_bytes: int = 100) -> Load:
        """Four applications that send to the Collector, two of them over HTTP."""
        ways = [grpc_client(str(self.collector.grpc)), http_client(str(self.collector.http))]
        return Load([*ways, *ways], spans_a_second=spans_a_second, payload_bytes=payload_bytes)

    def queued(self) -> float:
        """What the Collector's queue holds, in bytes."""
        return self.collector.metric(_QUEUED)

    def collector_log(self) -> str:
        """What all runs of the Collector have logged."""
        return self.collector.log.read_text(errors="replace")

    def wait_until_delivered(self, sent: AbstractSet[str]) -> None:
        """Return when the Collector has nothing left to send, or every span has its event.

        Receiver and Collector have to be running, and nothing may be on its way to the Collector.
        """

        def delivered() -> bool:
            empty = self.collector.metric(_CAPACITY) > 0 and self.queued() == 0
            return empty or self.receiver.count("events") >= len(sent)

        until(delivered, "delivery", every_s=1)

    def check(self, sent: AbstractSet[str]) -> None:
        """Judge the store after both have ended: each acknowledged span is one event, no more.

        Nothing is disputed, set aside or left half written, and the log verifies, from its sealed
        files alone too.
        """
        stored = Counter(row["span_id"] for row in self.receiver.sql("SELECT span_id FROM events"))
        assert sent, "nothing was acknowledged"
        assert sorted(sent - set(stored)) == [], "acknowledged and lost"
        assert sorted(set(stored) - sent) == [], "never sent"
        assert [span_id for span_id, times in stored.items() if times > 1] == [], "twice"
        for view in ("conflicts", "quarantine"):
            assert self.receiver.count(view) == 0, view
        for unfinished in (".*.tmp", "*.unfinished"):
            assert list(self.receiver.folder.rglob(unfinished)) == []
        assert self.receiver.verify() == 0
        assert self.receiver.verify_sealed() == 0


def killed_again_and_again(
    start: Callable[[], AbstractContextManager[Process]], *, every_s: float, for_s: float
) -> int:
    """Run a program, end it by SIGKILL some seconds after it was ready, and so on; how often."""
    deadline = time.monotonic() + for_s
    kills = 0
    while time.monotonic() < deadline:
        with start() as process:
            time.sleep(every_s)  # the fault's rhythm, not a wait for something
            process.kill()
            kills += 1
    return kills
