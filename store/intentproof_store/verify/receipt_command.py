"""`intentproof-otel verify FILE`: a receipt, offline, and what it tells in words."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from intentproof_schemas import microseconds, timestamp

from ..errors import NoteInvalid, ReceiptInvalid
from ..present import shown
from ..receipt import RECEIPT_BYTES_MAX, Proved, is_receipt
from .outside import known_checkpoints, outside_keys
from .receipt_check import judge_receipt
from .report import Outcome, Report

_INVALID_INPUT = 6
_WORDS = {
    Outcome.VERIFIED: "this event stands in the log, and is the one that was signed",
    Outcome.UNANCHORED: "the proof holds, but nothing from outside vouches for its checkpoint: "
    "give --key or --known",
    Outcome.TAMPERED: "this is not proved",
}
_GONE = "not in this receipt: erased, or held back"


def run_file(args: argparse.Namespace) -> int:
    """Verify a receipt and tell; the exit code of contract §7. Trusts nothing of this machine."""
    try:
        keys = outside_keys(args.key)
        known = known_checkpoints(args.known, keys)
        report, proved = judge_receipt(_read(args.path), keys=keys, known=known)
    except (NoteInvalid, ReceiptInvalid) as error:
        sys.stderr.write(f"verify: {shown(str(error))}\n")
        return _INVALID_INPUT
    if args.json:
        sys.stdout.write(json.dumps(report.document(), indent=2) + "\n")
    else:
        sys.stdout.write("".join(f"{shown(line)}\n" for line in _lines(report, proved)))
    return report.outcome.exit_code


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        raw = file.read(RECEIPT_BYTES_MAX + 1)
    if not is_receipt(raw):
        raise ReceiptInvalid(f"{path} is neither a store nor a receipt")
    return raw


def _lines(report: Report, proved: Proved | None) -> Iterator[str]:
    yield f"{report.outcome.value.upper()}: {_WORDS[report.outcome]}"
    for log in report.logs:
        yield f"  log: {log.tenant}/{log.writer}, checkpoint over {log.size} leaves"
        for problem in log.problems:
            yield f"    {problem.code} at leaf {problem.log_index}: {problem.message}"
    if proved is not None:
        yield from _event_lines(proved)
    yield f"  {report.events_verified} events verified, anchor: {report.anchor}"


def _event_lines(proved: Proved) -> Iterator[str]:
    leaf = proved.leaf
    moments = (timestamp(microseconds(int(leaf[name]))) for name in ("started_ns", "received_ns"))
    started, received = moments
    yield f"  {leaf['kind']} {leaf['event_id']}, leaf {proved.index}"
    meant = _GONE if proved.context is None else json.dumps(proved.context.get("intent"))
    yield f"  meant: {meant}"
    yield f"  ran: {leaf['action']}, {leaf['status']}, started {started}, received {received}"
    for name in ("inputs", "output", "error"):
        if proved.payload is not None and name in proved.payload:
            yield f"  {name}: {json.dumps(proved.payload[name], ensure_ascii=False)}"
    if proved.payload is None:
        yield f"  inputs and output: {_GONE}"
