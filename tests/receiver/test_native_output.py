"""What libraries write to stderr on their own, and the gRPC encodings that only this tells of."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from intentproof_receiver.key_commands import create_key

from tests.receiver import raw_grpc
from tests.receiver.serving import Served, served, until

WRITE = """
import os, sys, faulthandler
from intentproof_receiver.logs import configure
from intentproof_receiver.native_output import NativeOutput
{before}
with NativeOutput() as native:
    configure("info")
{inside}
{after}
"""


def run(inside: str, *, before: str = "", after: str = "") -> "subprocess.CompletedProcess[str]":
    """A process that does this within NativeOutput."""
    block = "\n".join(f"    {line}" for line in inside.splitlines())
    return subprocess.run(
        [sys.executable, "-c", WRITE.format(before=before, inside=block, after=after)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_foreign_line_becomes_a_log_line() -> None:
    """What is written to descriptor 2 is logged as JSON, an unfinished last line too."""
    done = run("for n in range(2000): os.write(2, b'line %d\\n' % n)\nos.write(2, b'rest')")
    lines = done.stderr.splitlines()
    assert len(lines) == 2001
    assert all('"event": "native_output"' in line for line in lines)
    assert '"line": "rest"' in lines[-1]


def test_our_own_lines_do_not_pass_through() -> None:
    """Python's stderr and our logs go straight to the real descriptor."""
    done = run("print('from Python', file=sys.stderr)")
    assert done.stderr == "from Python\n"


def test_afterwards_all_is_as_before() -> None:
    """Behind the block descriptor 2 is the real one again."""
    done = run("pass", after="os.write(2, b'plain\\n'); print('too', file=sys.stderr)")
    assert done.stderr == "plain\ntoo\n"


def test_a_full_pipe_holds_nobody_up() -> None:
    """Whoever writes more than the thread can read is refused at once instead of waiting."""
    inside = (
        "native._thread.join(0)\n"
        "sys.setswitchinterval(1000)\n"
        "try:\n"
        "    while True: os.write(2, b'x' * 4000 + b'\\n')\n"
        "except BlockingIOError:\n"
        "    print('went on')"
    )
    # The write may give up the interpreter: a thread that sleeps instead of reading fills the pipe.
    before = "import threading; NativeOutput._read = lambda self: threading.Event().wait(3)"
    done = run(inside, before=before)
    assert done.stdout == "went on\n"


def test_a_crash_leaves_its_stacks() -> None:
    """Faulthandler writes past the pipe, so that a crash still says where."""
    done = run("faulthandler._sigsegv()")
    assert done.returncode < 0
    assert "Segmentation fault" in done.stderr
    assert "Current thread" in done.stderr


def test_a_long_line_is_cut() -> None:
    """A line is logged up to a limit."""
    done = run("os.write(2, b'y' * 5000 + b'\\n')")
    assert 900 < len(done.stderr.splitlines()[0]) < 1200


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("native")


@pytest.fixture(scope="module")
def key(place: Path) -> str:
    return create_key(place / "home", tenant="acme")[1]


@pytest.fixture(scope="module")
def running(place: Path, key: str) -> Iterator[Served]:
    with served(place) as running:
        yield running


def outcome(running: Served, word: str) -> float:
    return running.metric("intentproof_requests_total", transport="grpc", outcome=word)


@pytest.mark.parametrize("encoding", ["zstd", "snappy"])
def test_a_refused_encoding_is_counted_and_explained(
    running: Served, key: str, encoding: str
) -> None:
    """A gRPC call that the library refuses for its encoding is counted, and logged with a cure."""
    before = outcome(running, "unsupported_encoding")
    answer = raw_grpc.call(running.grpc, b"abc", encoding=encoding, key=key)
    assert answer["grpc-status"] == "13"
    until(lambda: outcome(running, "unsupported_encoding") == before + 1, what="the count")
    assert "compression: gzip" in running.logged("grpc_encoding_refused")["mend"]
    assert "grpc-encoding" in running.logged("native_output")["line"]
    assert all(line.startswith("{") for line in running.raw)


def test_an_unreadable_message_is_counted(running: Served, key: str) -> None:
    """A gzip message that is damaged is counted apart from bytes that are no request."""
    before = outcome(running, "unreadable")
    answer = raw_grpc.call(running.grpc, raw_grpc.damaged_gzip(), encoding="gzip", key=key)
    assert answer["grpc-status"] == "13"
    until(lambda: outcome(running, "unreadable") == before + 1, what="the count")
    refused: dict[str, Any] = running.logged("request_refused")
    assert "message_bytes_max" in refused["reason"]


def test_the_end_loses_no_line(place: Path) -> None:
    """A receiver that stops still ends with 0 and its last log line."""
    folder = place / "end"
    create_key(folder / "home", tenant="acme")
    with served(folder, environ={"PYTHONDEVMODE": os.environ.get("PYTHONDEVMODE", "")}) as running:
        assert running.stop() == 0
        running.logged("closed")
