"""Real processes on loopback: started with free ports, waited for, and always ended."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TENANT = "acme"
_COMMAND = Path(sys.executable).with_name("intentproof-otel")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Address:
    """One loopback address that a process is told to listen on."""

    port: int = field(default_factory=free_port)

    def __str__(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self}"

    @property
    def is_open(self) -> bool:
        """Whether something listens there."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5):
                return True
        except OSError:
            return False


@dataclass(frozen=True)
class Process:
    """A running program and the file that its output goes to."""

    popen: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """End it as a crash would: SIGKILL, nothing is flushed."""
        self.popen.kill()
        self.popen.wait()

    def stop(self) -> None:
        """End it as an operator would: SIGTERM, and time to tidy up."""
        self.popen.terminate()
        self.popen.wait(timeout=20)

    def wait_for(self, probe: Callable[[], bool], *, what: str, within_s: float = 60) -> None:
        """Return once the probe holds; fail with the log if it does not, or the process ends."""
        deadline = time.monotonic() + within_s
        while not probe():
            assert self.popen.poll() is None, f"ended before {what}:\n{self._tail()}"
            assert time.monotonic() < deadline, f"no {what} in {within_s} s:\n{self._tail()}"
            time.sleep(0.05)

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]


@contextmanager
def running(argv: list[str], *, log: Path, env: Mapping[str, str]) -> Iterator[Process]:
    """Run a program until the block ends, however it ends."""
    with (
        log.open("ab") as output,
        subprocess.Popen(argv, env=env, stdout=output, stderr=subprocess.STDOUT) as popen,
    ):
        process = Process(popen, log)
        try:
            yield process
        finally:
            try:
                process.stop()
            except subprocess.TimeoutExpired:
                process.kill()


def get(url: str) -> str | None:
    """The body of a page, or nothing while it cannot be had."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            body: bytes = answer.read()
            return body.decode()
    except urllib.error.HTTPError as refusal:
        refusal.close()
    except OSError:
        pass
    return None


def clean_environment() -> dict[str, str]:
    """Our environment without any setting of IntentProof that the developer may have."""
    return {k: v for k, v in os.environ.items() if not k.startswith("INTENTPROOF_")}


@dataclass(frozen=True)
class Receiver:
    """An intentproof-otel installation in one folder, and its commands."""

    folder: Path
    grpc: Address = field(default_factory=Address)
    http: Address = field(default_factory=Address)

    @property
    def key_file(self) -> Path:
        return self.folder / "intentproof.key"

    def create_key(self) -> None:
        """Create the tenant's key and leave it in key_file."""
        self.key_file.write_text(self.key_of(TENANT) + "\n")

    def key_of(self, tenant: str) -> str:
        """A new key of any tenant."""
        created = self._run("keys", "create", "--tenant", tenant, "--home", str(self._home))
        return created.stdout.strip()

    @contextmanager
    def serving(self) -> Iterator[Process]:
        """Serve until the block ends; ready when the block starts."""
        argv = [str(_COMMAND), "serve", "--grpc", str(self.grpc), "--http", str(self.http)]
        log = self.folder / "receiver.log"
        with running([*argv, *self._places], log=log, env=clean_environment()) as process:
            ready_url = f"{self.http.url}/ready"
            process.wait_for(lambda: get(ready_url) is not None, what="receiver ready")
            yield process

    def sql(self, query: str, tenant: str = TENANT) -> list[dict[str, Any]]:
        """The rows that the tenant's views answer, each with its columns by name."""
        argv = ("sql", query, "--tenant", tenant, "--format", "json")
        rows: list[dict[str, Any]] = json.loads(self._run(*argv, *self._places).stdout)
        return rows

    def verify(self) -> int:
        """The exit code of verify over the whole store."""
        return self._run("verify", *self._places, check=False).returncode

    @property
    def _home(self) -> Path:
        return self.folder / "home"

    @property
    def _places(self) -> list[str]:
        store, hot = self.folder / "store", self.folder / "hot"
        return ["--store", str(store), "--home", str(self._home), "--hot", str(hot)]

    def _run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(_COMMAND), *argv],
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0 or not check, f"{argv} exited {done.returncode}: {done.stderr}"
        return done


@dataclass(frozen=True)
class Collector:
    """One of our Collector configurations, set up by its environment alone.

    `layers` are laid over it, each with a --config of its own; `environment` wins over ours.
    """

    binary: Path
    config: Path
    folder: Path
    endpoint: str
    key_file: Path
    grpc: Address = field(default_factory=Address)
    http: Address = field(default_factory=Address)
    health: Address = field(default_factory=Address)
    telemetry: Address = field(default_factory=Address)
    layers: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def collecting(self) -> Iterator[Process]:
        """Run until the block ends; accepts spans when the block starts."""
        configs = (str(self.config), *self.layers)
        argv = [str(self.binary), *(f"--config={config}" for config in configs)]
        with running(argv, log=self.log, env=self._environment) as process:
            ports = (self.grpc, self.http)
            process.wait_for(lambda: all(p.is_open for p in ports), what="healthy Collector")
            yield process

    @property
    def log(self) -> Path:
        return self.folder / "collector.log"

    @property
    def queue(self) -> Path:
        return self.folder / "queue"

    def metric(self, name: str) -> float:
        """The sum of a counter or gauge over its labels, 0 while it does not exist."""
        page = get(f"{self.telemetry.url}/metrics") or ""
        lines = [line for line in page.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    @property
    def _environment(self) -> dict[str, str]:
        return clean_environment() | {
            "INTENTPROOF_ENDPOINT": self.endpoint,
            "INTENTPROOF_INSECURE": "true",
            "INTENTPROOF_API_KEY_FILE": str(self.key_file),
            "INTENTPROOF_COLLECTOR_GRPC": str(self.grpc),
            "INTENTPROOF_COLLECTOR_HTTP": str(self.http),
            "INTENTPROOF_COLLECTOR_QUEUE": str(self.queue),
            "INTENTPROOF_COLLECTOR_HEALTH": str(self.health),
            "INTENTPROOF_COLLECTOR_METRICS_PORT": str(self.telemetry.port),
            **self.environment,
        }
