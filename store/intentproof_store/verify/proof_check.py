"""`verify` of one proof, offline, against keys or checkpoints from outside."""

import base64
from collections.abc import Sequence

from ..errors import NoteInvalid, ProofInvalid, ReceiptInvalid
from ..extension import decode_extension, verify_extension
from ..note import Checkpoint, VerifierKey, read_checkpoint
from ..receipt import Proved, decode_receipt, verify_receipt
from .report import LogReport, Outcome, Problem, Report

# What is wrong, by what was raised: the note, the proof, or the event itself.
_CODES = {
    NoteInvalid: "checkpoint_invalid",
    ProofInvalid: "proof_invalid",
    ReceiptInvalid: "receipt_differs",
}
_NOT_OF_THIS_LOG = "none of the keys and checkpoints that you brought is of the log "


def judge_receipt(
    raw: bytes, *, keys: Sequence[VerifierKey] = (), known: Sequence[Checkpoint] = ()
) -> tuple[Report, Proved | None]:
    """Judge a receipt, and what it proves if it does.

    Raises ReceiptInvalid or NoteInvalid where the bytes are not a receipt that can be read.
    """
    receipt = decode_receipt(raw)
    checkpoint = read_checkpoint(receipt.checkpoint)
    log = _log(checkpoint)
    if not (checkpoint in known or any(key.name == checkpoint.origin for key in keys)):
        if keys or known:
            log.problems.append(Problem("key_missing", _NOT_OF_THIS_LOG + checkpoint.origin))
        keys, known = (), ()  # what is brought along vouches for other logs
    try:
        proved = verify_receipt(receipt, keys=keys, known=known)
    except (NoteInvalid, ProofInvalid, ReceiptInvalid) as error:
        log.problems.append(Problem(_CODES[type(error)], str(error), log_index=receipt.index))
        return Report(Outcome.TAMPERED, "none", [log]), None
    log.events_verified = 1
    log.anchored = bool(keys or known)
    if not log.anchored:
        return Report(Outcome.UNANCHORED, "none", [log]), proved
    return Report(Outcome.VERIFIED, "known" if checkpoint in known else "own-key", [log]), proved


def judge_extension(raw: bytes, *, known: Checkpoint, keys: Sequence[VerifierKey] = ()) -> Report:
    """Judge a proof that a log only grew since the checkpoint `known`.

    Raises ProofInvalid or NoteInvalid where the bytes are not such a proof that can be read.
    """
    extension = decode_extension(raw)
    checkpoint = read_checkpoint(extension.checkpoint)
    log = _log(checkpoint)
    if keys and all(key.name != checkpoint.origin for key in keys):
        log.problems.append(Problem("key_missing", _NOT_OF_THIS_LOG + checkpoint.origin))
        keys = ()
    try:
        later = verify_extension(extension, known=known, keys=keys)
    except (NoteInvalid, ProofInvalid) as error:
        log.problems.append(Problem(_CODES[type(error)], str(error)))
        return Report(Outcome.TAMPERED, "none", [log])
    log.anchored = bool(keys) or later == known
    if not log.anchored:
        return Report(Outcome.UNANCHORED, "none", [log])
    return Report(Outcome.VERIFIED, "known" if later == known else "own-key", [log])


def _log(checkpoint: Checkpoint) -> LogReport:
    _, tenant, writer = ["", "", *checkpoint.origin.rsplit("/", 2)][-3:]
    return LogReport(
        tenant,
        writer,
        size=checkpoint.size,
        root=base64.b64encode(checkpoint.root).decode(),
        checkpoint_size=checkpoint.size,
    )
