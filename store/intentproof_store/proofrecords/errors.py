"""What reading and verifying proof records may raise; each class carries its exit code.

* StoreError
  + RecordsInvalid          base of those below
    + Unreadable      6     not strict JSON, a wrong type, a bad timestamp, no artifact of ours
    + NotVerified     2     a schema, hash, link, count, signature or file that does not hold
      + ChainBroken   2     the same, of one record of a chain: its index and id
    + ManifestInvalid 3     a bundle's manifest or a path in it breaks the rules
    + NotAnchored     3     consistent, and no key was given to check the signature with
    + CosignNeeded    7     signed with cosign, which this command does not run
"""

from typing import ClassVar

from ..errors import StoreError


class RecordsInvalid(StoreError, ValueError):
    """Base of what is wrong with proof records."""

    exit_code: ClassVar[int] = 2


class Unreadable(RecordsInvalid):
    """Input that is not what it should be, before anything is verified."""

    exit_code = 6


class NotVerified(RecordsInvalid):
    """Something that was read and does not hold."""


class ChainBroken(NotVerified):
    """A record of a chain that does not hold; `index` counts from 0."""

    def __init__(self, index: int, count: int, record_id: str, why: str) -> None:
        super().__init__(
            f"chain broken at record {index + 1} of {count} "
            f"(break_index {index}, break_point {record_id!r}): {why}"
        )
        self.index = index
        self.record_id = record_id


class ManifestInvalid(RecordsInvalid):
    """A manifest that breaks its schema, or a path that breaks the rules of paths."""

    exit_code = 3


class NotAnchored(RecordsInvalid):
    """Consistent, and nothing from outside vouches for it."""

    exit_code = 3


class CosignNeeded(RecordsInvalid):
    """A signature that only the cosign program can check."""

    exit_code = 7

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} is signed with cosign, which is not run here: check it with cosign verify-blob"
        )
