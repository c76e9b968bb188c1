"""How long an acknowledgement takes at an offered rate, until fsync included.

Requests are sent evenly on a schedule over one connection from another process, and each answer's
time counts from when its request was due. Requests of 100 spans, as of programs that are not busy;
at the highest rate of 512, the most that the SDKs' batch processors send by default: each request
costs some 3 ms of its own, so that 25,000/s in requests of 100 are more than one process takes.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .over_grpc import Answer, GrpcClient, OpenLoop
from .served import serving
from .workload import make_workload


@dataclass(frozen=True)
class Offer:
    """A rate in spans a second, in requests of so many spans; milliseconds to reach, if any."""

    rate: int
    spans_a_request: int
    to_reach: "Latency | None" = None


@dataclass(frozen=True)
class Latency:
    """Milliseconds."""

    p50: float
    p99: float

    def __str__(self) -> str:
        return f"{self.p50:.0f} / {self.p99:.0f} ms"


OFFERS = (
    Offer(1_000, 100),
    Offer(10_000, 100, Latency(20, 150)),
    Offer(25_000, 512),
)


def run_latency(offer: Offer, folder: Path, *, seconds: float, seed: int) -> Latency:
    """The latencies of one run, of which the first fifth is not counted.

    A request that was refused is sent again, and its time counts until it was taken.
    """
    size = offer.spans_a_request
    requests = max(1, round(offer.rate * seconds / size))
    workload = make_workload(requests * size, seed=seed, spans_a_request=size)
    with serving(folder) as receiver, GrpcClient(receiver.grpc, receiver.key) as client:
        client.send(make_workload(size, seed=0).requests[0])
        loop = OpenLoop(client)
        loop.run(((request, size) for request in workload.requests), rate=offer.rate)
    if loop.failures:
        raise RuntimeError(f"{len(loop.failures)} requests failed: {loop.failures[:3]}")
    ordered = sorted(loop.answers, key=lambda answer: answer.due)
    return latency_of(ordered[len(ordered) // 5 :])


def latency_of(answers: Sequence[Answer]) -> Latency:
    """The median and the 99th percentile (nearest rank); no number of no answers."""
    ordered = sorted(answer.seconds * 1000 for answer in answers) or [math.nan]
    return Latency(statistics.median(ordered), ordered[-1 - len(ordered) // 100])


def median_of(runs: Sequence[Latency]) -> Latency:
    """The medians of several runs."""
    return Latency(
        statistics.median(run.p50 for run in runs), statistics.median(run.p99 for run in runs)
    )
