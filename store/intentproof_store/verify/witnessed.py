"""What the witnesses of a policy say of one log's checkpoints, and how that is told."""

from collections.abc import Sequence
from pathlib import Path

from intentproof_schemas import timestamp

from ..cosignature import WitnessKey, cosigned_at
from ..cosigned import cosignature_files, parse_cosigned, read_cosignature
from ..errors import NoteInvalid
from ..files import read_regular
from ..layout import parse_cosignature
from ..note import Checkpoint, Note, VerifierKey, open_note, parse_checkpoint_text
from ..policy import Judgement, Policy, weigh
from .notes import SignedSizes
from .report import LogReport, Problem, WitnessedReport


def judge_log(
    folder: Path,
    report: LogReport,
    signed: SignedSizes,
    policy: Policy,
    keys: Sequence[VerifierKey],
) -> dict[int, Judgement]:
    """What the policy says of each checkpoint, by size; of those without a cosignature the newest.

    Only a checkpoint that a key of the log signed is looked at. A cosignature under the name and
    key id of a witness of the policy that does not hold is a problem; a stranger's is passed over.
    """
    suffix = f"/{report.tenant}/{report.writer}"
    own = [key for key in keys if key.name.endswith(suffix)]
    files = cosignature_files(folder)
    sizes = {size for size in signed.roots if policy.quorum is None or size in files}
    sizes.update([max(signed.roots)] if signed.roots else [])
    found: dict[int, Judgement] = {}
    for size in sorted(sizes):
        try:
            raw = read_regular(folder / f"checkpoint.{size}")
            note = open_note(raw, own)[0]
            checkpoint = parse_checkpoint_text(note.text)
        except (NoteInvalid, OSError):
            continue  # told where checkpoints are read, or one that the caller brought
        if checkpoint == Checkpoint(checkpoint.origin, size, signed.roots[size]):
            times = _inside(report, note, size, policy)
            for key, time_s in _times(report, raw, files.get(size, ()), policy).items():
                times[key] = min(time_s, times.get(key, time_s))
            found[size] = weigh(policy, checkpoint, times)
    return found


def _inside(report: LogReport, note: Note, size: int, policy: Policy) -> dict[WitnessKey, int]:
    """Cosignatures that stand in the checkpoint's own note, as in a copy that was handed on."""
    try:
        return cosigned_at(note, policy.keys)
    except NoteInvalid as error:
        report.problems.append(Problem("cosignature_invalid", str(error), f"checkpoint.{size}"))
        return {}


def _times(
    report: LogReport, raw: bytes, paths: Sequence[Path], policy: Policy
) -> dict[WitnessKey, int]:
    found: dict[WitnessKey, int] = {}
    for path in paths:
        parsed = parse_cosignature(path.name)
        key_id = "" if parsed is None else parsed[1]
        try:
            note = parse_cosigned(raw, read_cosignature(path), key_id)
            for key, time_s in cosigned_at(note, policy.keys).items():
                found[key] = min(time_s, found.get(key, time_s))
        except (NoteInvalid, OSError) as error:
            if any(key.key_id.hex() == key_id for key in policy.keys):
                report.problems.append(Problem("cosignature_invalid", str(error), path.name))
    return found


def tell_witnessed(report: LogReport, signed: SignedSizes) -> None:
    """Put into the report how far the log is witnessed; nothing without a policy."""
    if signed.judgements is None:
        return
    size = report.anchor_size
    judgement = signed.judgements.get(size)
    report.witnessed = WitnessedReport(
        size=size,
        at_s=None if judgement is None else judgement.witnessed_at,
        since_s=min(_moments(signed), default=None),
        by=signed.witnessed(size),
        not_yet=max(0, report.size - size),
    )
    newest = max(signed.judgements, default=None)
    if size == 0 and newest is not None:
        message = (
            f"no checkpoint has the quorum of the policy; the newest, over {newest} leaves, is "
            f"{signed.judgements[newest].why_not()}"
        )
        report.problems.append(Problem("not_witnessed", message, f"checkpoint.{newest}"))
    elif size == 0 and signed.roots:
        message = "neither the policy nor --key has a key of this log, so no checkpoint counts"
        report.problems.append(Problem("not_witnessed", message))


def _moments(signed: SignedSizes) -> list[int]:
    """When each checkpoint with the quorum had it."""
    found = (judgement.witnessed_at for judgement in (signed.judgements or {}).values())
    return [moment for moment in found if moment is not None]


def witnessed_lines(report: LogReport) -> list[str]:
    """How far a log is witnessed, for people; nothing without a policy."""
    told = report.witnessed
    if told is None or not told.size:
        return []
    by = ", ".join(f"{name} at {_moment(time_s)}" for name, time_s in sorted(told.by.items()))
    lines = [f"    witnessed: the first {told.size} leaves" + (f", by {by}" if by else "")]
    if told.not_yet:
        lines.append(f"    not yet witnessed: {told.not_yet} leaves above them")
    return lines


def _moment(time_s: int) -> str:
    # Beyond the year 9999 a time is no date.
    return timestamp(time_s * 10**6) if time_s < 253_402_300_800 else f"{time_s} s"
