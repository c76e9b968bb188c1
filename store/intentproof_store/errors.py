"""What the store may raise.

* StoreError                an internal fault, or the base of those below
  + StoreUnavailable        cannot take it now (disk or queue full, closing): nothing lost, retry
  + LedgerLocked            another process writes as this writer
  + LedgerBehind            the store is older than what this writer signed: a restored copy
  + HomeInvalid             --home lacks a key or holds a damaged one
  + NoteInvalid             a signed note, its key or its signature does not hold
  + FrameInvalid            bytes that are not a whole, unaltered hot frame
  + ProofInvalid            a Merkle proof does not hold
  + TenantInvalid           not a tenant id
  + QueryRefused            not one SELECT over the views
  + QueryFailed             the SQL engine could not run it
"""


class StoreError(Exception):
    """Base of everything that this room raises."""


class StoreUnavailable(StoreError):
    """The store cannot take this now. Nothing of it was kept or lost: send it again."""


class LedgerLocked(StoreError):
    """Another process holds this writer; the message names it."""


class LedgerBehind(StoreError):
    """The store holds less than this writer signed: it was restored from an older copy."""


class HomeInvalid(StoreError):
    """A file of `--home` is missing or damaged."""


class NoteInvalid(StoreError, ValueError):
    """A signed note that is malformed, or that no trusted key signed."""


class FrameInvalid(StoreError, ValueError):
    """Bytes that are not a whole hot frame, or whose checksum or MAC does not hold."""


class ProofInvalid(StoreError, ValueError):
    """An inclusion or consistency proof that does not hold."""


class TenantInvalid(StoreError, ValueError):
    """A tenant id that the contract does not allow."""

    def __init__(self, tenant: str) -> None:
        super().__init__(
            f"{tenant!r} is not a tenant id: lower-case letters, digits and '-', "
            "a letter first, at most 63"
        )


class QueryRefused(StoreError, ValueError):
    """SQL that is not exactly one SELECT."""


class QueryFailed(StoreError):
    """SQL that the engine refused or could not finish; the message is the engine's."""
