"""Which checkpoints of a bundle does the caller have reason to trust? Pure.

The checkpoints of a log were proved to extend each other before this is asked, so that reason to
trust one is reason to trust the smaller ones, and nothing above it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..bundle.proof import Log
from ..errors import NoteInvalid
from ..note import Checkpoint, VerifierKey, open_checkpoint
from ..policy import Judgement, Policy, judge_checkpoint
from ..receipt import Proved
from ..tokens import Authorities
from .report import LogReport, Problem, StampedTime, WitnessedReport
from .windows import check_moment, windows_of


@dataclass(frozen=True)
class Trusted:
    """What the caller brought; each may be missing."""

    keys: Sequence[VerifierKey] = ()
    known: Sequence[Checkpoint] = ()
    policy: Policy | None = None
    authorities: Authorities | None = None


def trusted_size(
    log: Log,
    trusted: Trusted,
    events: Sequence[Proved],
    report: LogReport,
    *,
    stamps: Sequence[StampedTime] = (),
) -> int:
    """The largest size up to which the log's leaves are vouched for, 0 for none.

    1. A log of which the caller brought no key is vouched for by none.
    2. A checkpoint that a trusted key of its log did not sign, though it says so, is tampering.
    3. Under a policy a checkpoint counts with the quorum of the witnesses only.
    4. Without a policy one that the caller holds counts as well.
    5. No event was received after a checkpoint over it was cosigned or stamped, nor before one that
       it stands above.

    What is wrong or missing goes into the report's problems.
    """
    held = [each for each in trusted.known if each.origin == log.newest.origin]
    own = [key for key in trusted.keys if key.name == log.newest.origin]
    signed = [each for each, raw in log.checkpoints if own and _is_signed(log, raw, own, report)]
    if trusted.keys and not own:  # (1)
        words = f"no key that you brought is of the log {log.newest.origin}"
        report.problems.append(Problem("key_missing", words))
    report.problems += _contradictions(log, held, signed)
    if report.problems and own and len(signed) < len(log.checkpoints):  # (2)
        return 0
    judged: dict[int, Judgement] = {}
    size = 0
    if trusted.policy is not None:  # (3)
        size = _witnessed_size(log, trusted.policy, own, judged, report) if own else 0
    windows = windows_of(judged, stamps)  # (5)
    if windows is not None:
        found = (check_moment(windows, e.index, int(e.leaf["received_ns"])) for e in events)
        report.problems += filter(None, found)
    if trusted.policy is not None:
        return size
    counts = {*signed, *(each for each in held if each in log.all)}  # (4)
    return max((each.size for each in counts), default=0)


def _is_signed(log: Log, raw: bytes, own: Sequence[VerifierKey], report: LogReport) -> bool:
    try:
        open_checkpoint(raw, keys=own)
    except NoteInvalid as error:
        report.problems.append(Problem("checkpoint_invalid", str(error), log.file_of(raw)))
        return False
    return True


def _contradictions(
    log: Log, held: Sequence[Checkpoint], signed: Sequence[Checkpoint]
) -> list[Problem]:
    """What the bundle says against checkpoints that the caller holds, or leaves open."""
    problems = []
    for mine in held:
        same_size = [each for each in log.all if each.size == mine.size]
        if not same_size:
            words = (
                f"your checkpoint over {mine.size} leaves is not in this bundle: to link it, ask "
                f"for `log consistency` between {mine.size} and {log.newest.size}"
            )
            problems.append(Problem("known_unlinked", words))
        elif same_size[0] != mine:
            words = f"another root over {mine.size} leaves than in the checkpoint that you hold"
            code = "fork" if same_size[0] in signed else "checkpoint_invalid"
            file = f"logs/{log.writer}/checkpoint.{mine.size}"
            problems.append(Problem(code, words, file))
    return problems


def _witnessed_size(
    log: Log,
    policy: Policy,
    own: Sequence[VerifierKey],
    judged: dict[int, Judgement],
    report: LogReport,
) -> int:
    """How far the log is witnessed; what was judged of each checkpoint goes into `judged`."""
    judgements: list[Judgement] = []
    for _, raw in log.checkpoints:
        try:
            judgements.append(judge_checkpoint(raw, policy, logs=own))
        except NoteInvalid as error:
            problem = Problem("cosignature_invalid", str(error), log.file_of(raw))
            report.problems.append(problem)
            return 0
    met = [each for each in judgements if each.is_met]
    judged |= {each.checkpoint.size: each for each in met}
    size = met[-1].checkpoint.size if met else 0
    if size < log.newest.size:
        words = f"the checkpoint over {log.newest.size} leaves is {judgements[-1].why_not()}"
        report.problems.append(Problem("not_witnessed", words, log.file_of(log.checkpoints[-1][1])))
    if met:
        moments = [each.witnessed_at for each in met if each.witnessed_at is not None]
        report.witnessed = WitnessedReport(
            size=size,
            at_s=met[-1].witnessed_at,
            since_s=min(moments, default=None),
            by=met[-1].times,
            not_yet=log.newest.size - size,
        )
    return size
