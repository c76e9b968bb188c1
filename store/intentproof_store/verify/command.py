"""`intentproof-otel verify`."""

import argparse
import json
import os
import sys
from pathlib import Path

from ..errors import (
    AuthoritiesInvalid,
    HomeInvalid,
    NoteInvalid,
    PeriodInvalid,
    PolicyInvalid,
    TenantInvalid,
)
from ..period import read_period
from ..present import shown
from .file_command import run_file
from .judge import verify_store
from .period import PERIOD_CODES
from .record_command import add_record_flags, is_about_records, run_records
from .report import Outcome, Report
from .stamp_file import is_stamp, run_stamp
from .stamp_words import stamp_lines
from .trust import VerifyRequest
from .witnessed import witnessed_lines

_INVALID_INPUT = 6
_BAR = 30
_PROBLEMS_SHOWN = 20

_WORDS = {
    Outcome.VERIFIED: "of what was signed, nothing was altered, removed, inserted or moved",
    Outcome.UNANCHORED: "consistent, but nothing from outside vouches for it: "
    "give --key, --known or --policy, or see which witnesses are missing",
    Outcome.INCOMPLETE: "what is there holds, but something is missing or unsigned",
    Outcome.TAMPERED: "bytes contradict what was signed",
    Outcome.FORK: "two signed statements cannot both be true",
}


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `verify` to the command line."""
    parser = subparsers.add_parser("verify", help="check that nothing was touched")
    parser.add_argument(
        "path",
        nargs="?",
        type=Path,
        help="a store, a bundle, a receipt, a consistency proof, a time stamp or proof records "
        "(default: --store)",
    )
    parser.add_argument("--tenant", help="only this tenant")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--sealed", action="store_true", help="judge sealed leaves only")
    parser.add_argument("--key", type=Path, metavar="VKEYS_FILE", help="trust these keys only")
    parser.add_argument("--known", type=Path, metavar="CHECKPOINT", help="a checkpoint you hold")
    add_record_flags(parser)
    parser.add_argument(
        "--policy", type=Path, metavar="FILE", help="a C2SP tlog-policy: logs, witnesses and quorum"
    )
    parser.add_argument(
        "--period",
        metavar="A..B",
        help="every log shows the whole of this time: RFC 3339 dates or instants, B exclusive",
    )
    parser.add_argument(
        "--tsa", type=Path, metavar="ROOTS_PEM", help="ask for time stamps, of these authorities"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Verify and tell; the exit code of contract §7."""
    refused = _refused(args)
    if refused:
        sys.stderr.write(f"verify: {shown(refused)}\n")
        return _INVALID_INPUT
    if is_about_records(args):
        return run_records(args)
    if args.path is not None and args.path.is_file():
        return run_stamp(args) if is_stamp(args.path) else run_file(args)
    try:
        period = read_period(args.period) if args.period is not None else None
    except PeriodInvalid as error:
        sys.stderr.write(f"verify: {shown(str(error))}\n")
        return _INVALID_INPUT
    store = args.path or args.store
    hot = store / "hot" if args.path else args.hot or store / "hot"
    request = VerifyRequest(
        store=store,
        hot=hot,
        home=args.home,
        tenant=args.tenant,
        sealed=args.sealed,
        keys=args.key,
        known=args.known,
        policy=args.policy,
        period=period,
        tsa=args.tsa,
        processes=os.cpu_count() or 1,
    )
    try:
        report = verify_store(request, _show_progress if sys.stderr.isatty() else None)
    except (
        AuthoritiesInvalid,
        HomeInvalid,
        NoteInvalid,
        PolicyInvalid,
        TenantInvalid,
    ) as error:
        print(f"verify: {error}", file=sys.stderr)  # noqa: T201 - a command talks
        return _INVALID_INPUT
    if args.json:
        print(json.dumps(report.document(), indent=2))  # noqa: T201
    else:
        _print_report(report)
    return report.outcome.exit_code


def _refused(args: argparse.Namespace) -> str:
    """Why the path, or a flag beside it, cannot be what was meant; else nothing."""
    path = args.path
    if path is None:
        return ""
    if not os.path.exists(path):  # noqa: PTH110 - unlike the method, never raises
        return f"{path}: no such file or folder"
    if (path / "MANIFEST").is_file() and (path / "bundle.json").is_file():
        return f"{path} is an unpacked bundle: verify the archive, or one of its proofs/"
    given = {"--period": args.period, "--tenant": args.tenant, "--sealed": args.sealed or None}
    asked = [flag for flag, value in given.items() if value is not None]
    if path.is_file() and asked:
        return f"{' and '.join(asked)}: for a store only, a file shows what it was made for"
    return ""


def _show_progress(done: int, total: int) -> None:
    filled = _BAR * done // max(1, total)
    end = "\n" if done == total else ""
    bar = "#" * filled + "." * (_BAR - filled)
    sys.stderr.write(f"\r[{bar}] {done}/{total} segments{end}")
    sys.stderr.flush()


def _print_report(report: Report) -> None:
    lines = [f"{report.outcome.value.upper()}: {_WORDS[report.outcome]}"]
    for log in report.logs:
        name = f"{log.tenant}/{log.writer}" if log.writer else log.tenant or "store"
        lines.append(
            f"  {name}: {log.size} leaves, checkpoint over {log.checkpoint_size}"
            + (f", {log.hot} hot" if log.hot else "")
            + (f", {log.beyond} beyond" if log.beyond else "")
        )
        gone = [
            f"{count} {half}{'' if count == 1 else 's'}"
            for half, count in log.erased.items()
            if count
        ]
        if gone:
            lines.append(f"    erased, as the log says: {', '.join(gone)}")
        if log.hash_only:
            lines.append(f"    kept as hashes only, as the log says: {log.hash_only} leaves")
        lines += witnessed_lines(log)
        lines += [f"    {line}" for line in stamp_lines(log)]
        for problem in log.problems[:_PROBLEMS_SHOWN]:
            where = f" [{problem.file}]" if problem.file else ""
            index = "" if problem.log_index is None else f" at leaf {problem.log_index}"
            lines.append(f"    {problem.code}{index}{where}: {problem.message}")
        if len(log.problems) > _PROBLEMS_SHOWN:
            lines.append(f"    … and {len(log.problems) - _PROBLEMS_SHOWN} more")
    if report.period is not None:
        covered = not any(
            problem.code in PERIOD_CODES for log in report.logs for problem in log.problems
        )
        between = f"{report.period['from']} to {report.period['to']}"
        lines.append(
            f"  period: every log shows the whole of {between}"
            if covered
            else f"  period: {between} is not covered, as said above"
        )
    lines.append(f"  {report.events_verified} events verified, anchor: {report.anchor}")
    sys.stdout.write("".join(f"{shown(line)}\n" for line in lines))
