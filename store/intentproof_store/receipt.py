"""A receipt: one event and the proof that a signed checkpoint covers it. Pure.

The file is a C2SP tlog-proof. Its `extra` line, which no signature covers, is in base64 the JCS
text `{"context": {"salt", "text"}, "leaf", "payload": {"salt", "text"}}`: the leaf as it was
hashed, and the two halves that it commits to, salts in base64. A half that was erased or is held
back is left out. Nothing of `extra` counts before the leaf was proved, and each half found to be
the one in the leaf.
"""

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass

import orjson
from intentproof_schemas import (
    CONTEXT_DOMAIN,
    EVENT_KINDS,
    EVENT_MEMBERS,
    LEVELS_MAX,
    PAYLOAD_DOMAIN,
    SALT_BYTES,
    VERSION,
    CanonicalError,
    LeafInvalid,
    canonical,
    commitment,
    json_levels,
    read_leaf,
)

from .errors import ReceiptInvalid
from .merkle import leaf_hash, verify_inclusion
from .note import Checkpoint, VerifierKey, open_checkpoint, read_checkpoint
from .strict import decimal, strict_base64
from .tlogproof import HEADER, TlogProof, decode_tlog_proof

RECEIPT_BYTES_MAX = 32 << 20
_REQUIRED = frozenset(name for name, required in EVENT_MEMBERS if required)
_ALLOWED = frozenset(name for name, _ in EVENT_MEMBERS)
_NUMBERS = ("started_ns", "completed_ns", "received_ns")


@dataclass(frozen=True)
class Half:
    """A half of an event as it is committed to: the salt, and its JCS text."""

    salt: bytes
    text: bytes


@dataclass(frozen=True)
class Receipt:
    """What a receipt's file holds. Nothing of it is true before `verify_receipt` returned."""

    leaf: bytes
    context: Half | None
    payload: Half | None
    index: int
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        """The file's bytes."""
        members: dict[str, object] = {"leaf": self.leaf.decode()}
        for name, half in (("context", self.context), ("payload", self.payload)):
            if half is not None:
                salt = base64.b64encode(half.salt).decode()
                members[name] = {"salt": salt, "text": half.text.decode()}
        return TlogProof(canonical(members), self.index, self.proof, self.checkpoint).encode()


@dataclass(frozen=True)
class Proved:
    """What a receipt proves: the leaf's members, where it stands, and under which checkpoint."""

    leaf: dict[str, str]
    index: int
    checkpoint: Checkpoint
    context: dict[str, object] | None
    payload: dict[str, object] | None


def is_receipt(raw: bytes) -> bool:
    """Whether the bytes begin as a receipt does."""
    return raw.startswith(HEADER)


def decode_receipt(raw: bytes) -> Receipt:
    """Read a receipt, strictly: one way to write each, nothing left over. Raises ReceiptInvalid."""
    if len(raw) > RECEIPT_BYTES_MAX:
        raise ReceiptInvalid(f"{len(raw)} bytes, the limit is {RECEIPT_BYTES_MAX}")
    try:
        form = decode_tlog_proof(raw)
    except ValueError as error:
        raise ReceiptInvalid(str(error)) from error
    leaf, context, payload = _extra(form.extra)
    return Receipt(leaf, context, payload, form.index, form.proof, form.checkpoint)


def _base64(text: bytes, what: str) -> bytes:
    try:
        return strict_base64(text)
    except ValueError as error:
        raise ReceiptInvalid(f"{what} is {error}") from error


def _extra(raw: bytes) -> tuple[bytes, Half | None, Half | None]:
    try:
        members = orjson.loads(raw)
        whole = canonical(members) == raw
    except (ValueError, CanonicalError) as error:
        raise ReceiptInvalid("the extra data is not JSON") from error
    if not whole or not isinstance(members, dict) or not isinstance(members.get("leaf"), str):
        raise ReceiptInvalid("the extra data is not the JCS text of an object with a leaf")
    if members.keys() - {"context", "leaf", "payload"}:
        raise ReceiptInvalid("the extra data has a member that no receipt has")
    halves = [_half(members[name]) if name in members else None for name in ("context", "payload")]
    return members["leaf"].encode(), *halves


def _half(value: object) -> Half:
    if not isinstance(value, dict) or value.keys() != {"salt", "text"}:
        raise ReceiptInvalid("a half of the event is not a salt and a text")
    salt, text = value["salt"], value["text"]
    if not isinstance(salt, str) or not isinstance(text, str):
        raise ReceiptInvalid("a half of the event is not a salt and a text")
    raw = _base64(salt.encode(), "a salt")
    if len(raw) != SALT_BYTES:
        raise ReceiptInvalid(f"a salt is not {SALT_BYTES} bytes")
    return Half(raw, text.encode())


def verify_receipt(
    receipt: Receipt, *, keys: Iterable[VerifierKey], known: Iterable[Checkpoint] = ()
) -> Proved:
    """What the receipt proves, to one who trusts `keys` or holds `known` checkpoints.

    1. The checkpoint is signed by a trusted key of its origin, or is one that the caller holds.
    2. The leaf follows from its root, at the index.
    3. The leaf is an event or conflict of the log that the origin names.
    4. Each half that is shown is the one that the leaf commits to.

    Without keys and known checkpoints (1) is left out: what is returned is then consistent, and
    nothing more. Raises NoteInvalid (1), ProofInvalid (2) or ReceiptInvalid.
    """
    keys, known = tuple(keys), tuple(known)
    if keys or known:
        checkpoint = open_checkpoint(receipt.checkpoint, keys=keys, known=known)  # (1)
    else:
        checkpoint = read_checkpoint(receipt.checkpoint)
    verify_inclusion(  # (2)
        index=receipt.index,
        size=checkpoint.size,
        hashed_leaf=leaf_hash(receipt.leaf),
        proof=receipt.proof,
        root=checkpoint.root,
    )
    leaf = _leaf(receipt.leaf, checkpoint.origin)  # (3)
    halves = [
        None if half is None else _committed(half, domain, leaf[name], name)
        for name, domain, half in (
            ("context", CONTEXT_DOMAIN, receipt.context),
            ("payload", PAYLOAD_DOMAIN, receipt.payload),
        )
    ]  # (4)
    return Proved(leaf, receipt.index, checkpoint, *halves)


def _leaf(raw: bytes, origin: str) -> dict[str, str]:
    try:
        leaf = read_leaf(raw)
    except LeafInvalid as error:
        raise ReceiptInvalid(str(error)) from error
    if leaf["v"] != VERSION or leaf["kind"] not in EVENT_KINDS:
        raise ReceiptInvalid("the leaf is no event of a version that is known here")
    if not _REQUIRED <= leaf.keys() <= _ALLOWED:
        raise ReceiptInvalid("the leaf lacks a member of an event, or has one that none has")
    if any(decimal(leaf[name].encode()) is None for name in _NUMBERS):
        raise ReceiptInvalid("a time in the leaf is not a plain decimal number")
    if not origin.endswith(f"/{leaf['tenant']}/{leaf['writer']}"):
        raise ReceiptInvalid(f"a leaf of {leaf['tenant']}/{leaf['writer']} in the log {origin}")
    return leaf


def _committed(half: Half, domain: bytes, expected: str, name: str) -> dict[str, object]:
    if commitment(domain, half.salt, half.text) != expected:
        raise ReceiptInvalid(f"the {name} is not the one that the leaf commits to")
    try:
        members = json.loads(half.text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ReceiptInvalid(f"the {name} is not JSON: {error}") from error
    if json_levels(half.text.decode()) > LEVELS_MAX + 1 or not isinstance(members, dict):
        raise ReceiptInvalid(f"the {name} is not an object, or nested too deep")
    return members


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Two readers could take different ones of equal keys, so what was committed has none."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("it has a key twice")
    return members
