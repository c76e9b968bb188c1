"""The signed notes of one log: which hold, and which contradict each other."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import NoteInvalid
from ..files import read_regular
from ..layout import parse_checkpoint, parse_segment_note
from ..note import (
    Checkpoint,
    VerifierKey,
    open_note,
    parse_checkpoint_text,
    parse_note,
    parse_segment_text,
)
from ..policy import Judgement
from .report import LogReport, Problem


@dataclass
class SignedSizes:
    """Checkpoints of a log by size. `trusted` where something from outside vouches for them.

    Where that is no key, but checkpoints that the reader brought along, `vouched` is the size of
    the largest: what is above it, anybody could have appended. Under a policy `judgements` has what
    it says of each checkpoint that witnesses cosigned; None where there is no policy.
    """

    roots: dict[int, bytes] = field(default_factory=dict)
    trusted: bool = False
    vouched: int | None = None
    signers: dict[int, set[VerifierKey]] = field(default_factory=dict)
    judgements: dict[int, Judgement] | None = None

    def anchors(self, fitting: Iterable[int]) -> list[int]:
        """Of signed sizes whose roots fit, those that count: under a policy, with its quorum."""
        if self.judgements is None:
            return list(fitting)
        return [s for s in fitting if s in self.judgements and self.judgements[s].is_met]

    def times_ns(self) -> dict[int, int] | None:
        """When each size reached the policy's quorum; None where it asks for none."""
        met = {size: each for size, each in (self.judgements or {}).items() if each.is_met}
        times = {size: each.witnessed_at for size, each in met.items()}
        if self.judgements is None or None in times.values():
            return None
        return {size: at_s * 10**9 for size, at_s in times.items() if at_s is not None}

    def witnessed(self, size: int) -> dict[str, int]:
        """Which witnesses of the policy cosigned the checkpoint of that size, in Unix seconds."""
        judgement = (self.judgements or {}).get(size)
        return {} if judgement is None else dict(judgement.times)


def read_checkpoints(
    folder: Path,
    report: LogReport,
    *,
    keys: Sequence[VerifierKey],
    known: Sequence[Checkpoint],
) -> SignedSizes:
    """Every checkpoint of the log's folder, and those that the reader brought along.

    Where a trusted key is of this log, each note must be signed by it; without any, the notes are
    read for what they say, and nothing they say is an anchor.
    """
    suffix = f"/{report.tenant}/{report.writer}"
    own = [key for key in keys if key.name.endswith(suffix)]
    sizes = SignedSizes(trusted=bool(own))
    paths = sorted(folder.glob("checkpoint*")) if folder.is_dir() else []
    for path in paths:
        size = parse_checkpoint(path.name)
        if size is None and path.name != "checkpoint":
            continue  # a cosignature or a stranger: it can add nothing and take nothing away
        try:
            checkpoint, signers = own_checkpoint(read_regular(path), own, suffix)
        except (NoteInvalid, OSError) as error:
            report.problems.append(Problem("checkpoint_invalid", str(error), path.name))
            continue
        if size is not None and checkpoint.size != size:
            message = f"its name says {size}, its text {checkpoint.size}"
            report.problems.append(Problem("checkpoint_invalid", message, path.name))
            continue
        add_checkpoint(sizes, report, checkpoint, path.name)
        if signers:
            sizes.signers.setdefault(checkpoint.size, set()).update(signers)
    for checkpoint in known:
        if checkpoint.origin.endswith(suffix):
            add_checkpoint(sizes, report, checkpoint, "the checkpoint that you brought")
    return sizes


def own_checkpoint(
    raw: bytes, own: Sequence[VerifierKey], suffix: str
) -> tuple[Checkpoint, tuple[VerifierKey, ...]]:
    """The checkpoint of a log whose origin ends so, and which of its keys signed it.

    Where keys of it are at hand, one must have. Raises NoteInvalid.
    """
    note, signers = open_note(raw, own) if own else (parse_note(raw), ())
    checkpoint = parse_checkpoint_text(note.text)
    names = {key.name for key in own}
    if (names and checkpoint.origin not in names) or not checkpoint.origin.endswith(suffix):
        raise NoteInvalid(f"a checkpoint of another log: {checkpoint.origin}")
    return checkpoint, signers


def add_checkpoint(
    sizes: SignedSizes, report: LogReport, checkpoint: Checkpoint, file: str
) -> None:
    """Count a signed checkpoint; another root of its size is a fork."""
    standing = sizes.roots.setdefault(checkpoint.size, checkpoint.root)
    if standing != checkpoint.root:
        message = f"two signed checkpoints of size {checkpoint.size} have different roots"
        report.problems.append(Problem("fork", message, file))


def check_segment_notes(folder: Path, report: LogReport, keys: Sequence[VerifierKey]) -> None:
    """Every segment note must hold, also one whose file is gone."""
    suffix = f"/{report.tenant}/{report.writer}"
    own = [key for key in keys if key.name.endswith(suffix)]
    for path in sorted(folder.glob("segment.*")) if folder.is_dir() else []:
        name = parse_segment_note(path.name, report.writer)
        try:
            raw = read_regular(path)
            note = parse_segment_text((open_note(raw, own)[0] if own else parse_note(raw)).text)
        except (NoteInvalid, OSError) as error:
            report.problems.append(Problem("note_invalid", str(error), path.name))
            continue
        said = (note.first, note.last, note.rev)
        if name is None or said != (name.first, name.last, name.rev):
            message = "its name is not what its text says"
            report.problems.append(Problem("note_invalid", message, path.name))
        elif not note.origin.endswith(suffix):
            message = f"a note of another log: {note.origin}"
            report.problems.append(Problem("note_invalid", message, path.name))
