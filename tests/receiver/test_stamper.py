"""Time stamps of a receiver that runs: asked of a real authority, again and again until it gives.

What the stamps are worth is shown in tests/store/test_stamps.py.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from intentproof_receiver.checkup import Finding, stamp_findings
from intentproof_receiver.cli import main
from intentproof_receiver.config import Config, load
from intentproof_receiver.errors import ConfigInvalid, TsaFailed
from intentproof_receiver.key_commands import create_key
from intentproof_receiver.stamper import Stamper, authorities_of, make_stamper
from intentproof_receiver.tsa import Tsa
from intentproof_store import Checkpoint, Kept, StampInvalid, Unstamped, last_stamp
from prometheus_client import CollectorRegistry, generate_latest

from tests.receiver.serving import Served, served, until
from tests.receiver.support import request_bytes, span_message
from tests.tsa import Authority, Listening, authority, listening, needs_openssl

GONE = "http://127.0.0.1:9/tsa"  # the port of `discard`, where nothing listens


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tsa") / "ec")


@contextmanager
def receiving(folder: Path, tsa: Authority, url: str, **more: str) -> Iterator[Served]:
    """A receiver that has each new checkpoint stamped within about a second."""
    settings = {"tsa_url": url, "tsa_roots": str(tsa.roots), "tsa_seconds": "1"}
    settings |= {"checkpoint_seconds": "1"} | more
    environ = {f"INTENTPROOF_{name.upper()}": value for name, value in settings.items()}
    with served(folder, environ=environ) as running:
        yield running


def send(running: Served, key: str, number: int) -> None:
    body = request_bytes(span_message(intent="Pay", span_id=number.to_bytes(8, "big")))
    assert running.post(body, key) == 200


def _asked_again(authority: Listening, before: int) -> bool:
    return len(authority.asked) > before


def verify(folder: Path, roots: Path) -> int:
    places = ["--store", str(folder / "store"), "--home", str(folder / "home")]
    return main(["verify", *places, "--tsa", str(roots)])


@needs_openssl
def test_a_receiver_stamps_what_it_keeps(
    tmp_path: Path, tsa: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a URL, what is new gets its stamp, and `verify` and `/metrics` tell of it."""
    key = create_key(tmp_path / "home", tenant="acme")[1]
    with listening(tsa.answer) as authority, receiving(tmp_path, tsa, authority.url) as running:
        send(running, key, 1)
        running.logged("stamped")
        until(lambda: running.metric("intentproof_stamps_total", result="kept") >= 1, what="stamp")
        assert authority.headers[0]["content-type"] == "application/timestamp-query"
        first = last_stamp(tmp_path / "home").seconds
        assert abs(first - time.time()) < 30
        assert running.metric("intentproof_last_stamp_timestamp_seconds") >= first
        assert abs(running.metric("intentproof_stamp_clock_ahead_seconds")) < 30
        assert running.stop() == 0
    assert verify(tmp_path, tsa.roots) == 0
    assert "time stamps hold" in capsys.readouterr().out


@needs_openssl
def test_an_authority_that_is_down_for_a_while(tmp_path: Path, tsa: Authority) -> None:
    """While nothing answers, events are taken as ever; when it is back, they get their stamp."""
    key = create_key(tmp_path / "home", tenant="acme")[1]
    with listening(None) as authority, receiving(tmp_path, tsa, authority.url) as running:
        for number in range(1, 4):
            send(running, key, number)
            until(partial(_asked_again, authority, len(authority.asked)), what="another try")
        assert "503" in running.logged("not_stamped")["reason"]
        assert last_stamp(tmp_path / "home").seconds == 0
        assert running.call("/ready")[0] == 200
        authority.answer = tsa.answer
        running.logged("stamped")
        assert running.metric("intentproof_stamps_total", result="failed") >= 3
        assert running.stop() == 0
    assert verify(tmp_path, tsa.roots) == 0


@needs_openssl
@pytest.mark.parametrize("what", ["another authority", "no answer to this", "words"])
def test_a_wrong_answer_is_not_kept(tmp_path: Path, tsa: Authority, what: str) -> None:
    """What comes from another authority, of another request, or is no token, is told, not kept."""
    key = create_key(tmp_path / "home", tenant="acme")[1]
    other = authority(tmp_path / "other", name="Other")
    seen: list[bytes] = []

    def replayed(query: bytes) -> bytes:
        seen.append(query)
        return tsa.answer(seen[0]) if len(seen) > 1 else b""

    answer: Callable[[bytes], bytes] = {
        "another authority": other.answer,
        "no answer to this": replayed,
        "words": lambda _: b"<html>It works!</html>",
    }[what]
    with listening(answer) as state, receiving(tmp_path, tsa, state.url) as running:
        send(running, key, 1)
        until(lambda: len(state.asked) >= 3, what="three tries")
        told = [line for line in running.lines if line["event"] == "not_stamped"]
        assert all("Stamp" in line["reason"] for line in told)
        assert not [line for line in running.lines if line["event"] == "stamped"]
    assert not list((tmp_path / "store").rglob("anchor.*"))


def test_a_stop_does_not_wait_for_an_authority(tmp_path: Path) -> None:
    """An authority that takes the request and says nothing keeps no receiver from ending."""
    key = create_key(tmp_path / "home", tenant="acme")[1]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        environ = {"INTENTPROOF_TSA_URL": url, "INTENTPROOF_TSA_SECONDS": "1"}
        with served(tmp_path, environ=environ) as running:
            send(running, key, 1)
            caller, _ = silent.accept()
            with caller:
                began = time.monotonic()
                send(running, key, 2)
                assert running.stop() == 0
                assert time.monotonic() - began < 20  # it would wait for 30 seconds
    places = ["--store", str(tmp_path / "store"), "--home", str(tmp_path / "home")]
    assert main(["verify", *places]) == 0


# Asking


def test_credentials(tmp_path: Path) -> None:
    """The header is what the file says at that moment; without the file nothing is asked."""
    file = tmp_path / "authorization"
    file.write_text("Basic dGVzdDp0ZXN0\n")
    with listening(lambda query: query[::-1]) as state:
        tsa = Tsa(state.url, authorization=file)
        assert tsa.ask(b"abc") == b"cba"
        assert state.headers[0]["authorization"] == "Basic dGVzdDp0ZXN0"
        file.write_text("Bearer x")
        tsa.ask(b"abc")
        assert state.headers[1]["authorization"] == "Bearer x"
        file.unlink()
        with pytest.raises(TsaFailed, match="tsa_authorization"):
            tsa.ask(b"abc")
        assert len(state.asked) == 2


def test_no_answer() -> None:
    """Nobody there, an error, and an answer without end are one kind of failure, in words."""
    with pytest.raises(TsaFailed, match="refused"):
        Tsa(GONE).ask(b"q")
    with listening(None) as state, pytest.raises(TsaFailed, match="answers 503"):
        Tsa(state.url).ask(b"q")
    with (
        listening(lambda _: bytes((1 << 20) + 1)) as state,
        pytest.raises(TsaFailed, match="over 1048576 bytes"),
    ):
        Tsa(state.url).ask(b"q")


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\n\r\n", "answers 302"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "IncompleteRead|timed out"),
        (b"nonsense\r\n\r\n", "nonsense"),
        (b"", "timed out"),
    ],
)
def test_odd_answers(head: bytes, message: str) -> None:
    """A redirect is not followed, half an answer is none, and nobody is waited for without end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def answer() -> None:
            caller, _ = server.accept()
            with caller:
                caller.recv(65_536)
                caller.sendall(head)
                done.wait(30)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(TsaFailed, match=message):
            Tsa(f"http://127.0.0.1:{server.getsockname()[1]}/", timeout_s=0.5).ask(b"q")
        done.set()
        thread.join(30)


# The thread, whose clock and steps are ours


class Steps:
    """In the place of the store: hands out what waits, and keeps what it is told to."""

    def __init__(self) -> None:
        self.waits = True
        self.faults: list[Exception] = []

    def unstamped(self) -> Any:
        if self.faults:
            raise self.faults.pop()
        return _Wanted if self.waits else None

    def keep(self, _: Unstamped, token: bytes, *, between: Callable[[], object]) -> Kept:
        between()
        if token != b"good":
            raise StampInvalid("no")
        return Kept(1_000_010, 3)


class _Wanted:
    logs = tuple(
        (Checkpoint(f"log.example/acme/{writer}", size, bytes(32)), None)
        for writer, size in (("w-00000000", 3), ("w-11111111", 9))  # the first has ended
    )

    class request:  # noqa: N801 - as the field is named
        query = b"query"


class _Sizes:
    """How large the log was two minutes ago."""

    writer = "w-11111111"

    def __init__(self, size: int) -> None:
        self.size, self.looks = size, 0

    def look(self) -> list[str]:
        self.looks += 1
        return ["acme"]

    def is_recent(self, tenant: str, size: int) -> bool:
        return tenant == "acme" and size >= self.size


def stepping(steps: Steps, *, every_s: float = 3600, token: bytes = b"good") -> Stamper:
    return Stamper(
        steps,  # type: ignore[arg-type]
        lambda query: token if query == b"query" else b"",
        every_s=every_s,
        clock=lambda: 1_000_000.0,
    )


def test_turns() -> None:
    """A stamp an hour; where nothing is new, a look each minute, so that what comes is stamped."""
    steps = Steps()
    stamper = stepping(steps)
    assert stamper._turn() == 3600
    steps.waits = False
    assert stamper._turn() == 60
    registry = CollectorRegistry()
    registry.register(stamper)
    page = generate_latest(registry).decode()
    assert 'intentproof_stamps_total{result="kept"} 1.0' in page
    assert "intentproof_last_stamp_timestamp_seconds 1.00001e+06" in page
    assert "intentproof_stamp_clock_ahead_seconds 10.0" in page


def test_what_lags_is_not_stamped() -> None:
    """While older leaves have no checkpoint, no old one is stamped as if it were new."""
    stamper = stepping(Steps())
    stamper._sizes = sizes = _Sizes(10)  # type: ignore[assignment]
    assert stamper._turn() == 5
    sizes.size = 9
    assert stamper._turn() == 3600
    assert sizes.looks == 2


def test_tries_come_later_each_time() -> None:
    """Failures are tried again after 5 seconds, then twice as long, up to 5 minutes; then anew."""
    steps = Steps()
    stamper = stepping(steps, token=b"bad")
    waits = [stamper._turn() for _ in range(9)]
    for wait, wanted in zip(waits, (5, 10, 20, 40, 80, 160, 300, 300, 300), strict=True):
        assert 0.8 * wanted <= wait <= 1.2 * wanted
    steps.faults = [RuntimeError("a bug"), OSError(28, "No space left on device")]
    assert stamper._turn() > 200
    assert stamper._turn() > 200
    stamper._ask = lambda _: b"good"
    assert stamper._turn() == 3600
    stamper._ask = lambda _: b"bad"
    assert stamper._turn() < 7


def test_a_restart_asks_no_sooner() -> None:
    """A receiver that is started again and again has no more stamps made than one that runs."""
    waited: list[float] = []

    class Stopped(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout or 0.0)
            return True

    for last_s in (0, 999_000, 999_999, 1_999_999):
        stamper = stepping(Steps())
        stamper._last_s = last_s
        stamper._stop = Stopped()
        stamper._run()
    assert waited == [5.0, 2600.0, 3599.0, 3600]


# Settings and doctor


def loaded(**settings: str) -> Config:
    environ = {f"INTENTPROOF_{name.upper()}": value for name, value in settings.items()}
    return load(environ=environ, flags={})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tsa_url": "tsa.example/x"}, "tsa_url .*: must be http"),
        ({"tsa_url": "ftp://tsa.example"}, "tsa_url .*: must be http"),
        ({"tsa_url": "https://"}, "tsa_url .*: must be http"),
        ({"tsa_url": "https://[x"}, "tsa_url .*: must be http"),
        ({"tsa_url": "https://h:99999"}, "tsa_url .*: must be http"),
        ({"tsa_url": "https://h/\x07"}, "tsa_url .*: must be http"),
        ({"tsa_url": "https://me:secret@h"}, "tsa_url .*: must have no password"),
        ({"tsa_roots": "r.pem"}, "tsa_roots .*: needs tsa_url"),
        ({"tsa_authorization": "a"}, "tsa_authorization .*: needs tsa_url"),
        ({"tsa_url": "http://h", "tsa_authorization": "a"}, "tsa_url .*: must be https"),
        ({"tsa_url": "http://h", "tsa_seconds": "0"}, "tsa_seconds .*: must be from"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, str], message: str) -> None:
    """A setting that cannot work, or would tell a secret, is named."""
    with pytest.raises(ConfigInvalid, match=message) as caught:
        loaded(**settings)
    assert "secret" not in str(caught.value)


def test_settings_that_are_taken(tmp_path: Path) -> None:
    """A URL alone turns stamps on; without one there are none."""
    assert make_stamper(loaded()) is None
    assert make_stamper(loaded(tsa_url="https://tsa.example/tsr", home=str(tmp_path))) is not None
    assert loaded(tsa_url="http://[::1]:80/", tsa_authorization="a").tsa_authorization == Path("a")
    config = loaded(tsa_url="https://h", tsa_roots=str(tmp_path / "none.pem"))
    with pytest.raises(ConfigInvalid, match=r"tsa_roots .*none\.pem: .*No such file"):
        make_stamper(config)


def test_roots_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`serve` does not start with roots that hold no certificate: each stamp would be refused."""
    (tmp_path / "r.pem").write_text("nothing")
    config = tmp_path / "c.yaml"
    config.write_text(f"tsa_url: https://h\ntsa_roots: {tmp_path / 'r.pem'}\n")
    places = ["--store", str(tmp_path / "s"), "--home", str(tmp_path / "h")]
    assert main(["serve", "--config", str(config), *places]) == 6
    assert "no certificates in PEM form" in capsys.readouterr().err


def findings(config: Config, now: float = 1e6) -> list[Finding]:
    return list(stamp_findings(config, now))


def test_the_doctor(tmp_path: Path, tsa: Authority) -> None:
    """It says whether stamps are on, whom they are trusted of, and of when the last one is."""
    assert findings(loaded()) == [Finding("time stamps", "off: tsa_url is not set")]
    home = str(tmp_path)
    found = findings(loaded(tsa_url="https://h", home=home))
    assert [one.mark for one in found] == ["NOTE", "ok"]
    assert "tsa_roots" in found[0].mend
    config = loaded(tsa_url="https://h", home=home, tsa_roots=str(tsa.roots))
    assert authorities_of(config) is not None
    (none,) = findings(config)
    assert (none.mark, none.state) == ("ok", "none yet")
    (tmp_path / "last-stamp").write_text('{"seconds": 990000, "sizes": {}}')
    (recent,) = findings(config)
    assert (recent.mark, recent.state) == ("ok", "the last one is of 1970-01-12T11:00Z")
    (late,) = findings(config, now=1_100_000.0)
    assert (late.mark, "not_stamped" in late.mend) == ("NOTE", True)
    expiring = findings(config, now=time.time() + 390 * 86_400)
    assert "expires on" in expiring[0].state
    (tmp_path / "last-stamp").write_text("x")
    (damaged,) = findings(config)
    assert damaged.mark == "MEND"
    (tmp_path / "last-stamp").unlink()
    (missing,) = findings(loaded(tsa_url="https://h", home=home, tsa_roots="none.pem"))
    assert (missing.mark, "none.pem" in missing.mend) == ("MEND", True)
