"""A single proof under a policy: its checkpoint counts only with the quorum of the witnesses."""

from collections.abc import Sequence
from dataclasses import replace

from ..errors import NoteInvalid
from ..note import VerifierKey, read_checkpoint
from ..policy import Policy, judge_checkpoint
from ..receipt import Proved
from .report import LogReport, Outcome, Problem, Report, WitnessedReport
from .windows import TOLERANCE_SECONDS

_SECOND_NS = 10**9


def under_policy(
    report: Report,
    checkpoint: bytes,
    policy: Policy,
    keys: Sequence[VerifierKey],
    proved: Proved | None = None,
) -> Report:
    """The report on a proof, judged by the policy as well.

    1. What was found wrong without it stays.
    2. A cosignature of a listed witness that does not hold is tampering.
    3. Without the quorum nothing from outside vouches for the proof.
    4. What is proved existed when it was cosigned: it cannot have been received later.
    """
    log = report.logs[0]
    if report.outcome is Outcome.TAMPERED:  # (1)
        return report
    origin = read_checkpoint(checkpoint).origin
    if all(key.name != origin for key in keys):  # then it is one that the caller holds
        message = f"neither the policy nor --key has a key of {origin}"
        return _with(report, Outcome.UNANCHORED, "none", Problem("not_witnessed", message))
    try:
        judgement = judge_checkpoint(checkpoint, policy, logs=keys)
    except NoteInvalid as error:  # (2)
        return _with(report, Outcome.TAMPERED, "none", Problem("cosignature_invalid", str(error)))
    size = judgement.checkpoint.size
    if not judgement.is_met:  # (3)
        message = f"the checkpoint over {size} leaves is {judgement.why_not()}"
        return _with(report, Outcome.UNANCHORED, "none", Problem("not_witnessed", message))
    witnessed_at = judgement.witnessed_at
    if proved is not None and witnessed_at is not None:  # (4)
        latest_s = witnessed_at + TOLERANCE_SECONDS
        if int(proved.leaf["received_ns"]) > latest_s * _SECOND_NS:
            message = "says that it was received after its checkpoint was cosigned"
            problem = Problem("outside_window", message, log_index=proved.index)
            return _with(report, Outcome.TAMPERED, "none", problem)
    log.witnessed = WitnessedReport(size, witnessed_at, witnessed_at, judgement.times, 0)
    log.anchored = True
    return replace(report, outcome=Outcome.VERIFIED, anchor="policy")


def _with(report: Report, outcome: Outcome, anchor: str, problem: Problem) -> Report:
    log: LogReport = report.logs[0]
    log.problems.append(problem)
    log.anchored = False
    log.events_verified = 0
    return replace(report, outcome=outcome, anchor=anchor)
