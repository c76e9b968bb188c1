"""The command line: where commands come from, and exit codes."""

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from intentproof_receiver import cli
from intentproof_receiver.cli import COMMANDS, main

BLOCKER = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
from intentproof_receiver.cli import main
sys.exit(main({argv!r}))
"""


def run_without(blocked: tuple[str, ...], *argv: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process where some packages are not installed."""
    code = BLOCKER.format(blocked=blocked, argv=list(argv))
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


def stub(monkeypatch: pytest.MonkeyPatch, name: str, run: Any) -> None:
    """Replace a command's module by one that only runs."""
    module = ModuleType("stub_of_a_command")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, COMMANDS[name].module, module)


@pytest.mark.parametrize(
    "argv", [[], ["nonsense"], ["keys"], ["keys", "create"], ["serve", "--no"]]
)
def test_usage_errors(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong command line is invalid input: 6, not argparse's 2."""
    assert main(argv) == 6
    assert "usage: intentproof-otel" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["keys", "--help"]])
def test_help(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Help and version are successes."""
    assert main(argv) == 0
    assert "intentproof-otel" in capsys.readouterr().out


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The overview names every command, without importing a room."""
    main(["--help"])
    text = capsys.readouterr().out
    for name in COMMANDS:
        assert f"\n  {name} " in text


@pytest.mark.parametrize("name", ["serve", "doctor"])
def test_a_missing_extra(name: str) -> None:
    """A command whose extra is missing says so in one sentence and exits 7."""
    done = run_without(("fastapi", "uvicorn", "grpc", "yaml"), name)
    assert done.returncode == 7
    assert done.stderr == (
        f"intentproof-otel {name} needs the extra: pip install 'intentproof-otel[receiver]'\n"
    )


def test_the_command_line_needs_nothing() -> None:
    """Help works where nothing but the standard library is installed."""
    others = ("intentproof_schemas", "intentproof_store", "grpc", "fastapi", "orjson", "duckdb")
    assert run_without(others, "--help").returncode == 0


def test_keys_need_no_extra(tmp_path: Path) -> None:
    """Keys are made with what the bridge brings."""
    blocked = ("fastapi", "uvicorn", "grpc", "yaml", "duckdb", "pyarrow", "cryptography")
    argv = ("keys", "create", "--tenant", "acme", "--home", str(tmp_path))
    assert run_without(blocked, *argv).returncode == 0


def test_the_analyst_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The store's commands name the extra that brings them."""

    def fail(_: object) -> int:
        raise ModuleNotFoundError("No module named 'duckdb'", name="duckdb")

    stub(monkeypatch, "trace", fail)
    assert main(["trace"]) == 7
    assert "intentproof-otel[analyst]" in capsys.readouterr().err


def test_our_own_missing_module_is_a_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A module of ours that is missing is no missing extra."""

    def fail(_: object) -> int:
        raise ModuleNotFoundError("x", name="intentproof_store.gone")

    stub(monkeypatch, "demo", fail)
    assert main(["demo"]) == 1


def test_an_unexpected_exception(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bug is one line and exit code 1; with INTENTPROOF_DEBUG=1 also the traceback."""

    def fail(_: object) -> int:
        raise ValueError("a bug")

    stub(monkeypatch, "demo", fail)
    assert main(["demo"]) == 1
    assert capsys.readouterr().err == "intentproof-otel: internal error: ValueError: a bug\n"
    monkeypatch.setenv("INTENTPROOF_DEBUG", "1")
    assert main(["demo"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_exit_codes_pass_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command returns is the exit code."""
    for code in (0, 2, 3, 8):
        stub(monkeypatch, "verify", lambda _, code=code: code)
        assert main(["verify"]) == code


def test_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control-C ends a command without a traceback."""

    def fail(_: object) -> int:
        raise KeyboardInterrupt

    stub(monkeypatch, "demo", fail)
    assert main(["demo"]) == 1


@pytest.mark.parametrize("before", [True, False])
def test_places(monkeypatch: pytest.MonkeyPatch, before: bool) -> None:  # noqa: FBT001
    """--store, --home and --hot stand anywhere; then the environment; then defaults."""
    seen: list[Any] = []

    def run(args: object) -> int:
        seen.append(args)
        return 0

    stub(monkeypatch, "log", run)
    monkeypatch.setenv("INTENTPROOF_HOME", "h")
    monkeypatch.delenv("INTENTPROOF_STORE", raising=False)
    monkeypatch.delenv("INTENTPROOF_HOT", raising=False)
    places = ["--store", "s"]
    assert main([*places, "log"] if before else ["log", *places]) == 0
    assert main(["log"]) == 0
    assert (seen[0].store, seen[0].home, seen[0].hot) == (Path("s"), Path("h"), Path("s/hot"))
    assert (seen[1].store, seen[1].hot) == (Path("proofs"), Path("proofs/hot"))


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves(unbuffered: str) -> None:
    """A closed pipe (`| head`) is no error and no traceback, when the text is written or later."""
    code = (
        "import sys; from intentproof_receiver.cli import main; "
        "sys.stdin.read(); sys.exit(main(['--help']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stdin is not None
        process.stdin.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(30) == 0


def test_version_without_metadata(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A source tree that is not installed has no version to show."""

    def missing(_: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr(cli, "version", missing)
    assert main(["--version"]) == 0
    assert "not installed" in capsys.readouterr().out
