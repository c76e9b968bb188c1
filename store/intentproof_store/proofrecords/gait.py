"""GAIT artifacts: JSON objects signed over the raw digest of the rest. Pure."""

from typing import Any

from .asked import Asked, Verified
from .detached import check_detached, check_digest, read_detached
from .errors import NotAnchored, NotVerified
from .hashing import sha256_hex

_SIGNATURE = "signature"


def is_gait(value: dict[str, Any]) -> bool:
    """Whether a JSON object is such an artifact: it has `pack_id`, or an object `signature`."""
    return "pack_id" in value or isinstance(value.get(_SIGNATURE), dict)


def verify_gait(value: dict[str, Any], asked: Asked) -> Verified:
    """What a signed artifact shows.

    Raises NotVerified; NotAnchored where no signature was asked for, since then nothing but the
    artifact's own digest was checked, which whoever changed it can write anew; CosignNeeded.
    """
    what = "the artifact's signature"
    for name in value:
        if name != _SIGNATURE and name.casefold() == _SIGNATURE:
            raise NotVerified(f"{name!r} is 'signature' in another case")
    if not isinstance(value.get(_SIGNATURE), dict):
        raise NotVerified("the artifact is not signed: there is nothing to verify")
    signature = read_detached(value[_SIGNATURE], what)
    asked.check_not_revoked(signature.key_id, what)
    digest = sha256_hex({name: each for name, each in value.items() if name != _SIGNATURE})
    if not asked.signatures:
        check_digest(signature, digest, what)
        raise NotAnchored(
            "the artifact agrees with its own digest, and nobody looked at who signed it: "
            "give --signatures --public-key K"
        )
    check_detached(signature, digest, asked.key(NotVerified), what, raw_digest=True)
    document: dict[str, object] = {"kind": "gait_signed_json", "ok": True}
    return Verified(document, "Gait signed artifact verified.")
