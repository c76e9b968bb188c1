"""`intentproof-otel verify FILE`: one proof, offline, and what it tells in words."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from intentproof_schemas import microseconds, timestamp

from ..errors import AuthoritiesInvalid, NoteInvalid, PolicyInvalid, ProofInvalid, ReceiptInvalid
from ..extension import decode_extension, is_extension
from ..note import Checkpoint, VerifierKey
from ..policy import Policy
from ..present import shown
from ..receipt import RECEIPT_BYTES_MAX, Proved, decode_receipt, is_receipt
from .bundle_command import looks_like_bundle, run_bundle
from .bundle_trust import Trusted
from .outside import (
    known_checkpoints,
    outside_keys,
    outside_policy,
    policy_keys,
    trusted_authorities,
)
from .policy_check import under_policy
from .proof_check import judge_extension, judge_receipt
from .report import Outcome, Report
from .witnessed import witnessed_lines

_INVALID_INPUT = 6
_OF_EVENT = {
    Outcome.VERIFIED: "this event stands in the log, and is the one that was signed",
    Outcome.UNANCHORED: "the proof holds, but nothing from outside vouches for its checkpoint: "
    "give --key, --known or --policy, or see which witnesses are missing",
    Outcome.TAMPERED: "this is not proved",
}
_OF_GROWTH = {
    Outcome.VERIFIED: "the log holds every leaf of the checkpoint that you hold, unchanged",
    Outcome.UNANCHORED: "the proof holds, but anybody could have made the later checkpoint: "
    "give --key or --policy, or see which witnesses are missing",
    Outcome.TAMPERED: "that the log only grew is not proved",
}
_GONE = "not in this receipt: erased, or held back"


@dataclass(frozen=True)
class _Judged:
    report: Report
    words: dict[Outcome, str]
    proved: Proved | None = None


def run_file(args: argparse.Namespace) -> int:
    """Verify one proof and tell; the exit code of contract §7. Trusts nothing of this machine."""
    try:
        policy = outside_policy(args.policy)
        keys = outside_keys(args.key)
        if policy is not None:
            keys = policy_keys(policy, keys)
        known = known_checkpoints(args.known, keys)
        if looks_like_bundle(args.path):
            trusted = Trusted(keys, known, policy, trusted_authorities(args.tsa))
            return run_bundle(args.path, trusted, as_json=args.json)
        if args.tsa is not None:
            raise AuthoritiesInvalid(
                "--tsa goes with a store, a bundle or a time stamp, anchor.<size>.<hex>"
            )
        judged = _judged(args.path, keys, known, policy)
    except (AuthoritiesInvalid, NoteInvalid, PolicyInvalid, ProofInvalid, ReceiptInvalid) as error:
        sys.stderr.write(f"verify: {shown(str(error))}\n")
        return _INVALID_INPUT
    if args.json:
        sys.stdout.write(json.dumps(judged.report.document(), indent=2) + "\n")
    else:
        sys.stdout.write("".join(f"{shown(line)}\n" for line in _lines(judged)))
    return judged.report.outcome.exit_code


def _judged(
    path: Path,
    keys: Sequence[VerifierKey],
    known: Sequence[Checkpoint],
    policy: Policy | None,
) -> _Judged:
    try:
        with path.open("rb") as file:
            raw = file.read(RECEIPT_BYTES_MAX + 1)
    except OSError as error:
        raise ReceiptInvalid(f"{path} cannot be read: {error.strerror}") from error
    if is_receipt(raw):
        report, proved = judge_receipt(raw, keys=keys, known=known)
        if policy is not None:
            report = under_policy(report, decode_receipt(raw).checkpoint, policy, keys, proved)
        return _Judged(report, _OF_EVENT, proved)
    if not is_extension(raw):
        raise ReceiptInvalid(
            f"{path} is neither a store, a bundle, a receipt nor a consistency proof"
        )
    if not known:
        raise ProofInvalid("a consistency proof needs --known, the checkpoint that you hold")
    report = judge_extension(raw, known=known[0], keys=keys)
    if policy is not None:
        report = under_policy(report, decode_extension(raw).checkpoint, policy, keys)
    return _Judged(report, _OF_GROWTH)


def _lines(judged: _Judged) -> Iterator[str]:
    report = judged.report
    yield f"{report.outcome.value.upper()}: {judged.words[report.outcome]}"
    for log in report.logs:
        yield f"  log: {log.tenant}/{log.writer}, checkpoint over {log.size} leaves"
        yield from witnessed_lines(log)
        for problem in log.problems:
            where = "" if problem.log_index is None else f" at leaf {problem.log_index}"
            yield f"    {problem.code}{where}: {problem.message}"
    if judged.proved is not None:
        yield from _event_lines(judged.proved)
    yield f"  {report.events_verified} events verified, anchor: {report.anchor}"


def _event_lines(proved: Proved) -> Iterator[str]:
    leaf = proved.leaf
    moments = (timestamp(microseconds(int(leaf[name]))) for name in ("started_ns", "received_ns"))
    started, received = moments
    yield f"  {leaf['kind']} {leaf['event_id']}, leaf {proved.index}"
    meant = _GONE if proved.context is None else _json(proved.context.get("intent"))
    yield f"  meant: {meant}"
    yield f"  ran: {leaf['action']}, {leaf['status']}, started {started}, received {received}"
    for name in ("inputs", "output", "error"):
        if proved.payload is not None and name in proved.payload:
            yield f"  {name}: {_json(proved.payload[name])}"
    if proved.payload is None:
        yield f"  inputs and output: {_GONE}"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
