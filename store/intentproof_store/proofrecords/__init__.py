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

__all__ = [
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
    "verify_path",
]
