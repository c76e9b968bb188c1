"""The time stamps of one log: which hold, and the times that they prove.

The steps, for each file `anchor.<size>.<hex>`:

1. It is a whole proof: its checkpoint stands under its anchor.
2. The checkpoint is of this log and of that size, and signed by its key where one is at hand. It
   then counts as the log's own: its root has to be that of the leaves, as of every checkpoint.
3. The token beside it is the one that it was kept with, and a stamp of that anchor.
4. A trusted authority signed the token, with a certificate that was valid at that time.

(1) to (3) are looked at always, (4) where the reader brings authorities: `--tsa`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..anchors import Anchored, anchor_name, decode_anchored, verify_anchored
from ..errors import NoteInvalid, StampInvalid, StampUntrusted
from ..files import read_regular
from ..layout import parse_anchor, token_name
from ..note import Checkpoint, VerifierKey, open_note, read_checkpoint
from ..tokens import Authorities, check_token, verify_token
from .notes import SignedSizes, add_checkpoint, own_checkpoint
from .report import LogReport, Problem, StampedTime


@dataclass(frozen=True)
class Kept:
    """A time stamp as it is kept: its file, and the token beside it, None where that is missing."""

    file: str
    proof: bytes
    token: bytes | None

    @property
    def name(self) -> str:
        """The file's name without a folder."""
        return self.file.rpartition("/")[2]


class TokenJudge:
    """Judges tokens, each once: the logs of a receiver share them. Not thread-safe."""

    def __init__(self, authorities: Authorities | None) -> None:
        self.authorities = authorities
        self._judged: dict[tuple[bytes, bytes], int | StampInvalid] = {}

    def seconds(self, token: bytes, digest: bytes) -> int:
        """The time that the token proves, or but claims where no authorities are known.

        Raises StampUntrusted and StampInvalid.
        """
        which = hashlib.sha256(token).digest(), digest
        found = self._judged.get(which)
        if found is None:
            found = self._judged[which] = self._judge(token, digest)
        if isinstance(found, StampInvalid):
            raise found
        return found

    def _judge(self, token: bytes, digest: bytes) -> int | StampInvalid:
        try:
            if self.authorities is None:
                return check_token(token, digest=digest)
            return verify_token(token, digest=digest, authorities=self.authorities)
        except StampInvalid as error:
            return error


def read_stamps(
    folder: Path,
    report: LogReport,
    *,
    own: Sequence[VerifierKey],
    sizes: SignedSizes,
    tokens: TokenJudge,
) -> None:
    """Judge every time stamp of the log's folder; the times that hold go into the report."""
    paths = [path for path in folder.glob("anchor.*") if parse_anchor(path.name) is not None]
    stamps = []
    for path in sorted(paths, key=lambda path: (parse_anchor(path.name), path.name)):
        stamp = read_stamp(path, report, own=own, sizes=sizes, tokens=tokens)
        if stamp is not None:
            stamps.append(stamp)
    if tokens.authorities is not None:
        report.stamps = stamps


def read_stamp(
    path: Path,
    report: LogReport,
    *,
    own: Sequence[VerifierKey],
    sizes: SignedSizes,
    tokens: TokenJudge,
) -> StampedTime | None:
    """Judge the time stamp of a file and its token beside it, as `judge_kept`."""
    try:
        proof = read_regular(path)
        try:
            token = read_regular(path.with_name(token_name(path.name)))
        except FileNotFoundError:
            token = None
    except OSError as error:
        report.problems.append(Problem("stamp_invalid", str(error), path.name))
        return None
    kept = Kept(path.name, proof, token)
    return judge_kept(kept, report, own=own, sizes=sizes, tokens=tokens)


def judge_kept(
    kept: Kept,
    report: LogReport,
    *,
    own: Sequence[VerifierKey],
    sizes: SignedSizes,
    tokens: TokenJudge,
) -> StampedTime | None:
    """Judge one time stamp; None, and a problem in the report, where it does not hold."""
    try:
        anchored, checkpoint = _read(kept, report, own)  # (1) (2)
        add_checkpoint(sizes, report, checkpoint, kept.file)
        if kept.token is None:
            message = "its token is missing, which is put in place before it"
            report.problems.append(Problem("stamp_missing", message, kept.file))
            return None
        if anchor_name(checkpoint.size, kept.token) != kept.name:
            raise StampInvalid("its token is not the one that it was kept with")
        seconds = tokens.seconds(kept.token, anchored.digest)  # (3) (4)
    except StampUntrusted as error:
        report.problems.append(Problem("stamp_untrusted", str(error), kept.file))
    except (StampInvalid, NoteInvalid) as error:
        report.problems.append(Problem("stamp_invalid", str(error), kept.file))
    else:
        return StampedTime(checkpoint.size, seconds, kept.file, _is_by(own, anchored.anchor))
    return None


def _is_by(own: Sequence[VerifierKey], anchor: bytes) -> bool:
    """Whether one of the log's keys signed the anchor, under the anchor's own name."""
    name = read_checkpoint(anchor).origin.rpartition("/")[0]
    try:
        open_note(anchor, [VerifierKey(name, key.key) for key in own])
    except NoteInvalid:
        return False
    return True


def _read(kept: Kept, report: LogReport, own: Sequence[VerifierKey]) -> tuple[Anchored, Checkpoint]:
    anchored = decode_anchored(kept.proof)
    verify_anchored(anchored)
    checkpoint, _ = own_checkpoint(anchored.note, own, f"/{report.tenant}/{report.writer}")
    if checkpoint.size != parse_anchor(kept.name):
        raise StampInvalid(f"its name does not say {checkpoint.size}, as its checkpoint does")
    return anchored, checkpoint


def require_stamp(report: LogReport) -> None:
    """A reader who brings authorities asks for a stamp of each log that has a checkpoint."""
    if report.stamps is None or not report.checkpoint_size:
        return
    # With --sealed, checkpoints over more than the sealed leaves are not judged.
    report.stamps = [each for each in report.stamps if each.size <= report.checkpoint_size]
    if not report.stamps:
        message = "no time stamp of an authority that you trust is over this log"
        report.problems.append(Problem("not_stamped", message))
