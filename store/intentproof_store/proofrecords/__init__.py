"""Clyra proof records v1: read, hashed, verified. Knows nothing of stores."""

from .artifact import holds_records, verify_path
from .asked import Asked, Verified
from .errors import (
    ChainBroken,
    CosignNeeded,
    ManifestInvalid,
    NotAnchored,
    NotVerified,
    RecordsInvalid,
    Unreadable,
)
from .folder import read_file
from .keys import read_public_key
from .record import HASH
from .revocation import read_revocations

__all__ = [
    "HASH",
    "Asked",
    "ChainBroken",
    "CosignNeeded",
    "ManifestInvalid",
    "NotAnchored",
    "NotVerified",
    "RecordsInvalid",
    "Unreadable",
    "Verified",
    "holds_records",
    "read_file",
    "read_public_key",
    "read_revocations",
    "verify_path",
]
