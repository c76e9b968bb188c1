"""The receiver as users run it: `intentproof-otel serve`, a process of its own, its defaults."""

import contextlib
import http.client
import io
import json
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from intentproof_receiver.cli import main
from intentproof_store import LedgerSettings

_END_SECONDS = 120  # what is hot is sealed first
_LEDGER = "intentproof_ledger_"


@dataclass(frozen=True)
class Receiver:
    """A running receiver: its process id, both addresses as host:port, and a key for `acme`."""

    pid: int
    grpc: str
    http: str
    key: str

    def ledger(self) -> dict[str, float]:
        """The ledger's metrics by their last words, such as `hot_rows`."""
        connection = http.client.HTTPConnection(self.http, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        pairs = (line.removeprefix(_LEDGER).split() for line in lines if line.startswith(_LEDGER))
        return {name: float(value) for name, value in pairs}


def settings(folder: Path) -> LedgerSettings:
    """A store in a folder, with the defaults of the receiver."""
    return LedgerSettings(
        store=folder / "proofs", home=folder / "home", hot=folder / "proofs" / "hot"
    )


def create_key(home: Path) -> str:
    """An API key of the tenant `acme`, made by the command that users call."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        main(["keys", "create", "--tenant", "acme", "--home", str(home)])
    return out.getvalue().strip()


@contextmanager
def serving(folder: Path) -> Iterator[Receiver]:
    """A receiver on free ports of loopback; ended, and thereby sealed, at the end."""
    places = settings(folder)
    key = create_key(places.home)
    program = str(Path(sys.executable).with_name("intentproof-otel"))
    flags = ["--store", str(places.store), "--home", str(places.home)]
    process = subprocess.Popen(
        [program, "serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", *flags],
        stderr=subprocess.PIPE,
        text=True,
    )
    log = process.stderr or io.StringIO()
    # Somebody must read on, or a receiver that has much to say would wait for the pipe.
    reading = threading.Thread(target=deque, args=(log, 0), daemon=True)
    try:
        ready = _ready(log)
        reading.start()
        yield Receiver(process.pid, str(ready["grpc"]), str(ready["http"]), key)
        process.terminate()
        process.wait(timeout=_END_SECONDS)
        reading.join()
    finally:
        process.kill()
        process.wait()
        log.close()


def _ready(log: IO[str]) -> dict[str, object]:
    """The line that says that the receiver answers, and where."""
    for line in log:
        entry: dict[str, object] = json.loads(line) if line.startswith("{") else {}
        if entry.get("event") == "ready":
            return entry
    raise RuntimeError("the receiver did not start")
