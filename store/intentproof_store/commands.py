"""The commands that read: `trace`, `correlation`, `sql` and `log` (contract §7).

`register` adds them to the console script's parser, which brings `--store`,
`--home` and `--hot`. Answers go to stdout; what was left out, and errors, to stderr.
"""

import argparse
import base64
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from .errors import (
    HomeInvalid,
    QueryFailed,
    QueryRefused,
    StoreError,
    StoreMissing,
    TenantInvalid,
)
from .formats import FORMATS
from .layout import check_tenant
from .life_commands import register_life
from .logs import list_logs, log_keys
from .lookups import Told, read_trace_id, told_of_correlation, told_of_trace
from .present import document, item, lines, shown, trace_lines
from .proof_commands import register_consistency
from .query import ask, check_select
from .reader import Reader

OK, INVALID, REFUSED = 0, 6, 8  # contract §7
_PROBLEMS_SHOWN = 20
Run = Callable[[argparse.Namespace], int]


def register(subparsers: Any) -> None:
    """Add the commands to the command line."""
    trace = subparsers.add_parser("trace", help="show a trace's events")
    trace.add_argument("trace_id", metavar="TRACE_ID", help="32 hex digits")
    correlation = subparsers.add_parser("correlation", help="show the events of a correlation id")
    correlation.add_argument("correlation_id", metavar="ID")
    for parser, run in ((trace, run_trace), (correlation, run_correlation)):
        parser.add_argument("--tenant", required=True, help="whose events")
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="one JSON document")
        form.add_argument("--jsonl", action="store_true", help="one JSON object a line")
        parser.set_defaults(run=_answering(run))
    sql = subparsers.add_parser("sql", help="ask the store in SQL")
    sql.add_argument("statement", metavar="SELECT", help="one SELECT over the views")
    sql.add_argument("--tenant", help="see this tenant only (default: all)")
    sql.add_argument("--format", choices=tuple(FORMATS), default="table")
    sql.set_defaults(run=_answering(run_sql))
    _register_log(subparsers)


def _register_log(subparsers: Any) -> None:
    log = subparsers.add_parser("log", help="list logs and their public keys")
    commands = log.add_subparsers(dest="log_command", required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="logs with the size and root of their checkpoint")
    listing.add_argument("--json", action="store_true", help="one JSON document")
    listing.set_defaults(run=_answering(run_log_list))
    key = commands.add_parser("key", help="public keys of the logs, one a line")
    key.add_argument("--tenant", help="of this tenant's logs only")
    key.set_defaults(run=_answering(run_log_key))
    register_consistency(commands)
    register_life(commands)


def _answering(run: Run) -> Run:
    """The command, with the exit codes of what it may raise."""

    def answer(args: argparse.Namespace) -> int:
        try:
            return run(args)
        except QueryRefused as error:
            sys.stderr.write(f"refused: {shown(str(error))}\n")
            return REFUSED
        except (QueryFailed, TenantInvalid, HomeInvalid) as error:
            sys.stderr.write(f"{_readable(str(error))}\n")
            return INVALID
        except StoreError as error:
            if getattr(error, "exit_code", None) is None:
                raise
            sys.stderr.write(f"{_readable(str(error))}\n")
            return INVALID

    return answer


def _readable(message: str) -> str:
    """An engine's message keeps its lines: one of them points at the place."""
    return "\n".join(map(shown, message.splitlines()))


def run_trace(args: argparse.Namespace) -> int:
    """Show the events and conflicts of a trace."""
    trace_id = read_trace_id(args.trace_id)
    with _reader(args) as reader:
        told = told_of_trace(reader, args.tenant, trace_id)
    return _show(args, "trace_id", trace_id, told)


def run_correlation(args: argparse.Namespace) -> int:
    """Show the events and conflicts that have a correlation id."""
    with _reader(args) as reader:
        told = told_of_correlation(reader, args.tenant, args.correlation_id)
    return _show(args, "correlation_id", args.correlation_id, told)


def _show(args: argparse.Namespace, name: str, value: str, told: Sequence[Told]) -> int:
    if args.json:
        _write(document(args.tenant, name, value, told).decode() + "\n")
    elif args.jsonl:
        _write("".join(item(each).decode() + "\n" for each in told))
    elif told:
        _write("".join(text + "\n" for text in trace_lines(told)))
    else:
        sys.stderr.write(f"nothing is known of {shown(value)}\n")
    return OK


def run_sql(args: argparse.Namespace) -> int:
    """Answer one SELECT over the views."""
    checked = check_select(args.statement)  # before any file is read
    with _reader(args) as reader:
        for piece in FORMATS[args.format](ask(reader, checked)):
            _write(piece)
    return OK


def run_log_list(args: argparse.Namespace) -> int:
    """List the logs."""
    _check_store(args.store)
    logs = [
        {
            "tenant": log.tenant,
            "writer": log.writer,
            "origin": log.checkpoint.origin if log.checkpoint else None,
            "size": log.checkpoint.size if log.checkpoint else 0,
            "root": base64.b64encode(log.checkpoint.root).decode() if log.checkpoint else None,
            "trusted": log.trusted,
            "problem": log.problem or None,
        }
        for log in list_logs(args.store, args.home)
    ]
    if args.json:
        _write(orjson.dumps({"logs": logs}).decode() + "\n")
        return OK
    rows = [("TENANT", "WRITER", "SIZE", "ROOT", "")]
    for log in logs:
        remark = log["problem"] or ("" if log["trusted"] else "not signed by a key of --home")
        root = log["root"] or "-"
        rows.append(
            (str(log["tenant"]), str(log["writer"]), str(log["size"]), str(root), str(remark))
        )
    _write("".join(shown(text) + "\n" for text in lines(rows)))
    return OK


def run_log_key(args: argparse.Namespace) -> int:
    """Print the public keys of the logs."""
    _write("".join(f"{key.vkey()}\n" for key in log_keys(args.home, args.tenant)))
    return OK


def _reader(args: argparse.Namespace) -> Reader:
    """A reader of what the command asks for; what it leaves out is told on stderr."""
    if args.tenant is not None:
        check_tenant(args.tenant)
    reader = Reader(args.store, hot=args.hot, home=args.home, tenant=args.tenant)
    for problem in reader.problems[:_PROBLEMS_SHOWN]:
        words = f"left out: {problem.path}: {problem.message} ({problem.code})"
        sys.stderr.write(f"{shown(words)}\n")
    if len(reader.problems) > _PROBLEMS_SHOWN:
        sys.stderr.write(f"… and {len(reader.problems) - _PROBLEMS_SHOWN} more\n")
    return reader


def _check_store(store: Path) -> None:
    if not store.is_dir():
        raise StoreMissing(store)


def _write(text: str) -> None:
    sys.stdout.write(text)
