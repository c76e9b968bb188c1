"""Lists of revoked keys. Pure."""

from .detached import check_detached, read_detached
from .errors import NotVerified
from .hashing import sha256_hex
from .keys import PublicKey
from .members import Kind, kept, read_members
from .strictjson import read_object

_WHAT = "the revocation list"
_LIST = {
    "version": Kind.TEXT,
    "created_at": Kind.TEXT,
    "revoked": Kind.LIST,
    "signature": Kind.OBJECT,
}
_ENTRY = {"key_id": Kind.TEXT, "revoked_at": Kind.TEXT, "reason": Kind.TEXT}


def read_revocations(raw: bytes, key: PublicKey | None) -> frozenset[str]:
    """The ids of the keys on a list; with `key`, which must have signed it.

    When a key was revoked is not looked at: it could only be compared with the time that a record
    claims, and whoever has the key writes that. Raises Unreadable, NotVerified or CosignNeeded.
    """
    members = read_members(read_object(raw, _WHAT), _LIST, _WHAT)
    known = members.known
    entries = [
        read_members(each, _ENTRY, f"{_WHAT}: revoked[{index}]")
        for index, each in enumerate(known["revoked"] or ())
    ]
    if members.unknown or any(each.unknown for each in entries):
        raise NotVerified(f"{_WHAT} has members that no signature covers")
    if key is not None:
        listed = [
            {"key_id": "", "revoked_at": "", **kept(each.known)} for each in entries
        ]  # as the reference writes them
        signed = {
            "version": known["version"],
            "created_at": known["created_at"],
            "revoked": listed,
        }
        what = f"the signature of {_WHAT}"
        check_detached(read_detached(known["signature"], what), sha256_hex(signed), key, what)
    return frozenset(each.known["key_id"].strip() for each in entries)
