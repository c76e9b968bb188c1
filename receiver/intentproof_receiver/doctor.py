"""The command `doctor`: looks at the set-up, changes nothing, and says what to mend."""

import argparse
import json
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
    standing_findings,
)
from .config import Config
from .errors import ReceiverError
from .serve import config_of
from .tls_findings import certificates_may_send, transport_security

OK, INVALID = 0, 6


def register(subparsers: Any) -> None:
    """Add `doctor` to the command line."""
    doctor = subparsers.add_parser("doctor", help="check the set-up, and say what to mend")
    doctor.add_argument("--config", metavar="FILE", help="settings as YAML")
    doctor.add_argument("--json", action="store_true", help="one JSON document")
    doctor.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what was found; 0 if there is nothing to mend, else 6. Advice (NOTE) is no failure."""
    try:
        config = config_of(args)
    except ReceiverError as error:
        findings = [Finding("config", "cannot be used", str(error))]
    else:
        findings = list(examine(config))
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


def examine(config: Config, *, clock: Callable[[], float] = time.time) -> Iterator[Finding]:
    """Everything that can be looked at without the ledger's lock, also while `serve` runs."""
    now = clock()
    running = find_running(config)
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
    yield from running_findings(running, config)
