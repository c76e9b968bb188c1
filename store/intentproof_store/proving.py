"""Proofs from a store: that an event is in its log, and that a log only grew."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intentproof_schemas import WRITER, context_text, payload_text

from .checkpoints import checkpoint_sizes
from .columns import COLUMNS
from .cosigned import best_checkpoint, cosigned_note
from .errors import (
    CheckpointUnknown,
    EventUnknown,
    NoteInvalid,
    NotSigned,
    ProofInvalid,
    ReceiptInvalid,
    StoreError,
)
from .extension import Extension, verify_extension
from .finding import EventFinder
from .fromrow import event_of_row
from .identity import trusted_keys
from .layout import Layout, check_tenant
from .note import VerifierKey, read_checkpoint
from .proofs import consistency_proof, inclusion_proof
from .reader import Reader
from .receipt import Half, Receipt, verify_receipt
from .tilenodes import TileNodes

# Moments are the numbers beside them, and fetching them would need a time zone library.
_WANTED = ", ".join(name for name in COLUMNS if not name.endswith("_at"))
_IDS_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a store is. `home` adds the keys that its own notes are checked with."""

    store: Path
    hot: Path | None = None
    home: Path | None = None


def finder_of(places: Places) -> EventFinder:
    """What finds the events of a store, for `receipt_of`. To be closed."""
    return EventFinder(places.store, hot=places.hot, home=places.home)


def receipt_of(
    places: Places, tenant: str, event_id: str, *, finder: EventFinder | None = None
) -> Receipt:
    """The receipt of an event under a checkpoint of its log. Blocks on the disk.

    It is the one over the event that most witnesses cosigned, of equals the newest, and carries the
    cosignatures that are at hand.

    It was verified before it is given out. Whoever asks again and again keeps a `finder` of these
    places, which remembers the segments. Raises EventUnknown; NotSigned where no checkpoint
    covers the event yet; StoreMissing, TenantInvalid, HomeInvalid; ProofInvalid where the store
    does not prove what it holds, which `verify` explains.
    """
    if finder is None:
        with closing(finder_of(places)) as own:
            row = own.row(tenant, event_id)
    else:
        row = finder.row(tenant, event_id)
    if row is None:
        raise EventUnknown(event_id)
    folder = Layout(places.store).log(tenant, row["writer"])
    size = best_checkpoint(folder, row["log_index"])
    if size <= row["log_index"]:
        raise NotSigned(event_id)
    nodes = TileNodes(folder, size)
    receipt = receipt_of_row(row, nodes, size=size, checkpoint=cosigned_note(folder, size))
    keys = () if places.home is None else trusted_keys(places.home)
    return _checked(receipt, keys)


def leaf_rows(reader: Reader, tenant: str, event_ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Every telling of these events, in every log of the tenant, as `receipt_of_row` takes it."""
    for at in range(0, len(event_ids), _IDS_AT_ONCE):
        some = event_ids[at : at + _IDS_AT_ONCE]
        marks = ", ".join("?" * len(some))
        yield from reader.rows(
            f"SELECT {_WANTED} FROM leaves WHERE tenant = ? AND kind IN ('event', 'conflict') "  # noqa: S608 - our own names
            f"AND event_id IN ({marks})",
            [tenant, *some],
        )


def receipt_of_row(
    row: dict[str, Any], nodes: TileNodes, *, size: int, checkpoint: bytes
) -> Receipt:
    """The receipt of a row under the checkpoint of that size. It was not verified yet.

    Raises ProofInvalid where the tiles that the proof needs are missing.
    """
    index = row["log_index"]
    try:
        proof = inclusion_proof(index, size, nodes.node)
    except StoreError as error:
        raise ProofInvalid(_unproved("this event", error)) from error
    event = event_of_row(row)
    context, payload = row["context_salt"], row["payload_salt"]
    return Receipt(
        leaf=row["leaf"],
        context=None if context is None else Half(context, context_text(event)),
        payload=None if payload is None else Half(payload, payload_text(event)),
        index=index,
        proof=tuple(proof),
        checkpoint=checkpoint,
    )


def _checked(receipt: Receipt, keys: Sequence[VerifierKey]) -> Receipt:
    """The receipt itself: what does not verify here would accuse its holder elsewhere."""
    try:
        verify_receipt(receipt, keys=keys)
    except (NoteInvalid, ProofInvalid, ReceiptInvalid) as error:
        raise ProofInvalid(_unproved("this event", error)) from error
    return receipt


def _unproved(what: str, error: StoreError) -> str:
    return f"the store does not prove {what}: {error}; `intentproof-otel verify` says more"


def extension_of(
    places: Places, tenant: str, writer: str, *, old_size: int, size: int | None = None
) -> Extension:
    """The proof that a log's checkpoint of `size`, by default its newest, extends an older one.

    It was verified before it is given out. Blocks on the disk. Raises CheckpointUnknown for a size
    that has no checkpoint; TenantInvalid, HomeInvalid; ProofInvalid as `receipt_of` does.
    """
    check_tenant(tenant)
    if not WRITER.fullmatch(writer):  # it becomes a part of a path
        raise CheckpointUnknown(tenant, writer, old_size, size or 0)
    folder = Layout(places.store).log(tenant, writer)
    sizes = checkpoint_sizes(folder)
    size = max(sizes, default=0) if size is None else size
    if old_size not in sizes or size not in sizes or old_size > size:
        raise CheckpointUnknown(tenant, writer, old_size, size)
    try:
        proof = consistency_proof(old_size, size, TileNodes(folder, size).node)
        extension = Extension(old_size, tuple(proof), cosigned_note(folder, size))
        known = read_checkpoint(cosigned_note(folder, old_size))
        keys = () if places.home is None else trusted_keys(places.home)
        verify_extension(extension, known=known, keys=keys)
    except StoreError as error:
        raise ProofInvalid(_unproved(f"that {size} leaves extend {old_size}", error)) from error
    return extension
