"""The command `smoke`: after a deployment, whether a span gets from a client into the log.

The client is OpenTelemetry's own exporter. What is sent becomes evidence and cannot be unsaid: it
has the action `intentproof.smoke`.
"""

import argparse
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from intentproof_store import Reader, StoreError
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from .cli import main as command_line
from .errors import Unusable
from .exposure import names_loopback
from .smoke_client import (
    ACTION,
    Target,
    complaints,
    count_events,
    get_page,
    grpc_exporter,
    http_exporter,
    make_span,
    trace_id_of,
)

OK, FAILED = 0, 1
GOOD, BAD, SKIPPED = MARKS = ("ok", "FAIL", "skip")


class Step(NamedTuple):
    """One thing that was tried, and how it went: a mark of MARKS."""

    name: str
    mark: str
    told: str


def tried(name: str, told: str, *, ok: bool) -> Step:
    """A step that could be tried."""
    return Step(name, GOOD if ok else BAD, told)


def register(subparsers: Any) -> None:
    """Add `smoke` to the command line."""
    smoke = subparsers.add_parser(
        "smoke",
        help="send a span as a client does, and see that it is kept",
        description=f"What it sends stays in the log for ever, under the action {ACTION}.",
    )
    smoke.add_argument("--endpoint", default="http://127.0.0.1:4318", metavar="URL")
    smoke.add_argument("--grpc-endpoint", metavar="HOST:PORT", help="tried only if given")
    smoke.add_argument(
        "--key-file",
        metavar="FILE",
        help="an API key that may send; not needed with a client certificate that is mapped",
    )
    smoke.add_argument("--ca-file", metavar="FILE", help="who signed the receiver's certificate")
    smoke.add_argument("--client-cert", metavar="FILE", help="for mutual TLS")
    smoke.add_argument("--client-key", metavar="FILE", help="for mutual TLS")
    smoke.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS")
    smoke.add_argument(
        "--insecure", action="store_true", help="send the key in clear to another machine"
    )
    smoke.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """One line a step; 0 if none failed, else 1."""
    target = _target(args)
    failed = False
    for step in _steps(target, args):
        sys.stdout.write(f"{step.mark:4}  {step.name}: {step.told}\n")
        sys.stdout.flush()
        failed |= step.mark == BAD
    sys.stdout.write(f"what was sent stays in the log, with action {ACTION}\n")
    return FAILED if failed else OK


def _target(args: argparse.Namespace) -> Target:
    target = Target(
        http=args.endpoint.rstrip("/"),
        grpc=args.grpc_endpoint,
        key=_key(args),
        ca_file=args.ca_file,
        client_cert=args.client_cert,
        client_key=args.client_key,
        seconds=args.timeout,
    )
    parts = urlsplit(target.http)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Unusable(f"--endpoint {target.http}: must be http://HOST:PORT or https://HOST:PORT")
    if not args.insecure:
        if parts.scheme == "http" and not names_loopback(parts.hostname):
            raise Unusable(f"--endpoint {target.http}: the key would go in clear; or --insecure")
        if target.grpc and target.grpc_is_clear and not names_loopback(_host(target.grpc)):
            raise Unusable(
                f"--grpc-endpoint {target.grpc}: the key would go in clear; give "
                "--ca-file, or https://HOST:PORT, or --insecure"
            )
    return target


def _key(args: argparse.Namespace) -> str | None:
    """The API key, or None where a client certificate alone says who sends. Raises Unusable."""
    if args.key_file is None:
        if args.client_cert:
            return None
        raise Unusable("--key-file FILE: an API key that may send; or --client-cert, if mapped")
    try:
        key = Path(args.key_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"--key-file {args.key_file}: cannot be read: {error}") from error
    if not key:
        raise Unusable(f"--key-file {args.key_file}: is empty; see `keys create`")
    return key


def _host(address: str) -> str:
    return urlsplit(address if "//" in address else f"//{address}").hostname or ""


def _steps(target: Target, args: argparse.Namespace) -> Iterator[Step]:
    yield _ready(target)
    sent: list[ReadableSpan] = []
    transports = [("http", http_exporter)]
    if target.grpc:
        transports.append(("grpc", grpc_exporter))
    for name, make in transports:
        span = make_span(name)
        try:
            exporter = make(target)
        except (OSError, ValueError) as error:
            yield tried(f"{name} sends", str(error), ok=False)
            continue
        before = count_events(target)
        step = _send(f"{name} sends", exporter, span)
        yield step
        if step.mark == GOOD:
            sent.append(span)
            yield _send(f"{name} sends again", exporter, span)
            yield _recognised(name, before, count_events(target))
        exporter.shutdown()
    if args.store_flag or os.environ.get("INTENTPROOF_STORE"):
        yield from _in_store(sent, args)
    else:
        yield Step(
            "store",
            SKIPPED,
            "give --store, --home and --hot, or INTENTPROOF_STORE and so on, to look there too",
        )


def _ready(target: Target) -> Step:
    try:
        state = json.loads(get_page(target, "/ready"))["status"]
    except (OSError, ValueError, KeyError) as error:
        return tried("ready", f"{target.http}/ready: {error}", ok=False)
    return tried("ready", str(state), ok=state == "ready")


def _send(name: str, exporter: SpanExporter, span: ReadableSpan) -> Step:
    with complaints() as told:
        result = exporter.export([span])
    if result is SpanExportResult.SUCCESS:
        return tried(name, "acknowledged", ok=True)
    return tried(name, "; ".join(told)[:500] or "refused", ok=False)


def _recognised(name: str, before: dict[str, float] | None, after: dict[str, float] | None) -> Step:
    name = f"{name} resend is recognised"
    if before is None or after is None:
        return Step(name, SKIPPED, "/metrics cannot be had")
    more = after.get("duplicate", 0) - before.get("duplicate", 0)
    return tried(name, f"{more:.0f} more duplicates counted", ok=more >= 1)


def _in_store(sent: Sequence[ReadableSpan], args: argparse.Namespace) -> Iterator[Step]:
    tenants = set()
    try:
        with Reader(args.store, hot=args.hot, home=args.home) as reader:
            for span in sent:
                trace_id = f"{trace_id_of(span):032x}"
                rows = reader.rows(
                    "SELECT tenant FROM leaves WHERE trace_id = ? AND kind = 'event'", [trace_id]
                )
                tenants |= {str(row["tenant"]) for row in rows}
                told = f"trace {trace_id} is there {len(rows)} times"
                yield tried("store", told, ok=len(rows) == 1)
    except StoreError as error:
        yield tried("store", str(error), ok=False)
    for tenant in sorted(tenants):
        places = ["--store", str(args.store), "--home", str(args.home), "--hot", str(args.hot)]
        with redirect_stdout(io.StringIO()) as out:
            code = command_line(["verify", "--json", "--tenant", tenant, *places])
        try:
            told = str(json.loads(out.getvalue())["outcome"])
        except (ValueError, KeyError):
            told = "no answer"
        yield tried(f"verify {tenant}", f"{told}, exit {code}", ok=code == 0)
