"""What every Collector test needs: the binary, a receiver with a key, and a Collector before it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.collector.examples import Example
from tests.collector.processes import ROOT, Collector, Receiver

_GO_MISSING = 7  # build.sh: nothing cached, and no Go to build it
# What does not set a port for its metrics has 8888, which another Collector may hold.
_NO_METRICS = "yaml:service::telemetry::metrics::level: none"


@pytest.fixture(scope="session")
def collector_binary() -> Path:
    """The cached Collector; built first where Go is installed, which takes minutes."""
    build = [str(ROOT / "collector" / "build.sh")]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    if done.returncode == _GO_MISSING:
        pytest.skip("needs Go to build the Collector: install Go 1.25+ and run `make collector`")
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.splitlines()[-1])


@pytest.fixture
def receiver(tmp_path: Path) -> Receiver:
    """A receiver that has a key for the tenant and does not run yet."""
    receiver = Receiver(tmp_path)
    receiver.create_key()
    return receiver


@pytest.fixture
def make_collector(
    collector_binary: Path, receiver: Receiver, tmp_path: Path
) -> Callable[[str], Collector]:
    """Sets up the Collector of one configuration in front of the receiver."""
    endpoints = {
        "collector-config.yaml": str(receiver.grpc),
        "collector-config.http.yaml": receiver.http.url,
    }

    def make(config: str) -> Collector:
        return Collector(
            collector_binary, ROOT / config, tmp_path, endpoints[config], receiver.key_file
        )

    return make


@pytest.fixture
def example_collector(
    collector_binary: Path, receiver: Receiver, tmp_path: Path
) -> Callable[..., Collector]:
    """Sets up the Collector of one example, with what its environment has beyond ours."""

    def make(example: Example, **environment: str) -> Collector:
        base, *over = (str(ROOT / config) for config in example.configs)
        if example.name == "minimal":
            over.append(_NO_METRICS)
        folder = tmp_path / example.name.replace(" ", "-")
        folder.mkdir()
        return Collector(
            collector_binary,
            Path(base),
            folder,
            receiver.http.url if example.over_http else str(receiver.grpc),
            receiver.key_file,
            layers=tuple(over),
            environment=environment,
        )

    return make
