"""The demo, as a newcomer runs it."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

# A shell that runs the tests in the background has its programs ignore SIGINT; a terminal has not.
CODE = """
import signal, sys
from intentproof_receiver.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main())
"""
COMMAND = [sys.executable, "-c", CODE]


def run(*argv: str, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *argv],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def folder_of(output: str) -> Path:
    found = re.search(r"Everything lies in (.+)", output)
    assert found is not None, output
    return Path(found[1])


@contextmanager
def begun(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A demo that has started its receiver."""
    with subprocess.Popen(
        [*COMMAND, "demo"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as popen:
        try:
            yield popen
        finally:
            popen.kill()


def read_until(popen: "subprocess.Popen[str]", words: str) -> str:
    assert popen.stdout is not None
    read = ""
    for line in popen.stdout:
        read += line
        if words in line:
            return read
    raise AssertionError(read)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and output of one demo that keeps its files."""
    home = tmp_path_factory.mktemp("demo")
    done = run("demo", "--keep", "story", cwd=home)
    assert done.returncode == 0, done.stdout + done.stderr
    return home / "story", done.stdout


def test_the_story(kept: tuple[Path, str]) -> None:
    """Each step shows its command line and what came of it."""
    _, output = kept
    for line in (
        "$ intentproof-otel keys create --tenant acme > acme.key",
        "$ intentproof-otel serve --grpc 127.0.0.1:0 --http 127.0.0.1:0",
        "4 spans ended, 3 events acknowledged, trace ",
        "$ intentproof-otel sql ",
        "insufficient funds",
        "$ intentproof-otel verify\n   VERIFIED: ",
        "3 events verified, anchor: own-key",
        "$ intentproof-otel verify forged\n   TAMPERED: ",
        "All as told: 3 events kept",
    ):
        assert line in output
    assert output.index("VERIFIED: ") < output.index("TAMPERED: ")


def test_it_is_short(kept: tuple[Path, str]) -> None:
    """It fits a screen, and is not coloured where nobody sees it."""
    _, output = kept
    assert len(output.splitlines()) < 70
    assert "\033" not in output


def test_keep(kept: tuple[Path, str]) -> None:
    """What it leaves behind is a store that verifies, and the program that made it."""
    folder, output = kept
    assert folder_of(output) == folder
    assert run("verify", cwd=folder).returncode == 0
    assert run("verify", "forged", cwd=folder).returncode == 2
    assert (folder / "shop.py").is_file()


def test_keep_overwrites_nothing(tmp_path: Path) -> None:
    """A folder that has something in it is refused with 6, and stays as it was."""
    (tmp_path / "mine").write_text("precious")
    done = run("demo", "--keep", ".", cwd=tmp_path)
    assert done.returncode == 6
    assert "--keep" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_without_a_collector(tmp_path: Path) -> None:
    """Without the Collector it says how to get one; its folder is gone at the end."""
    done = run("demo", cwd=tmp_path, INTENTPROOF_CACHE=str(tmp_path / "empty"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "`make collector`" in done.stdout
    assert "otelcol" not in done.stdout
    assert not folder_of(done.stdout).exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    """Interrupted in the middle, it ends its children and removes its folder."""
    with begun(tmp_path) as popen:
        output = read_until(popen, "takes OTLP/gRPC on")
        children = psutil.Process(popen.pid).children(recursive=True)
        assert children
        popen.send_signal(number)
        assert popen.wait(30) == 1
        assert psutil.wait_procs(children, timeout=10)[1] == []
    assert not folder_of(output).exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_killed(tmp_path: Path) -> None:
    """Killed outright, it leaves no process behind."""
    with begun(tmp_path) as popen:
        output = read_until(popen, "takes OTLP/gRPC on")
        children = psutil.Process(popen.pid).children(recursive=True)
        popen.kill()
        assert psutil.wait_procs(children, timeout=30)[1] == []
    shutil.rmtree(folder_of(output))


def test_a_service_that_does_not_start(tmp_path: Path) -> None:
    """What goes otherwise than told is said with the service's own words, and exits with 1."""
    broken = tmp_path / "sitecustomize.py"
    broken.write_text(
        "import sys\nif 'serve' in sys.argv:\n    sys.exit('the disk is made of cheese')\n"
    )
    done = run("demo", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "did not go as told" in done.stderr
    assert "made of cheese" in done.stderr
