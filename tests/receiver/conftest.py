"""Fixtures of the receiver's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.receiver.support import Service, running_service


@pytest.fixture(scope="module")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("home")) as service:
        yield service


@pytest.fixture
def service(shared_service: Service) -> Service:
    """The module's running service with an empty ledger that works."""
    ledger = shared_service.ledger
    ledger.events.clear()
    ledger.undecodable.clear()
    ledger.calls, ledger.fault, ledger.healthy, ledger.gate = 0, None, True, None
    return shared_service


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"
