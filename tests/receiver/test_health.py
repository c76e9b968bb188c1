"""`grpc.health.v1`, as load balancers and Kubernetes ask for it."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from intentproof_receiver.grpc_server import SERVICE
from intentproof_receiver.key_commands import create_key

from tests.receiver.serving import Served, served, until
from tests.receiver.support import request_bytes, span_message

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
# The hot file refuses every write while this file is there.
FULL_DISK = """
import errno, os
write = os.pwrite
def refuse(*args):
    if os.path.exists({switch!r}): raise OSError(errno.ENOSPC, "No space left on device")
    return write(*args)
os.pwrite = refuse
"""


@pytest.fixture
def key(tmp_path: Path) -> str:
    return create_key(tmp_path / "home", tenant="acme")[1]


@pytest.fixture
def switch(tmp_path: Path) -> Path:
    return tmp_path / "disk-is-full"


@pytest.fixture
def running(tmp_path: Path, key: str, switch: Path) -> Iterator[Served]:
    with served(tmp_path, prelude=FULL_DISK.format(switch=str(switch))) as running:
        yield running


def status(channel: grpc.Channel, service: str = "") -> int:
    stub: Any = HealthStub(channel)
    answer = stub.Check(HealthCheckRequest(service=service), timeout=20)
    return int(answer.status)


def test_check(running: Served) -> None:
    """The server and the trace service are SERVING, without a key; another is NOT_FOUND."""
    with grpc.insecure_channel(running.grpc) as channel:
        assert status(channel) == SERVING
        assert status(channel, SERVICE) == SERVING
        with pytest.raises(grpc.RpcError) as caught:
            status(channel, "other")
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_an_unhealthy_store_does_not_serve(running: Served, key: str, switch: Path) -> None:
    """A store that cannot write is NOT_SERVING, and SERVING again when it can."""
    with grpc.insecure_channel(running.grpc) as channel:
        switch.touch()
        assert running.post(request_bytes(span_message()), key) == 503
        until(lambda: status(channel) == NOT_SERVING, what="NOT_SERVING")
        assert running.call("/ready")[0] == 503
        switch.unlink()
        assert running.post(request_bytes(span_message()), key) == 200
        until(lambda: status(channel) == SERVING, what="SERVING")


def test_who_watches_is_told_of_the_end(running: Served) -> None:
    """Watch sends NOT_SERVING when the receiver drains, and does not hold up its end."""
    told: list[int] = []
    with grpc.insecure_channel(running.grpc) as channel:
        stub: Any = HealthStub(channel)
        answers = stub.Watch(HealthCheckRequest(service=SERVICE))

        def watch() -> None:
            with suppress(grpc.RpcError):
                told.extend(answer.status for answer in answers)

        thread = threading.Thread(target=watch)
        thread.start()
        until(lambda: told == [SERVING], what="SERVING")
        started = time.monotonic()
        running.popen.send_signal(signal.SIGTERM)
        assert running.popen.wait(60) == 0
        assert time.monotonic() - started < 20  # drain_seconds is 30
        thread.join(20)
    assert told == [SERVING, NOT_SERVING]
