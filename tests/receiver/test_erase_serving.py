"""Erasing on a store that a receiver holds: it does it itself, or the next one does."""

import subprocess
import sys
from pathlib import Path

import pytest
from intentproof_receiver.key_commands import create_key

from tests.receiver.serving import COMMAND, served, until
from tests.receiver.support import request_bytes, span_message

KILLED = """
import os, signal
from intentproof_store import fulfilment
fulfilment.Fulfilment._find = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def key(tmp_path: Path) -> str:
    return create_key(tmp_path / "home", tenant="acme")[1]


def command(folder: Path, *argv: str) -> "subprocess.Popen[str]":
    places = ["--store", str(folder / "store"), "--home", str(folder / "home")]
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *argv, *places],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder: Path, *argv: str) -> tuple[int, str]:
    """A command's exit code, and all that it said."""
    out, err = (running := command(folder, *argv)).communicate(timeout=120)
    return running.returncode, out + err


SURE = ("--reason", "request 17", "--yes")


def test_the_receiver_erases_and_goes_on(tmp_path: Path, key: str) -> None:
    """It takes spans before, meanwhile and after; a resend is a duplicate; and all verifies."""
    body = request_bytes(span_message())
    with served(tmp_path) as running:
        assert running.post(body, key) == 200
        assert run(tmp_path, *erase_all(tmp_path))[0] == 0
        assert running.post(body, key) == 200
        assert running.metric("intentproof_events_total", result="duplicate") == 1
        assert running.post(request_bytes(span_message(2)), key) == 200
        assert running.stop() == 0
    code, said = run(tmp_path, "verify")
    assert (code, "erased, as the log says: 1 payload" in said) == (0, True), said


def erase_all(folder: Path) -> tuple[str, ...]:
    """The command that erases the only event there is."""
    code, said = run(folder, "sql", "SELECT event_id FROM events", "--format", "csv")
    assert code == 0, said
    return ("erase", "--tenant", "acme", "--event", said.splitlines()[1], *SURE)


def test_a_receiver_killed_behind_its_claim_is_finished_by_the_next(
    tmp_path: Path, key: str
) -> None:
    """The command waits, and the receiver that is started instead does what is left."""
    with served(tmp_path, prelude=KILLED) as running:
        assert running.post(request_bytes(span_message()), key) == 200
        waiting = command(tmp_path, *erase_all(tmp_path))
        running.popen.wait(60)
    with served(tmp_path) as again:
        said = waiting.communicate(timeout=120)
        assert waiting.returncode == 0, said
        until(lambda: not list((tmp_path / "home" / "requests").iterdir()), what="an end")
        assert again.stop() == 0
    code, words = run(tmp_path, "verify")
    assert (code, "erased, as the log says: 1 payload" in words) == (0, True), words


def test_a_command_that_gives_up_waiting_says_that_the_request_stands(
    tmp_path: Path, key: str
) -> None:
    """Exit code 1, and the request is there for whoever opens the store next."""
    with served(tmp_path) as running:
        assert running.post(request_bytes(span_message()), key) == 200
        code, said = run(tmp_path, *erase_all(tmp_path), "--wait", "0")
        assert (code, "stands, and will be done" in said) == (1, True)
        until(lambda: not list((tmp_path / "home" / "requests").glob("*.request")), what="an end")
        assert running.stop() == 0
    assert "erased, as the log says: 1 payload" in run(tmp_path, "verify")[1]
