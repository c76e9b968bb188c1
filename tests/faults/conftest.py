"""What every fault test needs: how long its fault lasts, and a receiver behind a Collector."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.collector.conftest import collector_binary
from tests.collector.processes import ROOT, Address, Collector
from tests.faults.site import ReceiverUnderTest, Site

__all__ = ["collector_binary"]

MakeSite = Callable[..., Site]


@pytest.fixture(scope="session")
def seconds() -> float:
    """How long a fault lasts."""
    return float(os.environ.get("INTENTPROOF_FAULT_SECONDS") or 60)


@pytest.fixture
def make_site(collector_binary: Path, tmp_path: Path) -> MakeSite:
    """Sets up a receiver with a key, and the Collector of a shipped configuration before it."""

    def make(
        transport: str = "grpc",
        *,
        receiver: Mapping[str, str] | None = None,
        exporter: Mapping[str, Any] | None = None,
        through: Address | None = None,
    ) -> Site:
        folders = [tmp_path / "receiver", tmp_path / "collector"]
        for folder in folders:
            folder.mkdir(exist_ok=True)
        behind = ReceiverUnderTest(folders[0], environment=receiver or {})
        behind.create_key()
        config, name, own = {
            "grpc": ("collector-config.yaml", "otlp_grpc/intentproof", behind.grpc),
            "http": ("collector-config.http.yaml", "otlp_http/intentproof", behind.http),
        }[transport]
        layer = yaml.safe_dump({"exporters": {name: exporter}}) if exporter else ""
        address = through or own
        endpoint = address.url if transport == "http" else str(address)
        collector = Collector(
            collector_binary,
            ROOT / config,
            folders[1],
            endpoint,
            behind.key_file,
            layers=(f"yaml:{layer}",) if layer else (),
        )
        return Site(behind, collector)

    return make
