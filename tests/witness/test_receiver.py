"""A real receiver before real witnesses: what it sends, keeps and tells, and when it stays out."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from intentproof_receiver.cosigning import Sizes, _Log, _Sender
from intentproof_receiver.errors import ConfigInvalid
from intentproof_receiver.key_commands import create_key
from intentproof_receiver.witness_settings import WitnessSetting, read_witnesses
from intentproof_store import WitnessedLog, WitnessKey
from intentproof_store.checkpoints import checkpoint_sizes
from intentproof_store.cosignature import cosign
from intentproof_store.cosigned import cosignature_files, cosigned_note
from intentproof_store.identity import load_identity
from intentproof_store.layout import Layout
from intentproof_store.note import parse_note
from intentproof_store.policy import judge_checkpoint, parse_policy

from tests.receiver.serving import COMMAND, Served, served, until
from tests.receiver.support import request_bytes, span_message
from tests.store.support import TENANT, Place, append, event
from tests.witness.support import LOG_KEY, NAME, Witness, command, witness

OFTEN = {"INTENTPROOF_CHECKPOINT_SECONDS": "1"}


@dataclass
class Site:
    """A receiver's folders, its tenants, and the file of keys that its witnesses read."""

    root: Path

    def __post_init__(self) -> None:
        (self.root / "home").mkdir(parents=True)
        self.keys = {tenant: create_key(self.root / "home", tenant=tenant)[1] for tenant in TENANTS}
        self.vkeys = self.root / "logs.vkeys"
        identity = load_identity(self.root / "home", "intentproof.local")
        self.writer = identity.writer
        self.own = [identity.verifier_key(tenant) for tenant in TENANTS]
        self.vkeys.write_text("".join(f"{key.vkey()}\n" for key in self.own))

    def folder(self, tenant: str = "acme") -> Path:
        return Layout(self.root / "store").log(tenant, self.writer)

    def witness(self, number: int = 1, **more: Any) -> Any:
        name = f"witness.example/{number}"
        return witness(self.root / f"witness{number}", [self.vkeys], name=name, **more)

    @contextmanager
    def receiver(
        self, *witnesses: Witness, environ: dict[str, str] | None = None
    ) -> Iterator[Served]:
        listed = [{"url": one.url, "vkey": one.key.vkey()} for one in witnesses]
        given = OFTEN | {"INTENTPROOF_WITNESSES": json.dumps(listed)} | (environ or {})
        with served(self.root, environ=given) as running:
            yield running

    def send(self, running: Served, *numbers: int, tenant: str = "acme") -> None:
        body = request_bytes(*(span_message(number) for number in numbers))
        assert running.post(body, self.keys[tenant]) == 200

    def cosigned(self, tenant: str = "acme") -> dict[int, list[Path]]:
        return cosignature_files(self.folder(tenant))

    def newest(self, tenant: str = "acme") -> int:
        return max(checkpoint_sizes(self.folder(tenant)))

    def until_cosigned(self, tenant: str = "acme", by: int = 1) -> None:
        """Wait for cosignatures of the newest checkpoint."""
        until(
            lambda: len(self.cosigned(tenant).get(self.newest(tenant), ())) == by,
            what=f"{by} cosignatures",
        )

    def until_newer(self, size: int) -> None:
        """Wait for a checkpoint over more leaves."""
        until(lambda: self.newest() > size, what=f"a checkpoint over more than {size}")

    def policy(self, *witnesses: Witness, rule: str = "all", tenant: str = "acme") -> Path:
        own = next(key for key in self.own if f"/{tenant}/" in key.name)
        lines = [f"log {own.vkey()}"]
        lines += [f"witness {one.key.name} {one.key.vkey()}" for one in witnesses]
        names = " ".join(one.key.name for one in witnesses)
        path = self.root / "policy"
        path.write_text("\n".join([*lines, f"group g {rule} {names}", "quorum g", ""]))
        return path

    def verify(self, policy: Path, *more: str) -> tuple[int, Any]:
        store = str(self.root / "store")
        home = ("--home", str(self.root / "nobody"))
        done = command("verify", store, "--policy", str(policy), "--json", *home, *more)
        return done.returncode, json.loads(done.stdout)


TENANTS = ("acme", "beta")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def serve_once(site: Site, *witnesses: Witness, more: tuple[str, ...] = ()) -> Any:
    """A start that is expected to be refused."""
    listed = [{"url": one.url, "vkey": one.key.vkey()} for one in witnesses]
    return subprocess.run(
        [
            *(sys.executable, "-c", COMMAND, "serve", "--grpc", "127.0.0.1:0"),
            *("--http", "127.0.0.1:0", "--store", str(site.root / "store")),
            *("--home", str(site.root / "home"), *more),
        ],
        env={"PATH": "/usr/bin", "INTENTPROOF_WITNESSES": json.dumps(listed)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_checkpoints_are_cosigned_and_kept(site: Site) -> None:
    """Each log's newest checkpoint gets the cosignature of each witness, as a file that holds."""
    with site.witness(1) as first, site.witness(2) as second:
        with site.receiver(first, second) as running:
            for tenant in TENANTS:
                site.send(running, 1, 2, 3, tenant=tenant)
            for tenant in TENANTS:
                site.until_cosigned(tenant, by=2)
            assert running.metric("intentproof_witness_cosignatures_total", witness=NAME) >= 2
            until(
                lambda: running.metric("intentproof_witness_waiting_logs") == 0,
                what="no log that waits",
            )
            assert running.stop() == 0
        policy = parse_policy(site.policy(first, second).read_bytes())
        note = cosigned_note(site.folder(), site.newest())
        assert judge_checkpoint(note, policy).is_met
        key_ids = {path.suffix[1:] for path in site.cosigned()[site.newest()]}
        assert key_ids == {one.key.key_id.hex() for one in (first, second)}
        parts = [site.folder() / f"checkpoint.{site.newest()}", *site.cosigned()[site.newest()]]
        assert b"".join(path.read_bytes() for path in parts) == note


def test_the_last_checkpoint_is_cosigned_at_the_end(site: Site) -> None:
    """What `serve` seals and signs on its way out is cosigned before it ends."""
    with site.witness() as one:
        with site.receiver(one, environ={"INTENTPROOF_CHECKPOINT_SECONDS": "3600"}) as running:
            site.send(running, 1)
            until(lambda: 1 in site.cosigned(), what="the genesis")
            site.send(running, 2, 3, 4)
            assert running.stop() == 0
        assert site.newest() > 1
        assert site.newest() in site.cosigned()


def test_a_witness_that_comes_late_gets_the_newest_only(site: Site) -> None:
    """While it is away, everything is taken; when it is back, one submission is enough."""
    with site.witness() as one:
        address = one.address
        key = one.key
        with site.receiver(one) as running:
            site.send(running, 1)
            until(lambda: 1 in site.cosigned(), what="the genesis")
            one.popen.kill()
            one.popen.wait(30)
            for number in range(2, 6):
                size = site.newest()
                site.send(running, number)
                site.until_newer(size)
            until(
                lambda: (
                    running.metric("intentproof_witness_failures_total", reason="unreachable") > 0
                ),
                what="a failure that is told",
            )
            with site.witness(http=address) as back:
                assert back.key == key
                until(lambda: site.newest() in site.cosigned(), what="the newest cosigned")
            skipped = [
                size for size in checkpoint_sizes(site.folder()) if size not in site.cosigned()
            ]
            assert len(skipped) >= 2


def test_a_slow_witness_slows_nobody(site: Site) -> None:
    """A witness that never answers keeps neither events nor the other witness waiting."""
    with site.witness() as one, listener(_Silent) as url:
        key = WitnessKey("silent.example", LOG_KEY.public_key().public_bytes_raw())
        listed = [{"url": url, "vkey": key.vkey()}, {"url": one.url, "vkey": one.key.vkey()}]
        with served(
            site.root, environ=OFTEN | {"INTENTPROOF_WITNESSES": json.dumps(listed)}
        ) as running:
            for number in range(20):
                began = time.monotonic()
                site.send(running, number)
                assert time.monotonic() - began < 5
            until(lambda: site.newest() in site.cosigned(), what="the other's cosignature")


class _Silent(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        time.sleep(30)

    def log_message(self, *_: Any) -> None:
        return


class _Liar(BaseHTTPRequestHandler):
    """Answers 200 with cosignatures that are not the witness's, or not of this checkpoint."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        text = parse_note(body.partition(b"\n\n")[2]).text
        line = cosign(text.replace("acme", "beta"), name="liar.example", key=LOG_KEY, time_s=1)
        self.send_response(200)
        self.send_header("content-length", str(len(line)))
        self.end_headers()
        self.wfile.write(line)

    def log_message(self, *_: Any) -> None:
        return


@contextmanager
def listener(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(20)


def test_a_cosignature_that_does_not_hold_is_not_kept(site: Site) -> None:
    """What a witness answers is verified before it is kept, and counted if it does not hold."""
    with listener(_Liar) as url:
        key = WitnessKey("liar.example", LOG_KEY.public_key().public_bytes_raw())
        listed = json.dumps([{"url": url, "vkey": key.vkey()}])
        with served(site.root, environ=OFTEN | {"INTENTPROOF_WITNESSES": listed}) as running:
            site.send(running, 1)
            until(
                lambda: running.metric("intentproof_witness_failures_total", reason="invalid") > 0,
                what="an invalid answer",
            )
        assert site.cosigned() == {}


def test_an_unknown_log_is_told_and_tried_again(site: Site) -> None:
    """404 is counted, the doctor says what to do, and with the key there it heals by itself."""
    known = site.vkeys.read_text()
    site.vkeys.write_text(known.splitlines(keepends=True)[1])
    with site.witness() as one, site.receiver(one) as running:
        site.send(running, 1)
        until(
            lambda: running.metric("intentproof_witness_failures_total", reason="unknown_log") > 0,
            what="an unknown log",
        )
        assert "log key" in doctor(site, one, running)
        site.vkeys.write_text(known)
        until(lambda: site.newest() in site.cosigned(), what="a cosignature")
        until(
            lambda: (
                f"ok    witness {NAME} {one.url}: cosigned last at" in doctor(site, one, running)
            ),
            what="a doctor without complaints",
        )


def doctor(site: Site, one: Witness, running: Served) -> str:
    """What `doctor` prints, beside a receiver that runs."""
    config = site.root / "config.yaml"
    listed = json.dumps([{"url": one.url, "vkey": one.key.vkey()}])
    config.write_text(f"witnesses: {listed}\nhttp: {running.http}\ngrpc: {running.grpc}\n")
    places = ("--store", str(site.root / "store"), "--home", str(site.root / "home"))
    return command("doctor", "--config", str(config), *places).stdout


def test_a_restored_store_is_not_served(site: Site) -> None:
    """Store and home of before the last cosignature: exit 8, in words; a new writer may."""
    with site.witness() as one:
        with site.receiver(one) as running:
            site.send(running, 1)
            until(lambda: site.newest() in site.cosigned(), what="a cosignature")
            assert running.stop() == 0
        shutil.copytree(site.root / "store", site.root / "backup" / "store")
        shutil.copytree(site.root / "home", site.root / "backup" / "home")
        with site.receiver(one) as running:
            site.send(running, 2, 3, 4)
            assert running.stop() == 0
        assert site.newest() in site.cosigned()
        for name in ("store", "home"):
            shutil.rmtree(site.root / name)
            shutil.copytree(site.root / "backup" / name, site.root / name)
        done = serve_once(site, one)
        assert done.returncode == 8, done.stderr
        assert "restored" in done.stderr
        assert "--new-writer" in done.stderr
        with served(
            site.root,
            "--new-writer",
            environ={
                "INTENTPROOF_WITNESSES": json.dumps([{"url": one.url, "vkey": one.key.vkey()}])
            },
        ) as running:
            site.send(running, 5)


def test_a_restored_store_that_went_on_is_not_served(site: Site) -> None:
    """Grown beyond what the witness saw, but with other leaves: refused, and told while it runs."""
    with site.witness() as one:
        with site.receiver(one) as running:
            site.send(running, 1)
            assert running.stop() == 0
        shutil.copytree(site.root / "store", site.root / "backup" / "store")
        shutil.copytree(site.root / "home", site.root / "backup" / "home")
        with site.receiver(one) as running:
            site.send(running, 2)
            assert running.stop() == 0
        for name in ("store", "home"):
            shutil.rmtree(site.root / name)
            shutil.copytree(site.root / "backup" / name, site.root / name)
        with served(site.root) as running:  # behind the witness's back
            site.send(running, *range(10, 30))
            assert running.stop() == 0
        done = serve_once(site, one)
        assert done.returncode == 8, done.stderr
        assert "never signed" in done.stderr or "another history" in done.stderr


def test_a_running_receiver_tells_of_a_restored_store(site: Site) -> None:
    """A witness that could not be asked at the start is believed as soon as it is back."""
    with site.witness() as one:
        address = one.address
        with site.receiver(one) as running:
            site.send(running, *range(1, 9))
            until(lambda: site.newest() > 5, what="a checkpoint")
            assert running.stop() == 0
        with site.receiver(one) as running:
            one.popen.kill()
            one.popen.wait(30)
        listed = json.dumps([{"url": f"http://{address}", "vkey": one.key.vkey()}])
    shutil.rmtree(site.root / "store")
    (site.root / "home" / "last-checkpoint").unlink()
    with served(site.root, environ=OFTEN | {"INTENTPROOF_WITNESSES": listed}) as running:
        site.send(running, 1)
        with site.witness(http=address):
            line = running.logged("store_restored_or_forked")
            assert line["level"] == "error"
            assert running.metric("intentproof_witness_disagreeing_logs") == 1
            assert site.cosigned() == {}


def test_a_witness_that_is_away_keeps_nobody_from_starting(site: Site) -> None:
    """Events must be kept: an unreachable witness is a warning at the start."""
    with site.witness() as one:
        with site.receiver(one) as running:
            site.send(running, 1)
            assert running.stop() == 0
        one.popen.kill()
        one.popen.wait(30)
        with site.receiver(one) as running:
            assert running.logged("witness_not_asked")["witness"] == NAME
            site.send(running, 2)


def test_two_receivers_share_a_witness(tmp_path: Path) -> None:
    """One witness keeps the logs of many receivers apart."""
    sites = [Site(tmp_path / "one"), Site(tmp_path / "two")]
    known = [site.vkeys for site in sites]
    with witness(tmp_path / "witness", known) as one:
        for site in sites:
            with site.receiver(one) as running:
                site.send(running, 1)
                assert running.stop() == 0
            assert site.newest() in site.cosigned()


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("1", "list"),
        ("{", "YAML"),
        ("[1]", "witnesses[0]"),
        ('[{"url": "http://x"}]', "witnesses[0]"),
        ('[{"url": "http://x", "vkey": "a"}]', "witnesses[0].vkey"),
        ('[{"url": 1, "vkey": "a"}]', "witnesses[0].url"),
        ('[{"url": "ftp://x", "vkey": "VKEY"}]', "witnesses[0].url"),
        ('[{"url": "http://", "vkey": "VKEY"}]', "witnesses[0].url"),
        ('[{"url": "http://x:y", "vkey": "VKEY"}]', "witnesses[0].url"),
        ('[{"url": "http://x?a=b", "vkey": "VKEY"}]', "witnesses[0].url"),
        ('[{"url": "http://u:p@x", "vkey": "VKEY"}]', "witnesses[0].url"),
        ('[{"url": "http://x", "vkey": "VKEY"}, {"url": "http://y", "vkey": "VKEY"}]', "above"),
    ],
)
def test_witnesses_are_configured_soundly(value: str, named: str) -> None:
    """A setting that cannot work is refused, with the member's name."""
    key = WitnessKey(NAME, LOG_KEY.public_key().public_bytes_raw()).vkey()
    with pytest.raises(ConfigInvalid, match=re.escape(named)):
        read_witnesses(value.replace("VKEY", key), "in the test")


def test_a_witness_that_cannot_be_used_ends_the_start(site: Site) -> None:
    """Exit 6, and the environment is named."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "serve", "--home", str(site.root / "home")],
        env={"PATH": "/usr/bin", "INTENTPROOF_WITNESSES": "[1]"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 6
    assert "witnesses[0] from INTENTPROOF_WITNESSES" in done.stderr


def test_a_checkpoint_that_lags_is_not_sent(tmp_path: Path) -> None:
    """What was replayed may be old, so a checkpoint that leaves it out waits for the next one."""
    place = Place(tmp_path / "here")
    with place.ledger() as ledger:
        append(ledger, [event(1)])
        crashed = place.crash_image()
    asked: list[bytes] = []

    class Recorder(_Liar):
        def do_POST(self) -> None:
            asked.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_error(503)

    with listener(Recorder) as url, crashed.ledger() as ledger:
        key = WitnessKey(NAME, LOG_KEY.public_key().public_bytes_raw())
        store = crashed.layout.root
        sizes, stopping = Sizes(ledger.status), Event()
        sender = _Sender(WitnessSetting(url, key), store, sizes, stopping)
        one = WitnessedLog.of(store, TENANT, sizes.writer)
        sender._look(one, _Log())
        assert (one.newest_size(), asked) == (1, [])
        ledger.close()
        sender._look(one, _Log())
        assert len(asked) == 1
        assert f"\n{one.newest_size()}\n".encode() in asked[0]
