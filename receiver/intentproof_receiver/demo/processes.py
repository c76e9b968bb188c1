"""The processes of the demo: started on free ports, and ended in every case."""

import hashlib
import json
import os
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .told import Differs, Told

_CLI = "import sys; from intentproof_receiver.cli import main; sys.exit(main())"
_MISSING = 7  # contract §7
_PATIENCE_SECONDS = 15.0
_TAIL = 2000
# Becomes the program that its arguments name, and ends with the demo: prctl(2), PR_SET_PDEATHSIG,
# SIGTERM. A demo that was gone before that has left another parent.
_TIED = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""
_STORED = 'intentproof_events_total{result="stored"} '


@dataclass(frozen=True)
class Collector:
    """The Collector's binary and the configuration that the repository brings."""

    binary: Path
    config: Path


def find_collector() -> Collector | None:
    """The Collector that `collector/build.sh` left in its cache; never built here."""
    root = Path(__file__).resolve().parents[3]
    manifest, config = root / "collector" / "manifest.yaml", root / "collector-config.yaml"
    if not (manifest.is_file() and config.is_file()):
        return None  # installed from a wheel
    version = hashlib.sha256(manifest.read_bytes()).hexdigest()[:12]
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(os.environ.get("INTENTPROOF_CACHE") or Path(user, "intentproof-otel"))
    binary = cache / "collector" / version / "otelcol-intentproof"
    return Collector(binary, config) if os.access(binary, os.X_OK) else None


@dataclass
class Folder:
    """The demo's folder: each command runs in it, so that no command needs to be told where."""

    path: Path
    pid: int = 0
    _http: str = ""
    _codes: dict[str, int] = field(default_factory=dict)

    @property
    def key_file(self) -> Path:
        """Where the tenant's key is."""
        return self.path / "acme.key"

    def command(
        self, told: Told, *argv: str, code: int = 0, shown: str = "", about: str = ""
    ) -> str:
        """Run one of our commands and show it; what it wrote to stdout. Raises Differs."""
        told.shell(f"intentproof-otel {shown or _command_line(argv)}")
        done = self._run([sys.executable, "-c", _CLI, *argv], _environment())
        # A command line that redirects stdout shows stderr alone, as a terminal would.
        told.output(done.stderr if shown else done.stdout, about=about)
        if done.returncode != code:
            raise Differs(f"{argv[0]} exited with {done.returncode}, not {code}: {done.stderr}")
        return done.stdout

    def program(self, told: Told, name: str, endpoint: str) -> str:
        """Run a customer's program against the endpoint and show its output. Raises Differs."""
        key = self.key_file.read_text().strip()
        sending = {"INTENTPROOF_ENDPOINT": endpoint, "INTENTPROOF_API_KEY": key}
        done = self._run([sys.executable, name], {**_environment(), **sending})
        told.output(done.stdout)
        if done.returncode != 0:
            raise Differs(f"the program exited with {done.returncode}: {done.stderr}")
        return done.stdout

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve until the block ends, on ports that the system chooses; its gRPC address."""
        free = ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        argv = [sys.executable, "-c", _CLI, "serve", *free]
        with self._running("receiver", argv, _environment()) as started:
            self._wait("receiver", started, lambda: self._ready() is not None)
            ready = self._ready() or {}
            self.pid, self._http = started.pid, ready["http"]
            yield ready["grpc"]

    @contextmanager
    def collecting(self, collector: Collector, receiver: str) -> Iterator[str]:
        """Run the Collector before the receiver until the block ends; its gRPC address."""
        grpc, http, health, metrics = _free_ports(4)
        environment = {
            **_environment(),
            "INTENTPROOF_ENDPOINT": receiver,
            "INTENTPROOF_INSECURE": "true",
            "INTENTPROOF_API_KEY_FILE": str(self.key_file),
            "INTENTPROOF_COLLECTOR_GRPC": f"127.0.0.1:{grpc}",
            "INTENTPROOF_COLLECTOR_HTTP": f"127.0.0.1:{http}",
            "INTENTPROOF_COLLECTOR_QUEUE": str(self.path / "collector-queue"),
            "INTENTPROOF_COLLECTOR_HEALTH": f"127.0.0.1:{health}",
            "INTENTPROOF_COLLECTOR_METRICS_PORT": str(metrics),
        }
        argv = [str(collector.binary), f"--config={collector.config}"]
        with self._running("collector", argv, environment) as started:
            self._wait("collector", started, lambda: _get(f"127.0.0.1:{health}", "/") is not None)
            yield f"127.0.0.1:{grpc}"

    def wait_until_stored(self, count: int) -> None:
        """Return once the receiver has stored so many events, and no more. Raises Differs."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (stored := self._stored()) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        if stored != count:
            raise Differs(f"{stored} events were stored, not {count}\n{self._tail('receiver')}")

    def check_ended_well(self) -> None:
        """Raises Differs unless every service ended with 0 when it was asked to."""
        for name, code in self._codes.items():
            if code != 0:
                raise Differs(f"the {name} exited with {code}\n{self._tail(name)}")

    @contextmanager
    def _running(
        self, name: str, argv: list[str], environment: Mapping[str, str]
    ) -> Iterator["subprocess.Popen[bytes]"]:
        with (
            (self.path / f"{name}.log").open("wb") as log,
            subprocess.Popen(  # noqa: S603 - our own commands
                _tied(argv),
                cwd=self.path,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            ) as started,
        ):
            try:
                yield started
            finally:
                started.terminate()
                try:
                    self._codes[name] = started.wait(_PATIENCE_SECONDS)
                except subprocess.TimeoutExpired:
                    started.kill()
                    self._codes[name] = started.wait()

    def _run(
        self, argv: list[str], environment: Mapping[str, str]
    ) -> "subprocess.CompletedProcess[str]":
        try:
            return subprocess.run(  # noqa: S603 - our own commands; ended if it is interrupted
                _tied(argv),
                cwd=self.path,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                encoding="utf-8",
                timeout=_PATIENCE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Differs(f"{argv[-1]} took over {_PATIENCE_SECONDS:.0f} s") from error

    def _wait(
        self, name: str, started: "subprocess.Popen[bytes]", probe: Callable[[], bool]
    ) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not probe():
            code = started.poll()
            if code is not None:
                exit_code = _MISSING if code == _MISSING else 1
                raise Differs(f"the {name} ended\n{self._tail(name)}", exit_code=exit_code)
            if time.monotonic() > deadline:
                raise Differs(f"the {name} did not start\n{self._tail(name)}")
            time.sleep(0.05)

    def _ready(self) -> dict[str, str] | None:
        """The receiver's own line that it is ready, which has its ports."""
        for line in (self.path / "receiver.log").read_text().splitlines(keepends=True):
            if line.endswith("\n") and '"ready"' in line:
                found: dict[str, str] = json.loads(line)
                return found
        return None

    def _stored(self) -> int:
        page = _get(self._http, "/metrics") or ""
        return sum(
            int(float(line.removeprefix(_STORED)))
            for line in page.splitlines()
            if line.startswith(_STORED)
        )

    def _tail(self, name: str) -> str:
        return (self.path / f"{name}.log").read_text(errors="replace")[-_TAIL:]


def _environment() -> dict[str, str]:
    """Ours without what a developer has set for IntentProof and OpenTelemetry."""
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("INTENTPROOF_", "OTEL_"))},
        "PYTHONIOENCODING": "utf-8",
    }


def _tied(argv: list[str]) -> list[str]:
    """A SIGKILL of the demo, which nobody can catch, must not leave the program behind."""
    if sys.platform != "linux":
        return argv
    return [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid()), *argv]


def _free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on; held together, so that all differ."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def _get(address: str, path: str) -> str | None:
    """A page of a service on loopback, or nothing while it cannot be had; proxies are passed by."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{address}{path}", timeout=5) as answer:
            body: bytes = answer.read()
            return body.decode()
    except OSError:
        return None


def _command_line(argv: Sequence[str]) -> str:
    """Words as a shell takes them; SQL, which is full of apostrophes, between double ones."""
    return " ".join(f'"{word}"' if "'" in word else shlex.quote(word) for word in argv)
