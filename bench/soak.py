"""`python -m bench.soak`: ten minutes at 70 % of the highest rate, and a verdict.

1. The highest rate: as fast as answers come, 8 requests of 512 spans under way, on this receiver.
2. The load: 70 % of it on a schedule, whatever the answers do; what is refused is sent again.
3. The verdict, exit code 1 unless all of it holds:
   - every span was acknowledged in the end;
   - each of them stands in `events` exactly once, and in the logs once;
   - memory is flat: of the receiver's own memory (resident, without pages of files, which the
     kernel takes back whenever it needs them), looked at each second of the load, the median of
     the last fifth is at most a tenth above the median of the second; the first is warm-up;
   - `verify` passes, after the receiver ended.
"""

import argparse
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path

from intentproof_store import Reader
from intentproof_store.verify import Outcome, VerifyRequest, verify_store

from .latency import latency_of
from .over_grpc import GrpcClient, OpenLoop
from .resident import MIB, Sample, Watch, watching
from .served import Receiver, serving, settings
from .workload import Again, make_workload

SHARE = 0.7
GROWTH_MAX = 1.1
_TEMPLATES = 32 * 512  # spans whose text comes again and again
_ROW = "{:>7}" + 7 * " {:>9}" + " {:>8}"
_HEAD = ("seconds", "events/s", "p50 ms", "p99 ms", "MiB", "own MiB", "hot rows", "segments")


@dataclass(frozen=True)
class Soaked:
    """What a soak showed; `problems` is empty where it passed."""

    highest: float
    sent: int
    problems: list[str]


def main() -> int:
    """Run, print, and say by the exit code whether it passed."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--every", type=float, default=30.0, help="seconds between lines")
    parser.add_argument("--highest", type=int, default=200_000, help="spans to find the rate with")
    args = parser.parse_args()
    # Ended from outside, it ends what it started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as name:
        soaked = run_soak(
            Path(name), seconds=args.seconds, every=args.every, highest_spans=args.highest
        )
    for problem in soaked.problems:
        print(f"FAILED: {problem}")
    if not soaked.problems:
        print(f"passed: {soaked.sent:,} events, each acknowledged and stored once; memory flat")
    return 1 if soaked.problems else 0


def run_soak(folder: Path, *, seconds: float, every: float, highest_spans: int) -> Soaked:
    """One soak in a folder."""
    requests = iter(Again(make_workload(_TEMPLATES, seed=5)))
    with serving(folder) as receiver, GrpcClient(receiver.grpc, receiver.key) as client:
        warm_up = next(requests)
        client.send(warm_up[0])
        first = list(islice(requests, max(1, highest_spans // warm_up[1])))
        highest = sum(spans for _, spans in first) / client.send_all(raw for raw, _ in first)
        print(f"highest rate {highest:,.0f}/s; now {SHARE:.0%} of it for {seconds:.0f} s")
        print(_ROW.format(*_HEAD, "refused"), flush=True)
        loop = OpenLoop(client)
        with watching(receiver.pid, every_seconds=min(1.0, seconds / 100)) as watch:
            _load(loop, requests, highest * SHARE, seconds, _Lines(receiver, loop, watch, every))
        sent = warm_up[1] + sum(spans for _, spans in first) + loop.sent
        problems = [*_unacknowledged(loop), *miscounted(folder, sent)]
    problems += _unverified(folder, sent)
    return Soaked(highest, sent, [*problems, *grown(watch.samples)])


class _Lines:
    """Prints a line now and then while the load goes on."""

    def __init__(self, receiver: Receiver, loop: OpenLoop, watch: Watch, every: float) -> None:
        self._receiver = receiver
        self._loop = loop
        self._watch = watch
        self._every = every
        self._started = self._before = time.perf_counter()
        self._told = 0

    def until(self, done: threading.Event) -> None:
        """Print until it is done."""
        while not done.wait(self._every):
            self._print()

    def _print(self) -> None:
        answers = self._loop.answers[self._told :]
        self._told += len(answers)
        now = time.perf_counter()
        rate = sum(answer.spans for answer in answers) / (now - self._before)
        self._before = now
        latency = latency_of(answers)
        sample = self._watch.samples[-1]
        ledger = self._receiver.ledger()
        print(
            _ROW.format(
                f"{now - self._started:.0f}",
                *(f"{rate:,.0f}", f"{latency.p50:.1f}", f"{latency.p99:.1f}"),
                *(f"{sample.resident / MIB:.0f}", f"{sample.own / MIB:.0f}"),
                *(f"{ledger['hot_rows']:.0f}", f"{ledger['segments_total']:.0f}"),
                self._loop.refused,
            ),
            flush=True,
        )


def _load(
    loop: OpenLoop,
    requests: Iterator[tuple[bytes, int]],
    rate: float,
    seconds: float,
    lines: _Lines,
) -> None:
    """Send for so long, and print meanwhile."""
    done = threading.Event()
    printing = threading.Thread(target=lines.until, args=(done,))
    printing.start()
    try:
        end = time.perf_counter() + seconds
        loop.run(takewhile(lambda _: time.perf_counter() < end, requests), rate=rate)
    finally:
        done.set()
        printing.join()


def _unacknowledged(loop: OpenLoop) -> list[str]:
    acknowledged = sum(answer.spans for answer in loop.answers)
    if acknowledged == loop.sent:
        return []
    return [f"{loop.sent - acknowledged} of {loop.sent} were not acknowledged {loop.failures[:3]}"]


def miscounted(folder: Path, sent: int) -> list[str]:
    """The problems that an event is missing or there twice.

    `events` has an id once; `leaves` tells whether the logs hold any of them twice.
    """
    places = settings(folder)
    counts = {}
    with Reader(places.store, hot=places.hot, home=places.home, tenant="acme") as reader:
        for view, where in (("events", ""), ("leaves", "WHERE kind = 'event'")):
            query = f"SELECT count(*) AS found FROM {view} {where}"
            counts[view] = int(reader.rows(query)[0]["found"])
    return [f"{view} has {n} of {sent} events" for view, n in counts.items() if n != sent]


def _unverified(folder: Path, sent: int) -> list[str]:
    places = settings(folder)
    report = verify_store(VerifyRequest(store=places.store, hot=places.hot, home=places.home))
    print(f"verify: {report.outcome.value}, {report.events_verified:,} events")
    if report.outcome is Outcome.VERIFIED and report.events_verified == sent:
        return []
    return [f"verify: {report.outcome.value} with {report.events_verified} of {sent} events"]


def grown(samples: Sequence[Sample]) -> list[str]:
    """The problem that memory is not flat, if it is not."""
    fifth = max(1, len(samples) // 5)
    parts = (samples[fifth : 2 * fifth] or samples, samples[-fifth:])
    second, last = (statistics.median(one.own for one in part) / MIB for part in parts)
    print(f"own memory: median of the second fifth {second:.0f} MiB, of the last {last:.0f} MiB")
    return [] if last <= second * GROWTH_MAX else [f"memory grew to {last / second:.2f} times"]


if __name__ == "__main__":
    sys.exit(main())
