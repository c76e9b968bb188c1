"""`intentproof-otel export`: the events of a trace, a correlation id or a period, as a file."""

import argparse
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from .bundle.making import write_bundle
from .errors import (
    BundleRefused,
    HomeInvalid,
    NothingKnown,
    NotSigned,
    ProofInvalid,
    StoreError,
    TenantInvalid,
)
from .export import STDOUT, Export, Format, put
from .layout import check_tenant
from .lookups import (
    Told,
    read_trace_id,
    told_of_correlation,
    told_of_period,
    told_of_trace,
)
from .period import read_period
from .present import item, shown
from .proving import Places
from .reader import Reader
from .recordexport import check_sign_key, write_proof_records

_OK, _UNPROVED, _INVALID, _NOT_YET = 0, 2, 6, 7  # contract §7


def write_jsonl(export: Export) -> None:
    """Write what `trace --jsonl` shows: one JSON object a line."""
    put(export.output, (item(told) + b"\n" for told in export.told))


FORMATS: dict[str, Format] = {
    "bundle": write_bundle,
    "jsonl": write_jsonl,
    "proof-records": write_proof_records,
}
_WITHOUT, _OR = ("bundle", "proof-records"), " or "


def register(subparsers: Any) -> None:
    """Add `export` to the command line."""
    parser = subparsers.add_parser("export", help="write events to a file, for somebody else")
    parser.add_argument("--tenant", required=True, help="whose events")
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--trace", metavar="ID", help="of this trace")
    asked.add_argument("--correlation", metavar="ID", help="with this correlation id")
    asked.add_argument(
        "--period",
        metavar="A..B",
        help="received from A until before B: RFC 3339 dates or instants, UTC",
    )
    parser.add_argument("--format", choices=tuple(FORMATS), required=True)
    parser.add_argument(
        "--without",
        choices=("payload",),
        help="of a bundle or proof records: hold inputs, outputs and errors back",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="PATH", help="- for stdout"
    )
    parser.add_argument(
        "--sign-key", type=Path, metavar="PEM", help="Ed25519 key that signs proof records"
    )
    parser.set_defaults(run=run_export)


def run_export(args: argparse.Namespace) -> int:
    """Write an export; the exit code of contract §7."""
    try:
        _export(args)
    except NotSigned as error:
        return _failed(str(error), _NOT_YET)
    except ProofInvalid as error:
        return _failed(str(error), _UNPROVED)
    except (TenantInvalid, HomeInvalid) as error:
        return _failed(str(error), _INVALID)
    except StoreError as error:
        code = getattr(error, "exit_code", None)
        if code is None:
            raise
        return _failed(str(error), code)
    except BrokenPipeError:
        raise
    except OSError as error:
        if args.output == STDOUT:
            raise
        return _failed(f"{args.output} cannot be written: {error.strerror}", _INVALID)
    return _OK


def _failed(message: str, code: int) -> int:
    sys.stderr.write(f"{shown(message)}\n")
    return code


def _export(args: argparse.Namespace) -> None:
    check_tenant(args.tenant)
    check_sign_key(args.sign_key, args.format)
    if args.without and args.format not in _WITHOUT:
        raise BundleRefused(f"--without is for --format {_OR.join(_WITHOUT)}, not {args.format}")
    by, value = _asked(args)
    places = Places(store=args.store, hot=args.hot, home=args.home)
    with Reader(places.store, hot=places.hot, home=places.home, tenant=args.tenant) as reader:
        for problem in reader.problems:
            words = f"left out: {problem.path}: {problem.message} ({problem.code})"
            sys.stderr.write(f"{shown(words)}\n")
        told = _told(reader, args.tenant, by, value)
        first = next(told, None)
        if first is None:
            raise NothingKnown(f"the {_NAMES[by]} {value!r}")
        FORMATS[args.format](
            Export(
                places=places,
                reader=reader,
                tenant=args.tenant,
                asked_by=by,
                asked=value,
                told=chain((first,), told),
                output=args.output,
                without_payload=args.without == "payload",
                sign_key=args.sign_key,
            )
        )


_NAMES = {"trace_id": "trace", "correlation_id": "correlation id", "period": "period"}


def _asked(args: argparse.Namespace) -> tuple[str, str]:
    """What is asked by, and the value in the one way to write it."""
    if args.trace is not None:
        return "trace_id", read_trace_id(args.trace)
    if args.correlation is not None:
        return "correlation_id", args.correlation
    return "period", read_period(args.period).text()


def _told(reader: Reader, tenant: str, by: str, value: str) -> Iterator[Told]:
    if by == "trace_id":
        return iter(told_of_trace(reader, tenant, value))
    if by == "correlation_id":
        return iter(told_of_correlation(reader, tenant, value))
    return told_of_period(reader, tenant, read_period(value))
