"""The doctor: what it looks at, and that it says what to mend."""

import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from intentproof_receiver import doctor
from intentproof_receiver.cli import main
from intentproof_receiver.config import Config
from intentproof_receiver.key_commands import create_key


@pytest.fixture
def argv(tmp_path: Path, home: Path) -> list[str]:
    """A command line whose ports are free."""
    config = tmp_path / "c.yaml"
    config.write_text("grpc: 127.0.0.1:0\nhttp: 127.0.0.1:0\n")
    places = ["--home", str(home), "--store", str(tmp_path / "s")]
    return ["doctor", "--config", str(config), *places]


def test_all_is_well(argv: list[str], home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A good set-up has nothing to mend, and nothing is changed."""
    create_key(home, tenant="acme")
    before = sorted(home.iterdir())
    assert main(argv) == 0
    assert "MEND" not in capsys.readouterr().out
    assert sorted(home.iterdir()) == before


def test_no_keys(argv: list[str], home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a key that may send, the doctor says how to make one."""
    assert main(argv) == 6
    assert "keys create" in capsys.readouterr().out
    create_key(home, tenant="acme", roles=["read"])
    assert main(argv) == 6
    (home / "api-keys.json").write_bytes(b"{")
    assert main(argv) == 6


def test_open_permissions(argv: list[str], home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A --home that others may read is to be mended."""
    create_key(home, tenant="acme")
    home.chmod(0o755)
    assert main(argv) == 6
    assert "chmod go=" in capsys.readouterr().out


def test_bad_config(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A bad setting is told as `serve` would tell it."""
    Path(argv[2]).write_text("grpc: 5")
    assert main(argv) == 6
    assert "grpc in" in capsys.readouterr().out


def test_disk_clock_and_ports(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, a clock that was never set and a port in use are found."""
    usage: Any = shutil.disk_usage(Path.cwd())._replace(free=5)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config = Config(home=home, grpc=address, http="127.0.0.1:0")
        findings = doctor.examine(config, clock=lambda: 5.0)
        bad = {one.subject.partition(" ")[0] for one in findings if one.mark == "MEND"}
    assert bad == {"keys", "store", "hot", "grpc", "clock"}
