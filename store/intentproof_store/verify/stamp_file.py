"""`intentproof-otel verify anchor.<size>.<hex> --tsa ROOTS_PEM`: one time stamp, offline."""

import argparse
import base64
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..anchors import decode_anchored
from ..errors import AuthoritiesInvalid, NoteInvalid, StampInvalid
from ..files import read_regular
from ..layout import parse_anchor
from ..note import Checkpoint, VerifierKey, read_checkpoint
from ..present import shown
from ..tokens import Authorities
from .notes import SignedSizes
from .outside import known_checkpoints, outside_keys, trusted_authorities
from .report import LogReport, Outcome, Problem, Report, outcome_of
from .stamp_words import stamp_lines
from .stamps import TokenJudge, read_stamp, require_stamp

_INVALID_INPUT = 6
_WORDS = {
    Outcome.VERIFIED: "this checkpoint of the log existed then",
    Outcome.UNANCHORED: "this existed then, but nothing from outside says whose it is: "
    "give --key or --known",
    Outcome.INCOMPLETE: "no time is proved",
    Outcome.TAMPERED: "this is not proved",
}


def is_stamp(path: Path) -> bool:
    """Whether a file has the name of a time stamp."""
    return parse_anchor(path.name) is not None


def run_stamp(args: argparse.Namespace) -> int:
    """Verify one time stamp and tell; the exit code of contract §7. Trusts nothing of this machine.

    The token is looked for beside the file.
    """
    if args.policy is not None:
        sys.stderr.write("verify: --policy is for stores and receipts: give a time stamp --key\n")
        return _INVALID_INPUT
    try:
        authorities = trusted_authorities(args.tsa)
        if authorities is None:
            raise AuthoritiesInvalid("a time stamp needs --tsa: the authorities that you trust")
        keys = outside_keys(args.key)
        known = known_checkpoints(args.known, keys)
        report = judge_stamp(args.path, keys=keys, known=known, authorities=authorities)
    except (AuthoritiesInvalid, NoteInvalid, StampInvalid, OSError) as error:
        sys.stderr.write(f"verify: {shown(str(error))}\n")
        return _INVALID_INPUT
    if args.json:
        sys.stdout.write(json.dumps(report.document(), indent=2) + "\n")
    else:
        sys.stdout.write("".join(f"{shown(line)}\n" for line in _lines(report)))
    return report.outcome.exit_code


def judge_stamp(
    path: Path,
    *,
    keys: Sequence[VerifierKey],
    known: Sequence[Checkpoint],
    authorities: Authorities,
) -> Report:
    """Judge the time stamp of one checkpoint.

    Raises StampInvalid or NoteInvalid where the bytes are not one that can be read, and OSError.
    """
    checkpoint = read_checkpoint(decode_anchored(read_regular(path)).note)
    _, tenant, writer = ["", "", *checkpoint.origin.rsplit("/", 2)][-3:]
    log = LogReport(tenant, writer, size=checkpoint.size, checkpoint_size=checkpoint.size)
    log.root = base64.b64encode(checkpoint.root).decode()
    own = [key for key in keys if key.name == checkpoint.origin]
    tokens = TokenJudge(authorities)
    stamp = read_stamp(path, log, own=own, sizes=SignedSizes(), tokens=tokens)
    log.stamps = [] if stamp is None else [stamp]
    log.anchored = stamp is not None and (bool(own) or checkpoint in known)
    if keys and not own and checkpoint not in known:
        message = f"no key that you trust is of {checkpoint.origin}"
        log.problems.append(Problem("checkpoint_invalid", message))
    require_stamp(log)
    outcome = outcome_of([log])
    anchor = "known" if checkpoint in known else "own-key"
    return Report(outcome, anchor if log.anchored else "none", [log])


def _lines(report: Report) -> Iterator[str]:
    yield f"{report.outcome.value.upper()}: {_WORDS[report.outcome]}"
    for log in report.logs:
        yield f"  log: {log.tenant}/{log.writer}, checkpoint over {log.size} leaves"
        yield from (f"  {line}" for line in stamp_lines(log))
        for problem in log.problems:
            yield f"    {problem.code}: {problem.message}"
