"""Over gRPC from another process: 512 spans a request, 8 requests in flight."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil

from .whole import IN_FLIGHT, create_key
from .workload import Workload

_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_READY_SECONDS = 60
_WATCH_SECONDS = 0.05
_MIB = 1 << 20


@dataclass(frozen=True)
class Served:
    """What one run over gRPC showed."""

    events_a_second: float
    memory_mib: float


def run_over_grpc(workload: Workload, folder: Path) -> Served:
    """Events a second until the last answer, and the receiver's highest resident memory."""
    key = create_key(folder / "home")
    with _receiver(folder) as (process, address):
        peak = _Peak(process.pid)
        with grpc.insecure_channel(address) as channel:
            seconds = _send(channel, workload.requests, key)
        return Served(workload.spans / seconds, peak.stop())


def _send(channel: grpc.Channel, requests: list[bytes], key: str) -> float:
    call: Any = channel.unary_unary(_EXPORT)
    metadata = (("x-api-key", key),)
    call(requests[0], metadata=metadata, wait_for_ready=True)  # the connection is not measured
    room = threading.Semaphore(IN_FLIGHT)
    started = time.perf_counter()
    pending = []
    for request in requests:
        room.acquire()
        future = call.future(request, metadata=metadata)
        future.add_done_callback(lambda _: room.release())
        pending.append(future)
    for future in pending:
        if future.result():
            raise RuntimeError("an answer was not a plain success")
    return time.perf_counter() - started


@contextmanager
def _receiver(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    program = str(Path(sys.executable).with_name("intentproof-otel"))
    places = ["--store", str(folder / "proofs"), "--home", str(folder / "home")]
    process = subprocess.Popen(
        [program, "serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", *places],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, _address(process)
    finally:
        process.terminate()
        process.communicate(timeout=_READY_SECONDS)


def _address(process: "subprocess.Popen[str]") -> str:
    """The gRPC address of the line that says that the receiver is ready."""
    for line in process.stderr or ():
        entry = json.loads(line) if line.startswith("{") else {}
        if entry.get("event") == "ready":
            return str(entry["grpc"])
    raise RuntimeError("the receiver did not start")


class _Peak:
    """The highest resident memory of a process, looked at many times a second."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._highest = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(_WATCH_SECONDS):
            self._highest = max(self._highest, self._process.memory_info().rss)

    def stop(self) -> float:
        """Mebibytes."""
        self._done.set()
        self._thread.join()
        return self._highest / _MIB
