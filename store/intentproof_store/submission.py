"""What a log sends to a witness, and whether the witness may cosign it (C2SP tlog-witness). Pure.

The body is an old size, a consistency proof and a checkpoint: the same as `extension.py` reads.
Each error below is one HTTP status of the protocol.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from .errors import (
    LogUnknown,
    NoteInvalid,
    ProofInvalid,
    SizeConflict,
    SubmissionInvalid,
    UnsignedByLog,
)
from .extension import decode_extension
from .merkle import EMPTY_ROOT, verify_consistency
from .note import Checkpoint, VerifierKey, open_note, parse_checkpoint_text, parse_note

_SIZE_MAX = 2**63 - 1


@dataclass(frozen=True)
class Submission:
    """A checkpoint that its log signed, and the proof that it extends one of `old_size`."""

    old_size: int
    proof: tuple[bytes, ...]
    text: str
    checkpoint: Checkpoint
    note: bytes


@dataclass(frozen=True)
class Seen:
    """The latest checkpoint of an origin that a witness cosigned."""

    size: int = 0
    root: bytes = EMPTY_ROOT


def read_submission(raw: bytes, keys: Iterable[VerifierKey]) -> Submission:
    """Read a request's body and check who signed it.

    1. It is well formed: else SubmissionInvalid (400).
    2. Its origin is the name of one of `keys`: else LogUnknown (404).
    3. One of the keys of that name signed it: else UnsignedByLog (403).
    4. The old size is not above the checkpoint's: else SubmissionInvalid (400).
    """
    try:
        extension = decode_extension(raw)  # (1)
        note = parse_note(extension.checkpoint)
        checkpoint = _head(note.text)
    except (ProofInvalid, NoteInvalid) as error:
        raise SubmissionInvalid(str(error)) from error
    if checkpoint.size > _SIZE_MAX:
        raise SubmissionInvalid("a size beyond 2^63 - 1")
    own = [key for key in keys if key.name == checkpoint.origin]
    if not own:  # (2)
        raise LogUnknown(checkpoint.origin)
    try:
        open_note(extension.checkpoint, own)  # (3)
    except NoteInvalid as error:
        raise UnsignedByLog(checkpoint.origin, str(error)) from error
    if extension.old_size > checkpoint.size:  # (4)
        raise SubmissionInvalid(
            f"the old size {extension.old_size} is above the checkpoint's, {checkpoint.size}"
        )
    return Submission(
        extension.old_size, extension.proof, note.text, checkpoint, extension.checkpoint
    )


def _head(text: str) -> Checkpoint:
    """The checkpoint in a note's text: extension lines of other logs are cosigned unread."""
    *lines, end = text.split("\n")
    if end or not all(lines):
        raise NoteInvalid("a checkpoint has an empty line")
    return parse_checkpoint_text("\n".join(lines[:3]) + "\n")


def check_growth(submission: Submission, seen: Seen) -> None:
    """Return where a witness that cosigned `seen` last may cosign the submission.

    5. The old size is that of the checkpoint cosigned last: else SizeConflict (409).
    6. At the same size the root is the same: else SizeConflict (409), `is_fork` set.
    7. The proof holds, and is empty from size 0: else ProofInvalid (422).
    """
    checkpoint = submission.checkpoint
    if submission.old_size != seen.size:  # (5)
        raise SizeConflict(seen.size)
    if checkpoint.size == seen.size and checkpoint.root != seen.root:  # (6)
        raise SizeConflict(seen.size, is_fork=True)
    if seen.size == 0:  # (7)
        if submission.proof:
            raise ProofInvalid("a proof from size 0 is empty")
        return
    verify_consistency(
        size1=seen.size,
        size2=checkpoint.size,
        root1=seen.root,
        root2=checkpoint.root,
        proof=submission.proof,
    )
