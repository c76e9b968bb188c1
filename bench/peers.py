"""Other programs that take OTLP, beside ours: the same spans, client and protocol, in one run.

What counts is what stands in each one's store and can be asked for, not what was acknowledged: one
of them acknowledges first and stores afterwards. Each runs as its `serve` command does by default,
with SQLite, which is what they use where nobody says otherwise. Where none is installed, `make
peers` installs them; they are no dependency of ours.
"""

import contextlib
import http.client
import os
import signal
import socket
import sqlite3
import subprocess
import time
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from intentproof_store import Reader

from .over_http import post_all
from .served import serving, settings
from .workload import Workload, make_workload

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
PEERS_FOLDER = Path(os.environ.get("PEERS") or _CACHE / "intentproof-otel" / "peers")
SPANS_A_REQUEST = 100
CONNECTIONS = 4
_START_SECONDS = 120.0
_STILL_SECONDS = 5.0  # without a further span: what is not stored by then, is not counted
_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Peer:
    """A program beside ours: how it is started, and where it keeps spans."""

    name: str
    distribution: str
    command: Callable[[Path, int], list[str]]
    environment: Callable[[Path, int], dict[str, str]]
    database: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stored:
    """What one run showed: spans sent, acknowledged, and stored, and these a second."""

    sent: int
    acknowledged: int
    stored: int
    a_second: float


PEERS = (
    Peer(
        "mlflow",
        "mlflow",
        lambda folder, port: [
            *("server", "--host", "127.0.0.1", "--port", str(port)),
            *("--backend-store-uri", f"sqlite:///{folder}/peer.db"),
        ],
        lambda *_: {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"},
        "peer.db",
        {"x-mlflow-experiment-id": "0"},
    ),
    Peer(
        "phoenix",
        "arize-phoenix",
        lambda *_: ["serve"],
        lambda folder, port: {
            "PHOENIX_HOST": "127.0.0.1",
            "PHOENIX_PORT": str(port),
            "PHOENIX_GRPC_PORT": str(free_port()),
            "PHOENIX_WORKING_DIR": str(folder),
            "PHOENIX_TELEMETRY_ENABLED": "false",
        },
        "phoenix.db",
    ),
)


def peer_workload(spans: int) -> Workload:
    """The spans that every one of them gets."""
    return make_workload(spans, seed=4, spans_a_request=SPANS_A_REQUEST)


def run_ours(workload: Workload, folder: Path) -> Stored:
    """Ours, as the others are measured; events are counted by a query while the receiver runs."""
    places = settings(folder)
    with serving(folder) as receiver:

        def count() -> int:
            with Reader(places.store, hot=places.hot, home=places.home, tenant="acme") as reader:
                return int(reader.rows("SELECT count(*) AS stored FROM events")[0]["stored"])

        return _measure(workload, receiver.http, {"x-api-key": receiver.key}, count)


def run_peer(peer: Peer, venvs: Path, workload: Workload, folder: Path) -> Stored:
    """Another program, installed as `<venvs>/<name>`. Raises FileNotFoundError if it is not."""
    program = venvs / peer.name / "bin" / peer.name
    if not program.is_file():
        raise FileNotFoundError(program)
    with _running(peer, program, folder) as address:
        database = (folder / peer.database).resolve()
        return _measure(workload, address, peer.headers, lambda: _spans_in(database))


def version_of(peer: Peer, venvs: Path) -> str:
    """What is installed, by the folder of its metadata."""
    found = venvs.glob(f"{peer.name}/lib/python*/site-packages/*{peer.name}-*.dist-info")
    versions = sorted(path.name.removesuffix(".dist-info").rpartition("-")[2] for path in found)
    return versions[0] if versions else "?"


def _measure(
    workload: Workload, address: str, headers: Mapping[str, str], count: Callable[[], int]
) -> Stored:
    warm_up = make_workload(4 * CONNECTIONS, seed=0, spans_a_request=1)  # several processes answer
    post_all(address, warm_up.requests, headers=headers, connections=CONNECTIONS)
    before, _ = _settled(count, warm_up.spans)
    started = time.perf_counter()
    _, answered = post_all(address, workload.requests, headers=headers, connections=CONNECTIONS)
    stored, ended = _settled(count, before + workload.spans)
    acknowledged = min(workload.spans, answered * SPANS_A_REQUEST)
    stored -= before
    return Stored(workload.spans, acknowledged, stored, stored / (ended - started))


def _settled(count: Callable[[], int], wanted: int) -> tuple[int, float]:
    """How many are stored in the end, and since when that many were."""
    since = time.perf_counter()
    stored = count()
    looked = time.perf_counter()
    while stored < wanted and looked - since < _STILL_SECONDS:
        time.sleep(_LOOK_SECONDS)
        now = count()
        looked = time.perf_counter()
        if now > stored:
            stored, since = now, looked
    return stored, since


def _spans_in(database: Path) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM spans").fetchone()[0])


@contextmanager
def _running(peer: Peer, program: Path, folder: Path) -> Iterator[str]:
    port = free_port()
    with (folder / "peer.log").open("w") as log:
        process = subprocess.Popen(
            [program, *peer.command(folder, port)],
            cwd=folder,
            env={**os.environ, **peer.environment(folder, port)},
            stdout=log,
            stderr=log,
            start_new_session=True,  # it starts processes of its own, which end with it
        )
        try:
            address = f"127.0.0.1:{port}"
            _wait_for(address, process)
            yield address
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for(address: str, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        connection = http.client.HTTPConnection(address, timeout=_START_SECONDS)
        with contextlib.suppress(OSError, http.client.HTTPException):
            with contextlib.closing(connection):
                connection.request("GET", "/")  # a port may be open long before anybody answers
                connection.getresponse()
            return
        time.sleep(_LOOK_SECONDS)
    raise RuntimeError("the peer did not start")


def free_port() -> int:
    """A port of loopback that nobody has now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def install(venvs: Path) -> None:
    """Install all of them from PyPI, each in a virtual environment of its own."""
    for peer in PEERS:
        folder = venvs / peer.name
        venv.create(folder, with_pip=True)
        python = str(folder / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", peer.distribution], check=True)
        print(f"{peer.name} {version_of(peer, venvs)} in {folder}")


if __name__ == "__main__":
    install(PEERS_FOLDER)
