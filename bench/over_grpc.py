"""OTLP/gRPC from another process: as fast as answers come, or on a schedule whatever they do."""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import grpc

IN_FLIGHT = 8  # requests, where the next one waits for an answer
_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_WAITING_MAX = 2_000  # requests that the client holds in memory when answers stay away
_AGAIN_SECONDS = 1.0


@dataclass(frozen=True)
class Answer:
    """When a request was to be sent, by `time.perf_counter`, and how long its answer took since."""

    due: float
    seconds: float
    spans: int


class GrpcClient:
    """One connection to a receiver, as a Collector has one. A context manager."""

    def __init__(self, address: str, key: str) -> None:
        self._channel = grpc.insecure_channel(address)
        self._call: Any = self._channel.unary_unary(_EXPORT)
        self._metadata = (("x-api-key", key),)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def send(self, request: bytes) -> None:
        """Send one request and wait for its answer; the connection is there afterwards."""
        _check(self._call(request, metadata=self._metadata, wait_for_ready=True))

    def start(self, request: bytes) -> Any:
        """Send one request; the call's future."""
        return self._call.future(request, metadata=self._metadata)

    def send_all(self, requests: Iterable[bytes]) -> float:
        """Seconds until the last answer, with IN_FLIGHT requests under way at a time."""
        room = threading.Semaphore(IN_FLIGHT)
        pending = []
        started = time.perf_counter()
        for request in requests:
            room.acquire()
            future = self.start(request)
            future.add_done_callback(lambda _: room.release())
            pending.append(future)
        for future in pending:
            _check(future.result())
        return time.perf_counter() - started


class OpenLoop:
    """Sends on a schedule, and measures from the moment at which a request was due.

    So a receiver that stalls is charged for all that had to wait, as by clients that do not know
    of each other (no coordinated omission). What is refused as UNAVAILABLE is sent again.
    """

    def __init__(self, client: GrpcClient) -> None:
        self._client = client
        self._room = threading.Semaphore(_WAITING_MAX)
        self.answers: list[Answer] = []
        self.sent = 0  # spans
        self.refused = 0  # requests
        self.failures: list[str] = []

    def run(self, requests: Iterable[tuple[bytes, int]], *, rate: float) -> None:
        """Send requests, each with its number of spans, at `rate` spans a second; wait for all."""
        due = time.perf_counter()
        for request, spans in requests:
            time.sleep(max(0.0, due - time.perf_counter()))
            self._room.acquire()
            self.sent += spans
            self._send(request, spans, due)
            due += spans / rate
        for _ in range(_WAITING_MAX):
            self._room.acquire()

    def _send(self, request: bytes, spans: int, due: float) -> None:
        def done(future: Any) -> None:
            if future.code() is grpc.StatusCode.UNAVAILABLE:
                self.refused += 1
                again = threading.Timer(_AGAIN_SECONDS, self._send, (request, spans, due))
                again.daemon = True
                again.start()
                return
            if future.code() is grpc.StatusCode.OK and not future.result():
                self.answers.append(Answer(due, time.perf_counter() - due, spans))
            else:
                self.failures.append(f"{future.code()}: {future.details()}")
            self._room.release()

        self._client.start(request).add_done_callback(done)


def _check(answer: bytes) -> None:
    if answer:
        raise RuntimeError("an answer was not a plain success")
