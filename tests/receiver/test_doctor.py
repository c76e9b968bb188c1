"""The doctor: what it looks at, and that it says what to mend."""

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from intentproof_receiver import doctor
from intentproof_receiver.certificate_commands import map_certificate
from intentproof_receiver.checkup import (
    Finding,
    clock_findings,
    key_findings,
    limit_findings,
    place_findings,
    places,
    port_findings,
    standing_findings,
)
from intentproof_receiver.cli import main
from intentproof_receiver.config import Config
from intentproof_receiver.key_commands import create_key
from intentproof_store import Ledger, LedgerSettings, Undecodable

ON_DISK = "36 35 98:0 / / rw,noatime - ext4 /dev/root rw\n"


@pytest.fixture(autouse=True)
def _on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if everything were on one disk, wherever the tests run."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(ON_DISK)
    monkeypatch.setattr(places, "MOUNTS", mounts)


@pytest.fixture
def argv(tmp_path: Path, home: Path) -> list[str]:
    """A command line whose ports are free."""
    config = tmp_path / "c.yaml"
    config.write_text("grpc: 127.0.0.1:0\nhttp: 127.0.0.1:0\n")
    folders = ["--home", str(home), "--store", str(tmp_path / "s")]
    return ["doctor", "--config", str(config), *folders]


def marks(findings: "Iterator[Finding]", word: str) -> list[str]:
    """The marks of the findings that say `word` anywhere."""
    return [one.mark for one in findings if any(word in text for text in one[:3])]


def of_places(tmp_path: Path, home: Path, **more: Path) -> Iterator[Finding]:
    store = tmp_path / "s"
    chosen = {"store": store, "hot": store / "hot", "home": home} | more
    return place_findings(chosen["store"], chosen["hot"], chosen["home"], time.time())


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


def test_certificates_instead_of_keys(home: Path) -> None:
    """Where a mapped client certificate may send, no key is needed."""
    mapped = map_certificate(home, identity="CN:x", tenant="acme")
    config = Config(home=home, grpc="127.0.0.1:0", http="127.0.0.1:0", tls_client_ca=home)
    keys = [one for one in doctor.examine(config) if one.subject.startswith("keys")]
    assert [one.mend for one in keys] == [""]
    map_certificate(home, identity=mapped.identity, tenant="acme", roles=["read"])
    keys = [one for one in doctor.examine(config) if one.subject.startswith("keys")]
    assert "keys create" in keys[0].mend


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


def test_json(argv: list[str], home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json there is one document, with a mark for each finding."""
    assert main([*argv, "--json"]) == 6
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert {"mark", "subject", "state", "mend", "urgent"} == set(told["findings"][0])
    assert "mend" in {one["mark"] for one in told["findings"]}
    create_key(home, tenant="acme")
    assert main([*argv, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


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


def test_home_inside_the_store(tmp_path: Path, home: Path) -> None:
    """A --home inside the store would be handed out with it; on the same disk it is advice."""
    inside = tmp_path / "s" / "home"
    assert marks(of_places(tmp_path, inside), "inside the store") == ["MEND"]
    assert marks(of_places(tmp_path, home), "same disk") == ["NOTE"]


@pytest.mark.parametrize(
    ("kind", "name", "found"),
    [
        ("tmpfs", "hot", ["MEND"]),
        ("tmpfs", "s", ["MEND", "MEND"]),  # and the hot folder in it
        ("overlay", "home", ["MEND"]),
        ("nfs4", "hot", ["MEND"]),
        ("nfs4", "home", []),
        ("xfs", "hot", []),
    ],
)
def test_file_systems(tmp_path: Path, home: Path, kind: str, name: str, found: list[str]) -> None:
    """Evidence in memory, and a hot folder on the network, are found by their mounts."""
    folder = tmp_path / name
    line = f"40 36 0:30 / {folder} rw - {kind} x rw\n"
    places.MOUNTS.write_text(ON_DISK + line)
    findings = list(of_places(tmp_path, home, hot=tmp_path / "s" / "hot"))
    if name == "hot":
        findings = list(of_places(tmp_path, home, hot=folder))
    assert marks(iter(findings), f"on {kind},") == found


def test_a_folder_that_cannot_be_written(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder where this user may not write is found, also below one that is not there yet."""
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path.resolve())
    assert marks(of_places(tmp_path, home), "may not write") == ["MEND", "MEND", "MEND"]


def test_days_until_full(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From what was sealed lately it follows how long the disk lasts."""
    day = time.strftime("%Y-%m-%d", time.gmtime())
    folder = tmp_path / "s" / "events" / "tenant=acme" / f"date={day}"
    folder.mkdir(parents=True)
    (folder / "a.parquet").write_bytes(bytes(1 << 20))
    usage: Any = shutil.disk_usage(tmp_path)
    for days, found in ((100, "ok"), (10, "NOTE"), (1, "MEND")):
        free = days * 24 * (1 << 20) + (1 << 20)  # one MiB in what counts as an hour
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        assert marks(of_places(tmp_path, home), "GiB a day") == [found]


def test_leftovers(tmp_path: Path, home: Path) -> None:
    """Files that a crash left unfinished, and frames that were set aside, are told."""
    left = (
        tmp_path / "s" / "unfinished" / "w-1.parquet",
        home / "api-keys.tmp",
        tmp_path / "s" / "log" / "acme" / "w" / ".checkpoint.1.2.tmp",
    )
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert marks(of_places(tmp_path, home), "unfinished") == []  # it may be on its way
    for path in left:
        os.utime(path, (1, 1))
    found = [one for one in of_places(tmp_path, home) if "left unfinished" in one.state]
    assert [(one.mark, one.state[0]) for one in found] == [("NOTE", "3")]
    aside = tmp_path / "s" / "hot" / "w" / "set-aside" / "1.frames"
    aside.parent.mkdir(parents=True)
    aside.touch()
    assert marks(of_places(tmp_path, home), "set aside") == ["NOTE"]


def test_keys_that_expire(home: Path) -> None:
    """A tenant whose last key expires soon, or has, is found; one with a later key is not."""
    now = time.time()
    create_key(home, tenant="soon", expires="5d")
    create_key(home, tenant="later", expires="5d")
    create_key(home, tenant="later", expires="90d")
    create_key(home, tenant="reader", roles=["read"], expires="5d")
    found = [one for one in key_findings(home, now) if one.mark == "MEND"]
    assert ["of soon" in one.subject for one in found] == [True]
    assert "keys revoke" in found[0].mend
    gone = [one for one in key_findings(home, now + 10 * 86_400) if "expired" in one.state]
    assert ["of soon" in one.subject for one in gone] == [True]
    every = [one for one in key_findings(home, now + 100 * 86_400) if one.mark == "MEND"]
    assert [one.state for one in every] == ["no key that may send"]


def test_limits() -> None:
    """A message limit below what Collectors batch is to be mended, below 64 MiB it is advice."""
    for size, mark in ((3_999_999, "MEND"), (4_000_000, "NOTE"), (64 << 20, "ok")):
        config = replace(Config(), message_bytes_max=size)
        assert marks(limit_findings(config), "message_bytes_max") == [mark]
    assert marks(limit_findings(Config(), open_files=1024), "open files") == ["NOTE"]
    assert marks(limit_findings(Config(), open_files=65_536), "open files") == ["ok"]


def test_a_clock_that_was_set_back(tmp_path: Path) -> None:
    """A clock behind the newest event is found, from segments and from hot frames."""
    store, now = tmp_path / "s", time.time()
    settings = LedgerSettings(store=store, home=tmp_path / "h", hot=store / "hot")
    with Ledger.open(settings, clock_ns=lambda: int((now + 3600) * 1e9)) as ledger:
        ledger.append("acme", [], []).result(20)
    assert marks(clock_findings(store, store / "hot", now), "clock") == ["MEND"]
    assert marks(clock_findings(store, store / "hot", now + 3700), "clock") == ["ok"]
    frame = tmp_path / "hot" / "w" / "1.frames"
    frame.parent.mkdir(parents=True)
    frame.touch()
    os.utime(frame, (now + 60, now + 60))
    assert marks(clock_findings(tmp_path, tmp_path / "hot", now), "set back") == ["MEND"]


def test_mutual_tls_hides_who_listens(home: Path) -> None:
    """Where a receiver would ask for a client certificate, a port in use is advice only."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config = Config(home=home, grpc=address, http="127.0.0.1:0", tls_client_ca=home)
        assert marks(port_findings(config, None), "mutual TLS") == ["NOTE"]


class LikeACollector(BaseHTTPRequestHandler):
    """Answers GET /v1/traces as the Collector's OTLP receiver does (v0.159)."""

    def do_GET(self) -> None:
        body = b"405 method not allowed, supported: [POST]"
        self.send_response(405)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_a_collector_on_our_port(home: Path) -> None:
    """A Collector that took the port is named."""
    with HTTPServer(("127.0.0.1", 0), LikeACollector) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            config = Config(home=home, grpc="127.0.0.1:0", http=f"127.0.0.1:{server.server_port}")
            found = list(port_findings(config, None))
        finally:
            server.shutdown()
            thread.join(20)
    assert marks(iter(found), "a Collector listens there") == ["MEND"]


def test_a_writer_that_could_not_go_on(tmp_path: Path, home: Path) -> None:
    """The doctor says before the start what `serve` would refuse with 8."""
    store = tmp_path / "s"
    assert list(standing_findings(store, home, "a")) == []  # there is no writer yet
    settings = LedgerSettings(store=store, home=home, hot=store / "hot", log_name="a")
    with Ledger.open(settings) as ledger:
        ledger.append("acme", [], [Undecodable(b"raw", "bad")]).result(20)
    assert marks(standing_findings(store, home, "a"), "goes on") == ["ok"]
    assert marks(standing_findings(store, home, "b"), "signed as 'a'") == ["MEND"]
    shutil.rmtree(store)
    assert marks(standing_findings(store, home, "a"), "--new-writer") == ["MEND"]
    (home / "last-checkpoint").write_text("{")
    assert marks(standing_findings(store, home, "a"), "cannot be read") == ["MEND"]
