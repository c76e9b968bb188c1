"""What the commands that change a store for ever share: a reason, a question, an answer."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .errors import (
    Held,
    HomeInvalid,
    LedgerBehind,
    PeriodInvalid,
    RequestInvalid,
    StoreMissing,
    TenantInvalid,
)
from .hotlog import set_aside_files
from .layout import check_tenant
from .ordering import order
from .present import shown
from .reader import Reader
from .requests import Request

# Contract §7. PARTLY: blocked, or some of it stands where only somebody else can write.
OK, FAILED, INVALID, PARTLY = 0, 1, 6, 8
_REASON_BYTES_MAX = 1024
_WAIT_SECONDS = 600.0

Run = Callable[[argparse.Namespace], int]


def add_asking(parser: argparse.ArgumentParser) -> None:
    """Add `--reason`, `--dry-run`, `--yes` and `--wait`."""
    parser.add_argument("--reason", help="why; it stands in the log for ever, and names nobody")
    parser.add_argument("--dry-run", action="store_true", help="tell what would go, and stop")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--wait",
        type=float,
        default=_WAIT_SECONDS,
        metavar="SECONDS",
        help="for a receiver that runs on this store to do it (default: 600)",
    )


@dataclass(frozen=True)
class Asked:
    """What the command line says beside what it is about."""

    reason: str
    yes: bool

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Asked":
        """Read it. Raises RequestInvalid."""
        reason = (args.reason or "").strip()
        if not reason and not getattr(args, "dry_run", False):
            raise RequestInvalid("--reason is needed: it stands in the log, and names nobody")
        if len(reason.encode(errors="surrogatepass")) > _REASON_BYTES_MAX:
            raise RequestInvalid(f"--reason is over {_REASON_BYTES_MAX} bytes: say less")
        if not reason.isprintable():
            raise RequestInvalid("--reason has characters that cannot be printed: leave them out")
        return cls(reason, bool(args.yes))


def answering(run: Run) -> Run:
    """The command, with the exit codes of what it may raise."""

    def answer(args: argparse.Namespace) -> int:
        try:
            return run(args)
        except (
            PeriodInvalid,
            RequestInvalid,
            TenantInvalid,
            HomeInvalid,
            StoreMissing,
        ) as error:
            say(str(error))
            return INVALID
        except (Held, LedgerBehind) as error:
            say(f"refused: {error}")
            return PARTLY

    return answer


def say(words: str) -> None:
    """A line for people, who read it on stderr."""
    sys.stderr.write(f"{shown(words)}\n")


def many(count: int, what: str) -> str:
    """A count in words."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def reader_of(args: argparse.Namespace) -> Reader:
    """A reader of the tenant's events; what it leaves out is told."""
    tenant = check_tenant(args.tenant)
    reader = Reader(args.store, hot=args.hot, home=args.home, tenant=tenant)
    if not reader.rows("SELECT 1 FROM leaves LIMIT 1"):
        reader.close()
        raise RequestInvalid(f"this store has nothing of the tenant {tenant!r}")
    for problem in reader.problems:
        say(f"left out: {problem.path}: {problem.message} ({problem.code})")
    return reader


def tell_set_aside(args: argparse.Namespace, writer: str) -> None:
    """Say that what a damaged hot log left goes too: nobody can tell what is in it."""
    files = set_aside_files(args.hot, writer)
    if files:
        say(f"{many(len(files), 'file')} of damaged hot bytes in {files[0].parent} go too")


def confirmed(asked: Asked, question: str) -> bool:
    """Whether it is to be done. Without a terminal and `--yes`, it is not."""
    if asked.yes:
        return True
    if not sys.stdin.isatty():
        say("refused: nobody is there to ask, and --yes was not given")
        return False
    sys.stderr.write(f"{question} Type yes: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() == "yes":
        return True
    say("nothing was changed")
    return False


def carry_out(args: argparse.Namespace, requests: Sequence[Request], verb: str) -> int:
    """Have each request done in turn, and tell; the exit code of the first that was not."""
    told = False

    def waiting() -> None:
        nonlocal told
        if not told:
            say("a receiver runs on this store: it does this between its other work")
            told = True

    for request in requests:
        try:
            answer = order(
                request,
                store=args.store,
                home=args.home,
                hot=args.hot,
                seconds_max=args.wait,
                waiting=waiting,
            )
        except KeyboardInterrupt:
            say(f"not waiting any more: the request {request.id} stands, and will be done")
            raise
        if answer is None:
            say(f"no answer yet: the request {request.id} stands, and will be done")
            return FAILED
        if answer.outcome == "refused":
            say(f"refused: {answer.message}")
            return PARTLY
        if answer.outcome != "done":
            say(f"not done yet, and tried again: {answer.message}")
            return FAILED
        changed = f", {many(answer.segments, 'segment')} changed" if answer.segments else ""
        rows = many(answer.rows, "row") if answer.rows else "as asked:"  # a hold may be of a time
        say(f"{rows} {verb}{changed} (request {request.id})")
    return OK
