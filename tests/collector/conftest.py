"""What every Collector test needs: the binary, a receiver with a key, and a Collector before it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.collector.processes import ROOT, Collector, Receiver

_GO_MISSING = 7  # build.sh: nothing cached, and no Go to build it


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
