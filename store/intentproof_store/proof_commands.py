"""`intentproof-otel receipt` and `log consistency`: proofs, as files for somebody else."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .durable import write_file
from .errors import (
    CheckpointUnknown,
    EventUnknown,
    HomeInvalid,
    NotSigned,
    ProofInvalid,
    StoreMissing,
    TenantInvalid,
)
from .present import shown
from .proving import Places, extension_of, receipt_of

# Contract §7; 7 is what is not at hand yet: an event that no checkpoint covers.
_OK, _UNPROVED, _INVALID, _NOT_YET = 0, 2, 6, 7


def register(subparsers: Any) -> None:
    """Add `receipt` to the command line."""
    parser = subparsers.add_parser("receipt", help="write the proof that an event is in the log")
    parser.add_argument("event_id", metavar="EVENT_ID")
    parser.add_argument("--tenant", required=True, help="whose event")
    _add_output(parser)
    parser.set_defaults(run=run_receipt)


def register_consistency(commands: Any) -> None:
    """Add `consistency` to the commands of `log`."""
    parser = commands.add_parser("consistency", help="write the proof that a log only grew")
    parser.add_argument("--tenant", required=True, help="whose log")
    parser.add_argument("--writer", required=True, help="which of them, see `log list`")
    parser.add_argument(
        "--from", dest="old_size", type=int, required=True, metavar="SIZE", help="older checkpoint"
    )
    parser.add_argument("--to", dest="size", type=int, metavar="SIZE", help="default: the newest")
    _add_output(parser)
    parser.set_defaults(run=run_consistency)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="- for stdout"
    )


def run_receipt(args: argparse.Namespace) -> int:
    """Write a receipt; the exit code of contract §7."""
    return _write(args, lambda: receipt_of(_places(args), args.tenant, args.event_id).encode())


def run_consistency(args: argparse.Namespace) -> int:
    """Write a consistency proof; the exit code of contract §7."""

    def proof() -> bytes:
        return extension_of(
            _places(args), args.tenant, args.writer, old_size=args.old_size, size=args.size
        ).encode()

    return _write(args, proof)


def _places(args: argparse.Namespace) -> Places:
    return Places(store=args.store, hot=args.hot, home=args.home)


def _write(args: argparse.Namespace, make: Callable[[], bytes]) -> int:
    try:
        raw = make()
    except NotSigned as error:
        return _failed(error, _NOT_YET)
    except ProofInvalid as error:
        return _failed(error, _UNPROVED)
    except (CheckpointUnknown, EventUnknown, TenantInvalid, HomeInvalid, StoreMissing) as error:
        return _failed(error, _INVALID)
    if args.output == Path("-"):
        sys.stdout.buffer.write(raw)
        return _OK
    try:
        write_file(args.output, raw)
    except OSError as error:
        sys.stderr.write(f"{shown(str(args.output))} cannot be written: {error.strerror}\n")
        return _INVALID
    return _OK


def _failed(error: Exception, code: int) -> int:
    sys.stderr.write(f"{shown(str(error))}\n")
    return code
