"""The command `doctor`: looks at the set-up, changes nothing, and says what to mend."""

import argparse
import json
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .checkup import (
    Finding,
    clock_findings,
    find_running,
    key_findings,
    limit_findings,
    place_findings,
    port_findings,
    running_findings,
    stamp_findings,
    standing_findings,
    witness_findings,
)
from .config import Config
from .errors import ReceiverError, Unusable
from .serve import config_of
from .tls_findings import certificates_may_send, transport_security

OK, INVALID = 0, 6


def register(subparsers: Any) -> None:
    """Add `doctor` to the command line."""
    doctor = subparsers.add_parser("doctor", help="check the set-up, and say what to mend")
    doctor.add_argument("--config", metavar="FILE", help="settings as YAML")
    doctor.add_argument("--json", action="store_true", help="one JSON document")
    doctor.add_argument("--ca-file", metavar="FILE", help="who signed the receiver's certificate")
    doctor.add_argument("--client-cert", metavar="FILE", help="for mutual TLS")
    doctor.add_argument("--client-key", metavar="FILE", help="for mutual TLS")
    doctor.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what was found; 0 if there is nothing to mend, else 6. Advice (NOTE) is no failure."""
    context = _client_context(args)
    try:
        config = config_of(args)
    except ReceiverError as error:
        findings = [Finding("config", "cannot be used", str(error))]
    else:
        findings = list(examine(config, context=context))
    ok = all(finding.mark != "MEND" for finding in findings)
    if args.json:
        told = [{"mark": one.mark.lower(), **one._asdict()} for one in findings]
        sys.stdout.write(json.dumps({"ok": ok, "findings": told}) + "\n")
    else:
        _print(findings)
    return OK if ok else INVALID


def _print(findings: Sequence[Finding]) -> None:
    for finding in findings:
        sys.stdout.write(f"{finding.mark:4}  {finding.subject}: {finding.state}\n")
        if finding.mend:
            sys.stdout.write(f"      {finding.mend}\n")


def _client_context(args: argparse.Namespace) -> ssl.SSLContext:
    """The TLS in which a running receiver is asked, by default without a look at its certificate.

    It is asked at an address of this machine, so its name is never looked at. Raises Unusable.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if args.ca_file else ssl.CERT_NONE
    given = f"--ca-file {args.ca_file}"
    try:
        if args.ca_file:
            context.load_verify_locations(args.ca_file)
        given = f"--client-cert {args.client_cert}, --client-key {args.client_key}"
        if args.client_cert:
            context.load_cert_chain(args.client_cert, args.client_key)
        elif args.client_key:
            raise Unusable(f"{given}: give both")
    except (OSError, ValueError) as error:
        raise Unusable(f"{given}: cannot be used: {error}") from error
    return context


def examine(
    config: Config,
    *,
    clock: Callable[[], float] = time.time,
    context: ssl.SSLContext | None = None,
) -> Iterator[Finding]:
    """Everything that can be looked at without the ledger's lock, also while `serve` runs.

    `context` is the TLS in which a running receiver is asked; None looks at no certificate.
    """
    now = clock()
    running = find_running(config, context)
    yield Finding("config", "valid")
    yield from place_findings(config.store, config.hot_folder, config.home, now)
    yield from standing_findings(config.store, config.home, config.log_name)
    yield from key_findings(
        config.home, now, certificates_may_send=certificates_may_send(config, now=now)
    )
    for told in transport_security(config, now=now):
        yield Finding(*told)
    yield from port_findings(config, running)
    yield from limit_findings(config, open_files=running.open_files_max if running else None)
    yield from clock_findings(config.store, config.hot_folder, now)
    yield from stamp_findings(config, now)
    yield from running_findings(running, config)
    yield from witness_findings(config, running, now)
