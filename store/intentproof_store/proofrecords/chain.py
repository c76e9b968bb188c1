"""Chains of proof records: each names the hash of the one before it. Pure."""

from dataclasses import dataclass

from .asked import Asked, Verified
from .detached import Detached, check_detached, read_detached
from .errors import ChainBroken, NotVerified
from .hashing import sha256_hex
from .keys import PublicKey, check_record_signature
from .members import Kind, read_members
from .moment import Moment, read_moment
from .record import Record, read_record
from .recordcheck import check_record, remarks_on

OPEN_END = (
    "an end that was cut off does not show: --head HASH asks for the last record that you know of"
)
_NO_TIME = "0001-01-01T00:00:00Z"  # what Go writes for no time
_CHAIN = {
    "chain_id": Kind.TEXT,
    "created_at": Kind.TEXT,
    "record_count": Kind.INTEGER,
    "head_hash": Kind.TEXT,
    "records": Kind.LIST,
    "signatures": Kind.LIST,
}


@dataclass(frozen=True)
class Chain:
    """A chain as it was read. `head_hash` is None where there was nothing to say one."""

    records: tuple[Record, ...]
    chain_id: str = ""
    created_at: Moment | None = None
    record_count: int | None = None
    head_hash: str | None = None
    signatures: tuple[Detached, ...] = ()
    unprotected: tuple[str, ...] = ()

    def digest(self) -> str:
        """What a detached signature of the chain signs, in hex. Raises Unreadable."""
        return sha256_hex(
            {
                "chain_id": self.chain_id,
                "created_at": self.created_at.seconds_text() if self.created_at else _NO_TIME,
                "record_count": self.record_count or 0,
                "head_hash": self.head_hash or "",
                "records": [record.document() for record in self.records],
            }
        )


def read_chain(value: object) -> Chain:
    """The chain of a JSON object with `records`. Raises Unreadable, or NotVerified."""
    members = read_members(value, _CHAIN, "the chain")
    known = members.known
    given = value.get("created_at") if isinstance(value, dict) else None
    return Chain(
        records=tuple(
            read_record(each, f"record {index + 1}")
            for index, each in enumerate(known["records"] or ())
        ),
        chain_id=known["chain_id"],
        created_at=None if given is None else read_moment(given, "created_at"),
        record_count=known["record_count"],
        head_hash=known["head_hash"],
        signatures=tuple(
            read_detached(each, f"signature {index + 1} of the chain")
            for index, each in enumerate(known["signatures"] or ())
        ),
        unprotected=tuple(members.unknown),
    )


def verify_chain(chain: Chain, asked: Asked) -> Verified:
    """What a chain shows. Raises NotVerified, ChainBroken, Unreadable or CosignNeeded.

    1. There are records: a pass over nothing says nothing.
    2. Each names the hash of the one before it, the first none, and has the hash that follows.
    3. Each holds by itself.
    4. Head, count and members of the chain are those of its records.
    5. The head is the one that the caller holds.
    6. The trusted key signed the chain, or each of its records, and nothing that is signed here
       was signed by another.
    """
    count = len(chain.records)
    if not count:  # (1)
        raise NotVerified("no records: there is nothing to verify")
    head = ""
    for index, record in enumerate(chain.records):  # (2)
        try:
            _check_link(record, head)
            check_record(record, asked)  # (2, the hash) and (3)
        except NotVerified as error:
            raise ChainBroken(index, count, record.record_id, str(error)) from error
        head = record.record_hash
    _check_frame(chain, head, strict=asked.strict)  # (4)
    if asked.head is not None and asked.head != head:  # (5)
        raise NotVerified(
            f"the chain ends with {head}, and you hold {asked.head[:80]!r}: "
            "records are missing, or this is another chain"
        )
    for number, signature in enumerate(chain.signatures, start=1):
        asked.check_not_revoked(signature.key_id, f"signature {number} of the chain")
    if asked.signatures:  # (6)
        _check_signatures(chain, asked.key())
    remarks = remarks_on(chain.records, signatures=asked.signatures)
    if asked.head is None and not (asked.signatures and chain.signatures):
        remarks = (*remarks, OPEN_END)
    document: dict[str, object] = {
        "kind": "chain",
        "ok": True,
        "records": count,
        "head_hash": head,
    }
    return Verified(document, f"Chain intact. {count} records. No gaps.", remarks)


def _check_link(record: Record, head: str) -> None:
    if record.previous_record_hash != head:
        raise NotVerified(
            f"its previous_record_hash is {record.previous_record_hash[:80]!r}, the record before "
            f"it has {head or 'no hash, for there is none'}"
        )


def _check_frame(chain: Chain, head: str, *, strict: bool) -> None:
    """What the chain says of its records."""
    count = len(chain.records)
    if chain.unprotected:
        raise NotVerified(f"nothing covers the chain's member {chain.unprotected[0]!r}")
    if chain.head_hash is not None and chain.head_hash != head:
        raise NotVerified(
            f"head_hash mismatch: the last record has {head}, the chain says "
            f"{chain.head_hash[:80]!r} (break_index {count - 1})"
        )
    if chain.record_count is not None and chain.record_count != count:
        raise NotVerified(f"record_count is {chain.record_count}, and there are {count} records")
    framed = chain.head_hash is not None  # a folder of records says nothing of itself
    if strict and framed and chain.record_count is None:
        raise NotVerified("record_count is missing: the end could be cut off unseen")
    if strict and framed and (not chain.chain_id.strip() or chain.created_at is None):
        raise NotVerified("chain_id and created_at are required")


def _check_signatures(chain: Chain, key: PublicKey) -> None:
    digest = chain.digest() if chain.signatures else ""
    for number, signature in enumerate(chain.signatures, start=1):
        check_detached(signature, digest, key, f"signature {number} of the chain")
    for index, record in enumerate(chain.records):
        if chain.signatures and not (record.signature or record.signing_key_id):
            continue  # covered by the chain's
        try:
            check_record_signature(record, key)
        except NotVerified as error:
            raise ChainBroken(index, len(chain.records), record.record_id, str(error)) from error
