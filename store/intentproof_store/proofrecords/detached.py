"""Detached signatures: of chains, of manifests, and of GAIT artifacts. Pure."""

from dataclasses import dataclass

from .errors import CosignNeeded, NotVerified
from .keys import PublicKey, SigningKey
from .members import Kind, read_members

_SHAPE = {"alg": Kind.TEXT, "key_id": Kind.TEXT, "sig": Kind.TEXT, "signed_digest": Kind.TEXT}
_ALGORITHM = "ed25519"


@dataclass(frozen=True)
class Detached:
    """A signature beside what it signs. Nothing of it is true before it was verified."""

    alg: str
    key_id: str
    sig: str
    signed_digest: str


def read_detached(value: object, what: str) -> Detached:
    """A detached signature. Raises Unreadable for a wrong type, NotVerified for more members."""
    members = read_members(value, _SHAPE, what)
    if members.unknown:
        raise NotVerified(f"{what}: nothing covers the member {next(iter(members.unknown))!r}")
    return Detached(**members.known)


def check_detached(
    signature: Detached, digest: str, key: PublicKey, what: str, *, raw_digest: bool = False
) -> None:
    """Raise NotVerified unless `key` signed the hex digest; CosignNeeded for cosign's.

    1. The algorithm is Ed25519.
    2. The digest that was signed is that of what is at hand.
    3. The key is the one that the caller trusts.
    4. The signature holds: over the 64 ASCII digits, of GAIT artifacts over the 32 raw bytes.
    """
    if signature.alg == "cosign":
        raise CosignNeeded(what)
    if signature.alg != _ALGORITHM:  # (1)
        raise NotVerified(f"{what}: the algorithm is {signature.alg[:40]!r}, not {_ALGORITHM!r}")
    check_digest(signature, digest, what)  # (2)
    if signature.key_id != key.key_id:  # (3)
        raise NotVerified(
            f"{what} is signed with the key {signature.key_id[:80]!r}, not with {key.key_id}"
        )
    message = bytes.fromhex(digest) if raw_digest else digest.encode("ascii")
    key.verify(message, signature.sig, what)  # (4)


def check_digest(signature: Detached, digest: str, what: str) -> None:
    """Raise NotVerified unless the digest is the one that the signature names."""
    if signature.signed_digest != digest:
        raise NotVerified(
            f"{what}: its digest is {digest}, signed is {signature.signed_digest[:80]!r}"
        )


def sign_digest(digest: str, key: SigningKey) -> dict[str, str]:
    """A detached signature over a hex digest, as the reference writes it."""
    return {
        "alg": _ALGORITHM,
        "key_id": key.public.key_id,
        "sig": key.sign(digest.encode("ascii")),
        "signed_digest": digest,
    }
