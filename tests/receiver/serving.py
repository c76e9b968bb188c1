"""The service as a process, for tests that look at it from outside."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.receiver.support import PROTOBUF

COMMAND = "import sys; from intentproof_receiver.cli import main; sys.exit(main())"


@dataclass
class Served:
    """A receiver that runs; its log is read all the time."""

    popen: "subprocess.Popen[str]"
    lines: list[dict[str, Any]] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)

    @property
    def grpc(self) -> str:
        return str(self.logged("ready")["grpc"])

    @property
    def http(self) -> str:
        return str(self.logged("ready")["http"])

    def read(self) -> None:
        assert self.popen.stderr is not None
        for text in self.popen.stderr:
            self.raw.append(text)
            if text.startswith("{"):
                self.lines.append(json.loads(text))

    def logged(self, event: str) -> dict[str, Any]:
        """The first log line of an event, waited for."""
        until(lambda: any(line["event"] == event for line in self.lines), what=event)
        return next(line for line in self.lines if line["event"] == event)

    def call(
        self, path: str, body: bytes = b"", *, method: str = "GET", **headers: str
    ) -> tuple[int, str, dict[str, str]]:
        connection = HTTPConnection(self.http, timeout=20)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            got = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, answer.read().decode(errors="replace"), got
        finally:
            connection.close()

    def post(self, body: bytes, key: str, **headers: str) -> int:
        sent = {"content_type": PROTOBUF, "x_api_key": key} | headers
        return self.call("/v1/traces", body, method="POST", **sent)[0]

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        return sum(
            one.value
            for family in text_string_to_metric_families(self.call("/metrics")[1])
            for one in family.samples
            if one.name == name and labels.items() <= one.labels.items()
        )

    def stop(self) -> int:
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(60)


def until(probe: Callable[[], bool], *, what: str, within_s: float = 60) -> None:
    """Return once the probe holds."""
    deadline = time.monotonic() + within_s
    while not probe():
        assert time.monotonic() < deadline, f"no {what} in {within_s} s"
        time.sleep(0.02)


@contextmanager
def served(
    folder: Path, *more: str, environ: Mapping[str, str] | None = None, prelude: str = ""
) -> Iterator[Served]:
    """A receiver over `folder`/store and /home on free ports; `prelude` runs in it before."""
    free = ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    places = ["--store", str(folder / "store"), "--home", str(folder / "home")]
    popen = subprocess.Popen(
        [sys.executable, "-c", f"{prelude}\n{COMMAND}", "serve", *places, *free, *more],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | (environ or {}),
    )
    running = Served(popen)
    reader = threading.Thread(target=running.read)
    reader.start()
    try:
        running.logged("ready")
        yield running
    finally:
        popen.kill()
        popen.wait(30)
        reader.join(30)
        assert popen.stderr is not None
        popen.stderr.close()
