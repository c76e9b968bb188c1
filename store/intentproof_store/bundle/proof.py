"""Does a bundle prove what it says? Pure; whether its checkpoints are trusted is not asked here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..errors import (
    BundleInvalid,
    NoteInvalid,
    PeriodInvalid,
    ProofInvalid,
    ReceiptInvalid,
    StoreError,
)
from ..extension import decode_extension, verify_extension
from ..note import Checkpoint, open_note, parse_note, read_checkpoint
from ..period import read_period
from ..receipt import Proved, Receipt, verify_receipt
from .content import Content, number
from .head import FILE, Head

_CHECKPOINT = "checkpoint."


@dataclass(frozen=True)
class Log:
    """One log's checkpoints in a bundle, the oldest first, each with its note."""

    writer: str
    checkpoints: tuple[tuple[Checkpoint, bytes], ...]

    @property
    def newest(self) -> Checkpoint:
        """The largest."""
        return self.checkpoints[-1][0]


@dataclass(frozen=True)
class ProvedBundle:
    """What a bundle proves to one who trusts its checkpoints: events in order, and their logs."""

    content: Content
    events: tuple[Proved, ...]
    logs: tuple[Log, ...]


def prove(content: Content) -> ProvedBundle:
    """What the content proves. Raises BundleInvalid, which says what does not hold, and where.

    1. Every checkpoint is of a log of the tenant and the writer that its folder names, signed by a
       key that the bundle holds, and no key is there without need.
    2. Of each log, every checkpoint but the first is proved to extend the one before.
    3. Every event follows from the root of a checkpoint that the bundle holds, as receipts do.
    4. The events are the tenant's, what was asked for, in order, each once; halves that are held
       back are not there.
    """
    logs = tuple(
        _log(content, writer, content.logs[writer]) for writer in sorted(content.logs)
    )  # (1), (2)
    if not logs:
        raise BundleInvalid("checkpoint_invalid", "there is no checkpoint")
    _check_keys(content)
    known = {raw: checkpoint for log in logs for checkpoint, raw in log.checkpoints}
    events = tuple(
        _proved(receipt, place, known) for place, receipt in enumerate(content.events)
    )  # (3)
    _check_events(content.head, events)  # (4)
    return ProvedBundle(content, events, logs)


def _check_events(head: Head, events: Sequence[Proved]) -> None:
    is_asked = _asked(head)
    for place, proved in enumerate(events):
        file, index = f"events/{number(place)}.leaf", proved.index
        if proved.leaf["tenant"] != head.tenant:
            message = f"an event of the tenant {proved.leaf['tenant']}"
            raise BundleInvalid("leaf_misplaced", message, file, index)
        if not is_asked(proved):
            message = f"not of the {head.asked_by} that was asked for"
            raise BundleInvalid("leaf_misplaced", message, file, index)
        if head.without_payload and proved.payload is not None:
            message = "its payload is here, and bundle.json says that payloads are held back"
            raise BundleInvalid("bundle_invalid", message, file, index)
    places = [_place(proved) for proved in events]
    if any(first >= second for first, second in pairwise(places)):
        raise BundleInvalid("bundle_invalid", "the events are not in order, each once")


def _place(proved: Proved) -> tuple[int, str, int]:
    return int(proved.leaf["started_ns"]), proved.leaf["writer"], proved.index


def _log(content: Content, writer: str, files: Mapping[str, bytes]) -> Log:
    found = []
    for name, raw in files.items():
        if name.startswith(_CHECKPOINT):
            file = f"logs/{writer}/{name}"
            checkpoint = _opened(content, raw, file)
            if name != f"{_CHECKPOINT}{checkpoint.size}":
                raise BundleInvalid("checkpoint_invalid", f"it is over {checkpoint.size}", file)
            if not checkpoint.origin.endswith(f"/{content.head.tenant}/{writer}"):
                raise BundleInvalid("checkpoint_invalid", f"it is of {checkpoint.origin}", file)
            found.append((checkpoint, raw))
    if not found:
        raise BundleInvalid("checkpoint_invalid", "a log without a checkpoint", f"logs/{writer}")
    found.sort(key=lambda pair: pair[0].size)
    growths = {
        f"growth.{old.size}-{new.size}": (old, raw) for (old, _), (new, raw) in pairwise(found)
    }
    if growths.keys() != {name for name in files if name.startswith("growth.")}:
        raise BundleInvalid(
            "proof_invalid", "not one consistency proof between checkpoints", f"logs/{writer}"
        )
    for name, (old, raw) in growths.items():
        _check_growth(files[name], old, raw, f"logs/{writer}/{name}")
    return Log(writer, tuple(found))


def _opened(content: Content, raw: bytes, file: str) -> Checkpoint:
    try:
        checkpoint = read_checkpoint(raw)
        open_note(raw, [key for key in content.keys if key.name == checkpoint.origin])
    except NoteInvalid as error:
        raise BundleInvalid("checkpoint_invalid", str(error), file) from error
    return checkpoint


def _check_growth(raw: bytes, old: Checkpoint, new: bytes, file: str) -> None:
    try:
        extension = decode_extension(raw)
        if extension.checkpoint != new:
            raise BundleInvalid("proof_invalid", "it leads to a checkpoint that is not here", file)
        verify_extension(extension, known=old)
    except (NoteInvalid, ProofInvalid) as error:
        raise BundleInvalid("proof_invalid", str(error), file) from error


def _check_keys(content: Content) -> None:
    """A key that signed nothing here would be in every later list of this bundle's keys."""
    signed = {
        (line.name, line.key_id)
        for files in content.logs.values()
        for name, raw in files.items()
        if name.startswith(_CHECKPOINT)
        for line in parse_note(raw).signatures
    }
    for key in content.keys:
        if (key.name, key.key_id) not in signed:
            file = f"keys/{key.key_id.hex()}.vkey"
            raise BundleInvalid("key_invalid", "this key signed no checkpoint here", file)


_CODES: dict[type[StoreError], str] = {
    NoteInvalid: "checkpoint_invalid",
    ProofInvalid: "proof_invalid",
    ReceiptInvalid: "receipt_differs",
}


def _proved(receipt: Receipt, place: int, known: Mapping[bytes, Checkpoint]) -> Proved:
    file = f"proofs/{number(place)}.tlog-proof"
    if receipt.checkpoint not in known:
        raise BundleInvalid(
            "proof_invalid", "it ends at a checkpoint that is not here", file, receipt.index
        )
    try:
        return verify_receipt(receipt, keys=(), known=(known[receipt.checkpoint],))
    except (NoteInvalid, ProofInvalid, ReceiptInvalid) as error:
        raise BundleInvalid(_CODES[type(error)], str(error), file, receipt.index) from error


def _asked(head: Head) -> Callable[[Proved], bool]:
    """Whether a proved event is one of those that were asked for."""
    if head.asked_by == "trace_id":
        return lambda proved: proved.leaf.get("trace_id") == head.asked
    if head.asked_by == "correlation_id":
        return lambda proved: (proved.context or {}).get("correlationId") == head.asked
    try:
        period = read_period(head.asked)
    except PeriodInvalid as error:
        raise BundleInvalid("bundle_invalid", str(error), FILE) from error
    if period.text() != head.asked:
        raise BundleInvalid("bundle_invalid", "not the one way to write a period", FILE)
    return lambda proved: period.first_ns <= int(proved.leaf["received_ns"]) < period.end_ns
