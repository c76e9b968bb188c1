"""The service as a process, over the real store."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import grpc
import pytest
from intentproof_receiver.key_commands import create_key

from tests.receiver.serving import until
from tests.receiver.support import PROTOBUF, request_bytes, span_message

COMMAND = "import sys; from intentproof_receiver.cli import main; sys.exit(main())"
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
BODY = request_bytes(span_message())


@dataclass
class Process:
    """A receiver that runs, with the addresses of its ready line."""

    popen: "subprocess.Popen[str]"
    grpc: str
    http: str
    pid: int

    def post(self, body: bytes, key: str) -> int:
        return self.get("/v1/traces", method="POST", body=body, key=key)[0]

    def get(
        self, path: str, *, method: str = "GET", body: bytes = b"", key: str = ""
    ) -> tuple[int, str]:
        connection = HTTPConnection(self.http, timeout=20)
        try:
            headers = {"content-type": PROTOBUF, "x-api-key": key}
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def until(self, event: str) -> dict[str, Any]:
        """The next log line of an event."""
        assert self.popen.stderr is not None
        for text in self.popen.stderr:
            if not text.startswith("{"):
                continue  # gRPC's own lines, such as one for each handshake that fails
            line: dict[str, Any] = json.loads(text)
            if line["event"] == event:
                return line
        raise AssertionError(f"ended with {self.popen.wait()} without {event}")

    def stop(self) -> int:
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(30)


def arguments(tmp_path: Path, *more: str) -> list[str]:
    free = ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    places = ["--store", str(tmp_path / "store"), "--home", str(tmp_path / "home")]
    return ["serve", *places, *free, *more]


@contextmanager
def process(tmp_path: Path, *more: str) -> Iterator[Process]:
    popen = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments(tmp_path, *more)],
        stderr=subprocess.PIPE,
        text=True,
    )
    running = Process(popen, "", "", popen.pid)
    try:
        ready = running.until("ready")
        running.grpc, running.http = ready["grpc"], ready["http"]
        yield running
    finally:
        popen.kill()
        popen.wait(30)
        assert popen.stderr is not None
        popen.stderr.close()


@pytest.fixture
def key(tmp_path: Path) -> str:
    return create_key(tmp_path / "home", tenant="acme")[1]


def test_serve(tmp_path: Path, key: str) -> None:
    """It says its real ports, takes spans on both, and a signal seals the store and ends with 0."""
    with process(tmp_path) as running:
        assert running.get("/ready")[0] == 200
        assert running.post(BODY, key) == 200
        with grpc.insecure_channel(running.grpc) as channel:
            other = request_bytes(span_message(2))
            call: Any = channel.unary_unary(EXPORT)
            call(other, metadata=(("x-api-key", key),), timeout=20)
        assert 'intentproof_events_total{result="stored"} 2.0' in running.get("/metrics")[1]
        assert running.stop() == 0
    assert list((tmp_path / "store").rglob("tenant=acme/**/*.parquet"))


def test_acknowledged_is_durable(tmp_path: Path, key: str) -> None:
    """After a SIGKILL right behind the answer the same span is a duplicate."""
    with process(tmp_path) as running:
        assert running.post(BODY, key) == 200
        running.popen.kill()
        running.popen.wait(30)
    with process(tmp_path) as running:
        assert running.post(BODY, key) == 200
        assert 'intentproof_events_total{result="duplicate"} 1.0' in running.get("/metrics")[1]
        assert running.stop() == 0


def test_the_same_again_is_answered_alike(tmp_path: Path, key: str) -> None:
    """A request sent ten times in parallel is stored once, and another under its ids is kept."""
    with process(tmp_path) as running:
        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(lambda _: running.post(BODY, key), range(10)))
        assert answers == [200] * 10
        assert running.post(request_bytes(span_message(action="other")), key) == 200
        text = running.get("/metrics")[1]
        for result, count in (("stored", 1), ("duplicate", 9), ("conflict", 1)):
            assert f'intentproof_events_total{{result="{result}"}} {count}.0' in text
        assert running.stop() == 0


def test_quarantine_reaches_the_store(tmp_path: Path, key: str) -> None:
    """A span that cannot become an event is answered with success and kept aside."""
    with process(tmp_path) as running:
        assert running.post(request_bytes(span_message(intent="")), key) == 200
        assert 'intentproof_spans_total{fate="quarantined"} 1.0' in running.get("/metrics")[1]
        assert running.stop() == 0
    assert list((tmp_path / "store" / "quarantine" / "acme").iterdir())


def finished(
    tmp_path: Path, *more: str, prelude: str = "", environ: "dict[str, str] | None" = None
) -> "subprocess.CompletedProcess[str]":
    """A receiver that ends by itself; `prelude` runs in its process before."""
    return subprocess.run(
        [sys.executable, "-c", f"{prelude}\n{COMMAND}", *arguments(tmp_path, *more)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | (environ or {}),
    )


def test_one_process_a_home(tmp_path: Path, key: str) -> None:
    """A second receiver on the same home is refused with 8, and the holder is named."""
    with process(tmp_path) as running:
        done = finished(tmp_path)
        assert done.returncode == 8
        assert str(running.pid) in done.stderr


@pytest.mark.parametrize("flag", ["--grpc", "--http"])
def test_a_port_in_use(tmp_path: Path, flag: str) -> None:
    """A port in use is named, with exit code 6, and nothing was written."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = finished(tmp_path, flag, address)
    assert done.returncode == 6
    assert f"{flag} {address}" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "store").exists()


def test_a_bad_setting(tmp_path: Path) -> None:
    """A bad setting is named, with exit code 6 and in one line."""
    done = finished(tmp_path, environ={"INTENTPROOF_SEAL_ROWS": "none"})
    assert done.returncode == 6
    assert "INTENTPROOF_SEAL_ROWS" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [("LedgerBehind", 8), ("LogNameChanged", 8), ("HomeInvalid", 6), ("StoreUnavailable", 1)],
)
def test_a_ledger_that_does_not_open(tmp_path: Path, error: str, code: int) -> None:
    """A restored store is blocked with 8, a damaged --home is 6, and any other fault 1."""
    prelude = (
        "import intentproof_store as store\n"
        "class Closed:\n"
        "    @staticmethod\n"
        f"    def open(_): raise store.{error}('the reason')\n"
        "store.Ledger = Closed"
    )
    done = finished(tmp_path, prelude=prelude)
    assert done.returncode == code
    assert done.stderr.startswith("intentproof-otel: ")
    assert done.stderr.endswith("the reason\n")
    assert len(done.stderr.splitlines()) == 1


def test_folders_of_another_user(tmp_path: Path) -> None:
    """What this user may not open is named with 6, and who must own it."""
    prelude = (
        "import intentproof_store as store\n"
        "class Closed:\n"
        "    @staticmethod\n"
        "    def open(_): raise PermissionError(13, 'Permission denied', '/hot/lock')\n"
        "store.Ledger = Closed"
    )
    done = finished(tmp_path, prelude=prelude)
    assert done.returncode == 6
    assert done.stderr.startswith("intentproof-otel: /hot/lock: Permission denied: what is in")


def ended(popen: subprocess.Popen[str]) -> bool:
    """Ask again; whether it has ended."""
    popen.send_signal(signal.SIGTERM)
    return popen.poll() is not None


def test_draining(tmp_path: Path, key: str) -> None:
    """A signal lets what is in flight finish; another one, a second later, ends the process."""
    with process(tmp_path) as running:
        host, port = running.http.split(":")
        head = (
            f"POST /v1/traces HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\n"
            f"content-type: {PROTOBUF}\r\ncontent-length: {len(BODY)}\r\n"
            "expect: 100-continue\r\n\r\n"
        )
        with (
            socket.create_connection((host, int(port)), timeout=20) as first,
            socket.create_connection((host, int(port)), timeout=20) as second,
        ):
            for connection in (first, second):
                connection.sendall(head.encode())
                assert connection.recv(1000).startswith(b"HTTP/1.1 100")  # it is being read
            running.popen.send_signal(signal.SIGTERM)
            running.until("draining")
            running.popen.send_signal(signal.SIGTERM)  # as timeout(1) does, right behind
            first.sendall(BODY)
            assert first.recv(1000).startswith(b"HTTP/1.1 200")
            until(lambda: ended(running.popen), what="end")
            assert running.popen.wait(10) == 1
