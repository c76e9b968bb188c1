"""The receiver as fast as answers come: 512 spans a request, 8 requests under way."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .over_grpc import IN_FLIGHT, GrpcClient
from .over_http import post_all
from .resident import watching
from .served import Receiver, serving
from .workload import Workload, make_workload

Send = Callable[[Receiver, Workload], float]


@dataclass(frozen=True)
class Served:
    """What one run showed: events a second until the last answer, and the highest memory."""

    events_a_second: float
    memory_mib: float


def run_served(workload: Workload, folder: Path, send: Send) -> Served:
    """One run against a receiver of its own, which has taken one request before."""
    warm_up = make_workload(100, seed=0)
    with serving(folder) as receiver:
        send(receiver, warm_up)
        with watching(receiver.pid) as watch:
            seconds = send(receiver, workload)
        return Served(workload.spans / seconds, watch.peak_mib())


def over_grpc(receiver: Receiver, workload: Workload) -> float:
    """Seconds over gRPC, on one connection that is there already."""
    with GrpcClient(receiver.grpc, receiver.key) as client:
        client.send(make_workload(1, seed=0).requests[0])
        return client.send_all(workload.requests)


def over_http(receiver: Receiver, workload: Workload) -> float:
    """Seconds over HTTP with protobuf bodies, a connection for each request under way."""
    headers = {"x-api-key": receiver.key}
    seconds, taken = post_all(
        receiver.http, workload.requests, headers=headers, connections=IN_FLIGHT
    )
    if taken != len(workload.requests):
        raise RuntimeError(f"{taken} of {len(workload.requests)} requests were answered 200")
    return seconds
