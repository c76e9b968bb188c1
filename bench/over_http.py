"""OTLP/HTTP with protobuf bodies, as fast as answers come: for us and for others alike."""

import contextlib
import http.client
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

_TIMEOUT_SECONDS = 120.0


def post_all(
    address: str, requests: Sequence[bytes], *, headers: Mapping[str, str], connections: int
) -> tuple[float, int]:
    """Seconds until the last answer, and how many requests were answered 200.

    Each connection has one request under way at a time, and what is refused is not sent again.
    """
    waiting: SimpleQueue[bytes | None] = SimpleQueue()
    for request in (*requests, *[None] * connections):
        waiting.put(request)
    sent = {"Content-Type": "application/x-protobuf", **headers}

    def post(_: int) -> int:
        taken = 0
        connection = http.client.HTTPConnection(address, timeout=_TIMEOUT_SECONDS)
        with contextlib.closing(connection):
            while (request := waiting.get()) is not None:
                connection.request("POST", "/v1/traces", body=request, headers=sent)
                answer = connection.getresponse()
                answer.read()
                taken += answer.status == http.client.OK
        return taken

    started = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        taken = sum(pool.map(post, range(connections)))
    return time.perf_counter() - started, taken
