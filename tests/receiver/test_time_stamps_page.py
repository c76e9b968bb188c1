"""docs/time-stamps.md: what it names exists, and what it says works."""

import os
import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
from intentproof_receiver.config import Config
from intentproof_receiver.stamper import make_stamper
from intentproof_store import Ledger, LedgerSettings, Stamping, Unstamped

from tests.receiver.test_readme import shown
from tests.store.support import append, events
from tests.tsa import authority, needs_openssl

PAGE = (Path(__file__).parents[2] / "docs" / "time-stamps.md").read_text(encoding="utf-8")
(BLOCK,) = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)


def test_settings() -> None:
    """Each setting of time stamps has a row with its default, and no other has."""
    rows = dict(re.findall(r"^\| `(tsa_[a-z_]+)` \| ([^|]+?) \|", PAGE, flags=re.M))
    ours = {one.name: shown(one.default) for one in fields(Config) if one.name.startswith("tsa")}
    assert rows == ours


def test_metrics(tmp_path: Path) -> None:
    """Each metric has a row with its type, and no other has."""
    stamper = make_stamper(Config(tsa_url="https://tsa.example", home=tmp_path))
    assert stamper is not None
    found = {
        f"{one.name}_total{{result}}" if one.type == "counter" else one.name: one.type
        for one in stamper.collect()
    }
    rows = dict(re.findall(r"^\| `(intentproof_[a-z_{}]+)` \| (\w+) \|", PAGE, flags=re.M))
    assert rows == found


def test_links() -> None:
    """What the page links to within itself is a heading of it."""
    headings = {
        re.sub(r"[^a-z -]", "", line.lower()).strip().replace(" ", "-")
        for line in re.findall(r"^## (.*)$", PAGE, flags=re.M)
    }
    assert set(re.findall(r"\]\(#([a-z-]+)\)", PAGE)) <= headings


@needs_openssl
@pytest.mark.parametrize("logs", [1, 2, 3, 7])
def test_the_check_without_our_software(tmp_path: Path, logs: int) -> None:
    """The block as it stands accepts the stamp of each log, and refuses one that was touched."""
    tsa = authority(tmp_path / "tsa")
    settings = LedgerSettings(store=tmp_path / "s", home=tmp_path / "h", hot=tmp_path / "hot")
    with Ledger.open(settings) as ledger:
        for number in range(logs):
            append(ledger, events(0, 3), tenant=f"tenant-{number}")
    stamping = Stamping(
        store=settings.store, home=settings.home, log_name=settings.log_name, authorities=None
    )
    wanted = stamping.unstamped()
    assert isinstance(wanted, Unstamped)
    stamping.keep(wanted, tsa.answer(wanted.request.query))
    files = [path for path in settings.store.rglob("anchor.*") if not path.name.endswith(".tsr")]
    assert len(files) == logs
    for path in files:
        done = _check(tmp_path, path, tsa.roots)
        assert done.returncode == 0, done.stderr
        assert "the checkpoint of 4 leaves was stamped" in done.stdout
        assert "Verification: OK" in done.stdout
    path = files[0]
    raw = path.read_bytes()
    at = raw.index(b"extra ") + 10
    path.write_bytes(raw[:at] + (b"A" if raw[at : at + 1] != b"A" else b"B") + raw[at + 1 :])
    assert _check(tmp_path, path, tsa.roots).returncode != 0  # another salt
    path.write_bytes(raw[:-10] + (b"A" if raw[-10:-9] != b"A" else b"B") + raw[-9:])
    assert _check(tmp_path, path, tsa.roots).returncode != 0  # another signature of the anchor


def _check(folder: Path, path: Path, roots: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-c", BLOCK],
        cwd=folder,
        env=os.environ | {"F": str(path), "ROOTS": str(roots)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
