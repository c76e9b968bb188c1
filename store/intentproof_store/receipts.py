"""Receipts of a store's events: `intentproof-otel receipt`, and what serves the same."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intentproof_schemas import context_text, payload_text

from .checkpoints import checkpoint_sizes
from .columns import COLUMNS
from .durable import write_file
from .errors import (
    EventUnknown,
    HomeInvalid,
    NoteInvalid,
    NotSigned,
    ProofInvalid,
    ReceiptInvalid,
    StoreError,
    StoreMissing,
    TenantInvalid,
)
from .fromrow import event_of_row
from .identity import trusted_keys
from .layout import Layout
from .note import VerifierKey
from .present import shown
from .proofs import inclusion_proof
from .reader import Reader
from .receipt import Half, Receipt, verify_receipt
from .tilenodes import TileNodes

_OK, _UNPROVED, _INVALID, _NOT_YET = 0, 2, 6, 7
# Moments are the numbers beside them, and fetching them would need a time zone library.
_WANTED = ", ".join(name for name in COLUMNS if not name.endswith("_at"))


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a store is. `home` adds the keys that its own notes are checked with."""

    store: Path
    hot: Path | None = None
    home: Path | None = None


def receipt_of(places: Places, tenant: str, event_id: str) -> Receipt:
    """The receipt of an event under the newest checkpoint of its log. Blocks on the disk.

    It was verified before it is given out. Raises EventUnknown; NotSigned where no checkpoint
    covers the event yet; StoreMissing, TenantInvalid, HomeInvalid; ProofInvalid where the store
    does not prove what it holds, which `verify` explains.
    """
    with Reader(places.store, hot=places.hot, home=places.home, tenant=tenant) as reader:
        rows = reader.rows(
            f"SELECT {_WANTED} FROM events WHERE tenant = ? AND event_id = ? "  # noqa: S608 - our own names
            "ORDER BY received_ns, writer, log_index LIMIT 1",
            [tenant, event_id],
        )
    if not rows:
        raise EventUnknown(event_id)
    (row,) = rows
    folder = Layout(places.store).log(tenant, row["writer"])
    receipt = _proved(row, folder)
    keys = () if places.home is None else trusted_keys(places.home)
    return _checked(receipt, keys)


def _proved(row: dict[str, Any], folder: Path) -> Receipt:
    index = row["log_index"]
    size = max(checkpoint_sizes(folder), default=0)
    if size <= index:
        raise NotSigned(row["event_id"])
    try:
        proof = inclusion_proof(index, size, TileNodes(folder, size).node)
    except StoreError as error:
        raise ProofInvalid(_unproved(error)) from error
    event = event_of_row(row)
    context, payload = row["context_salt"], row["payload_salt"]
    return Receipt(
        leaf=row["leaf"],
        context=None if context is None else Half(context, context_text(event)),
        payload=None if payload is None else Half(payload, payload_text(event)),
        index=index,
        proof=tuple(proof),
        checkpoint=(folder / f"checkpoint.{size}").read_bytes(),
    )


def _checked(receipt: Receipt, keys: Sequence[VerifierKey]) -> Receipt:
    """The receipt itself: what does not verify here would accuse its holder elsewhere."""
    try:
        verify_receipt(receipt, keys=keys)
    except (NoteInvalid, ProofInvalid, ReceiptInvalid) as error:
        raise ProofInvalid(_unproved(error)) from error
    return receipt


def _unproved(error: StoreError) -> str:
    return f"the store does not prove this event: {error}; `intentproof-otel verify` says more"


def register(subparsers: Any) -> None:
    """Add `receipt` to the command line."""
    parser = subparsers.add_parser("receipt", help="write the proof that an event is in the log")
    parser.add_argument("event_id", metavar="EVENT_ID")
    parser.add_argument("--tenant", required=True, help="whose event")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="- for stdout"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write a receipt; the exit code of contract §7."""
    places = Places(store=args.store, hot=args.hot, home=args.home)
    try:
        raw = receipt_of(places, args.tenant, args.event_id).encode()
        if args.output == Path("-"):
            sys.stdout.buffer.write(raw)
        else:
            write_file(args.output, raw)
    except NotSigned as error:
        sys.stderr.write(f"{shown(str(error))}\n")
        return _NOT_YET
    except ProofInvalid as error:
        sys.stderr.write(f"{shown(str(error))}\n")
        return _UNPROVED
    except (EventUnknown, TenantInvalid, HomeInvalid, StoreMissing) as error:
        sys.stderr.write(f"{shown(str(error))}\n")
        return _INVALID
    except OSError as error:
        sys.stderr.write(f"{shown(str(args.output))}: {error.strerror}\n")
        return _INVALID
    return _OK
