"""The console script, where the commands of all rooms meet.

Only the standard library is imported here. A room is imported when one of its commands is called,
so that whoever lacks an extra gets a sentence and exit code 7, not a traceback.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

OK, INTERNAL, INVALID, MISSING = 0, 1, 6, 7  # contract §7
PROGRAM = "intentproof-otel"
_OURS = ("intentproof_", "otel_bridge")


class Command(NamedTuple):
    """Where a command lives, the extra that brings what it needs, and what it does."""

    module: str
    extra: str
    meaning: str


_STORE_ROOM = "intentproof_store"
_STORE = f"{_STORE_ROOM}.commands"
_ROOM = "intentproof_receiver"

COMMANDS = {
    "demo": Command(f"{_ROOM}.demo", "receiver", "the refund story, end to end"),
    "serve": Command(f"{_ROOM}.serve", "receiver", "take spans over OTLP and keep them"),
    "keys": Command(f"{_ROOM}.key_commands", "receiver", "create, list and revoke API keys"),
    "certificates": Command(
        f"{_ROOM}.certificate_commands", "receiver", "map client certificates to tenants"
    ),
    "trace": Command(_STORE, "analyst", "show a trace's events"),
    "correlation": Command(_STORE, "analyst", "show the events of a correlation id"),
    "sql": Command(_STORE, "analyst", "ask the store in SQL"),
    "verify": Command(f"{_STORE_ROOM}.verify.command", "analyst", "prove that nothing was changed"),
    "receipt": Command(
        f"{_STORE_ROOM}.proof_commands", "analyst", "write the proof that an event is in the log"
    ),
    "erase": Command(
        f"{_STORE_ROOM}.erase_commands", "analyst", "remove personal data; the log still verifies"
    ),
    "retain": Command(
        f"{_STORE_ROOM}.retain_commands", "analyst", "drop old payloads or segments; keep proofs"
    ),
    "hold": Command(
        f"{_STORE_ROOM}.hold_commands", "analyst", "place, release and list legal holds"
    ),
    "export": Command(
        f"{_STORE_ROOM}.export_commands", "analyst", "write events to a file, for somebody else"
    ),
    "quarantine": Command(
        f"{_ROOM}.quarantine_commands", "receiver", "look at what could not be taken; retry it"
    ),
    "log": Command(_STORE, "analyst", "list logs and their keys; prove that one only grew"),
    "witness": Command(
        f"{_ROOM}.witness.command", "receiver", "cosign the checkpoints of others' logs"
    ),
    "smoke": Command(f"{_ROOM}.smoke", "receiver", "send a span, and see that it is kept"),
    "doctor": Command(f"{_ROOM}.doctor", "receiver", "check the set-up, and say what to mend"),
}


class Parser(argparse.ArgumentParser):
    """argparse, but a wrong command line is exit code 6: its own 2 means tampering here."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and exit."""
        self.print_usage(sys.stderr)
        self.exit(INVALID, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (contract §7)."""
    try:
        code = _code_of(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has what it wanted (`| head`). Python flushes stdout again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return code


def _code_of(argv: list[str]) -> int:
    """The exit code of a command, however it ends."""
    try:
        return _run(argv)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        return INTERNAL
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else OK
    except ModuleNotFoundError as error:
        return _missing(error, _command_of(argv))
    except Exception as error:  # noqa: BLE001 - the last resort: a line, not a traceback
        return _failed(error)


def _run(argv: list[str]) -> int:
    places, rest = _places().parse_known_args(argv)
    name = _command_of(rest)
    parser = Parser(prog=PROGRAM, description=_overview(), epilog=_places_help(), **_RAW)
    parser.add_argument("--version", action="version", version=_version())
    if name is None:
        parser.usage = f"{PROGRAM} COMMAND [options]"
        parser.parse_args(rest)
        parser.error("which command?")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _register(name, subparsers)
    for subparser in subparsers.choices.values():
        subparser.epilog = _places_help()
    args = parser.parse_args(rest)
    _set_places(args, places)
    run: Callable[[argparse.Namespace], int] = args.run
    return run(args)


def _register(name: str, subparsers: Any) -> None:
    """A room's module registers its commands; one that only runs, such as the demo, has no more."""
    # Before Arrow is loaded: its own pool would keep a segment's worth of memory after each seal.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's, which would wait for nothing
    module = import_module(COMMANDS[name].module)
    if hasattr(module, "register"):
        module.register(subparsers)
    else:
        subparsers.add_parser(name).set_defaults(run=module.run)


_RAW: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter}


def _places() -> argparse.ArgumentParser:
    """`--store`, `--home` and `--hot`, which stand anywhere on any command line."""
    parser = Parser(prog=PROGRAM, add_help=False, allow_abbrev=False)
    for name in ("store", "home", "hot"):
        parser.add_argument(f"--{name}", metavar="DIR")
    return parser


def _set_places(args: argparse.Namespace, given: argparse.Namespace) -> None:
    """The places as paths; `…_flag` is what the command line said, for `serve`'s own order."""
    store = given.store or os.environ.get("INTENTPROOF_STORE") or "proofs"
    home = given.home or os.environ.get("INTENTPROOF_HOME") or ".intentproof"
    hot = given.hot or os.environ.get("INTENTPROOF_HOT") or Path(store) / "hot"
    args.store, args.home, args.hot = Path(store), Path(home), Path(hot)
    args.store_flag, args.home_flag, args.hot_flag = given.store, given.home, given.hot


def _command_of(argv: Sequence[str]) -> str | None:
    words = _places().parse_known_args(list(argv))[1]
    word = next((word for word in words if not word.startswith("-")), None)
    return word if word in COMMANDS else None


def _overview() -> str:
    width = max(map(len, COMMANDS))
    return "commands:\n" + "\n".join(
        f"  {name.ljust(width)}  {command.meaning}" for name, command in COMMANDS.items()
    )


def _places_help() -> str:
    return (
        "everywhere: --store DIR (INTENTPROOF_STORE, proofs), --home DIR (INTENTPROOF_HOME, "
        ".intentproof), --hot DIR (INTENTPROOF_HOT, <store>/hot)"
    )


def _version() -> str:
    try:
        return f"{PROGRAM} {version('intentproof-otel')}"
    except PackageNotFoundError:
        return f"{PROGRAM} (not installed)"


def _missing(error: ModuleNotFoundError, name: str | None) -> int:
    module = error.name or ""
    if name is None or module.startswith(_OURS):
        return _failed(error)
    extra = COMMANDS[name].extra
    sys.stderr.write(f"{PROGRAM} {name} needs the extra: pip install 'intentproof-otel[{extra}]'\n")
    return MISSING


def _failed(error: Exception) -> int:
    """One line. An error of ours that is about what it was given carries its exit code."""
    if os.environ.get("INTENTPROOF_DEBUG") == "1":
        traceback.print_exception(error)
    code = getattr(error, "exit_code", INTERNAL)
    if code != INTERNAL:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        return int(code)
    sys.stderr.write(f"{PROGRAM}: internal error: {type(error).__name__}: {error}\n")
    return INTERNAL
