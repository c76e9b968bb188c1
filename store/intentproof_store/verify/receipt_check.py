"""`verify` of a receipt: one event, offline, against keys or checkpoints from outside."""

from collections.abc import Sequence

from ..errors import NoteInvalid, ProofInvalid, ReceiptInvalid
from ..note import Checkpoint, VerifierKey, parse_checkpoint_text, parse_note
from ..receipt import Proved, decode_receipt, verify_receipt
from .report import LogReport, Outcome, Problem, Report

# What is wrong, by what was raised: the note, the proof, or the event itself.
_CODES = {
    NoteInvalid: "checkpoint_invalid",
    ProofInvalid: "proof_invalid",
    ReceiptInvalid: "receipt_differs",
}


def judge_receipt(
    raw: bytes, *, keys: Sequence[VerifierKey] = (), known: Sequence[Checkpoint] = ()
) -> tuple[Report, Proved | None]:
    """Judge a receipt, and what it proves if it does.

    Raises ReceiptInvalid or NoteInvalid where the bytes are not a receipt that can be read.
    """
    receipt = decode_receipt(raw)
    checkpoint = parse_checkpoint_text(parse_note(receipt.checkpoint).text)
    _, tenant, writer = ["", "", *checkpoint.origin.rsplit("/", 2)][-3:]
    log = LogReport(tenant, writer, size=checkpoint.size, checkpoint_size=checkpoint.size)
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
