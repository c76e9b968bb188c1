"""Whether a record holds. Pure."""

from collections.abc import Sequence

from .asked import Asked, Verified
from .errors import NotVerified
from .keys import check_record_signature
from .record import Record
from .recordschema import check_schema

UNSIGNED = (
    "no signature was checked, and the hashes have no key: whoever can write here can hash it all "
    "again; --signatures --public-key K asks who signed"
)


def verify_record(record: Record, asked: Asked) -> Verified:
    """What one record shows by itself. Raises NotVerified, Unreadable or CosignNeeded."""
    check_record(record, asked)
    if asked.signatures:
        check_record_signature(record, asked.key())
    document: dict[str, object] = {"kind": "record", "ok": True, "record_id": record.record_id}
    remarks = remarks_on([record], signatures=asked.signatures)
    return Verified(document, "Record verified.", remarks)


def check_record(record: Record, asked: Asked) -> None:
    """Raise NotVerified unless the record holds. Its signature is another question.

    1. It has what a record must have, and its type's event.
    2. Every member is one that the hash covers, or that is checked against it.
    3. `record_hash` is the hash of the rest.
    4. An id that looks derived was derived from this record.
    5. Strict: nothing is left that the hash does not tell apart.
    6. The key that it names is none that was revoked.
    """
    check_schema(record)  # (1)
    if record.unprotected:  # (2)
        raise NotVerified(f"no hash covers the member {record.unprotected[0]!r}: leave it out")
    _check_hash(record)  # (3)
    if record.claims_derived_id() or asked.strict:  # (4)
        derived = record.derived_id()
        if record.record_id != derived:
            raise NotVerified(
                f"record_id is {record.record_id!r}, and from this record {derived!r} follows"
            )
    if asked.strict:  # (5)
        _check_strictly(record)
    asked.check_not_revoked(record.signing_key_id, "signing_key_id")  # (6)


def _check_hash(record: Record) -> None:
    """Raise NotVerified unless `record_hash` is the record's hash."""
    computed = record.hash()
    if record.record_hash != computed:
        raise NotVerified(
            f"record hash mismatch: {computed} follows, record_hash is {record.record_hash[:80]!r}"
        )


def _check_strictly(record: Record) -> None:
    if record.timestamp is not None and record.timestamp.nanoseconds:
        raise NotVerified("the hash does not cover the fraction of a second in timestamp")
    if record.metadata == {}:
        raise NotVerified("metadata is empty: a program that saves it again breaks the hash")


def remarks_on(records: Sequence[Record], *, signatures: bool = False) -> tuple[str, ...]:
    """What is true of the records and proves less than one might think."""
    fraction = any(each.timestamp and each.timestamp.nanoseconds for each in records)
    own_id = any(not each.claims_derived_id() for each in records)
    found = (
        (not signatures, UNSIGNED),
        (fraction, "no hash covers fractions of a second: count them as not told"),
        (own_id, "a record_id is not derived from its record: nothing ties the two but the hash"),
    )
    return tuple(text for holds, text in found if holds)
