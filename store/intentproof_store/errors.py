"""What the store may raise.

* StoreError                an internal fault, or the base of those below
  + StoreUnavailable        cannot take it now (disk or queue full, closing): nothing lost, retry
    + StoreBusy             too much at once: its queue is full, or sealing lags
  + LedgerLocked            another process writes as this writer
  + LedgerBehind            the store is older than what this writer signed: a restored copy
  + LogNameChanged          the setting is not the name under which this writer's logs are signed
  + HomeInvalid             --home lacks a key or holds a damaged one
  + NoteInvalid             a signed note, its key or its signature does not hold
  + FrameInvalid            bytes that are not a whole, unaltered hot frame
    + FrameTorn             the file ends within it
  + PolicyInvalid           a trust policy that breaks its format; names the line
  + ProofInvalid            a Merkle proof does not hold
  + SubmissionInvalid       a witness's request that cannot be read
  + LogUnknown              a checkpoint of an origin that the witness has no key of
  + UnsignedByLog           a checkpoint that no key of its origin signed
  + SizeConflict            a proof from another size than the witness cosigned last, or a fork
  + ReceiptInvalid          bytes that are no receipt, or tell of another event than they prove
  + StampInvalid            a time stamp, or its proof, that does not hold
    + StampUntrusted        by an authority that is none of those that are trusted
  + AuthoritiesInvalid      no root certificates of time-stamping authorities in a file
  + EventUnknown            no event of that id
  + NotSigned               no checkpoint covers the event yet
  + CheckpointUnknown       the log has no checkpoint of that size
  + TenantInvalid           not a tenant id
  + EventsInvalid           events that no column can hold
  + QueryRefused            not one SELECT over the views
  + QueryFailed             the SQL engine could not run it
  + StoreMissing            no store where one was looked for
  + TraceIdInvalid          not a trace id
  + RequestInvalid          an order to erase, retain or hold that cannot be carried out as it is
  + Held                    a legal hold covers what was to be erased or dropped
  + PeriodInvalid           not a period A..B
  + NothingKnown            no event of what was asked for
  + BundleInvalid           bytes that are no bundle, or one that does not prove what it says
  + BundleRefused           a bundle that cannot be made: too large, or a key is not at hand
  + QuarantineDamaged       a file of quarantine is missing, or not what its leaf commits to
"""

from pathlib import Path


class StoreError(Exception):
    """Base of everything that this room raises."""


class StoreUnavailable(StoreError):
    """The store cannot take this now. Nothing of it was kept or lost: send it again."""


class StoreBusy(StoreUnavailable):
    """More arrives than can be written or sealed: it passes."""


class LedgerLocked(StoreError):
    """Another process holds this writer; the message names it."""


class LedgerBehind(StoreError):
    """The store holds less than this writer signed: it was restored from an older copy."""


class LogNameChanged(StoreError):
    """The log name is part of a log's key, so the same writer cannot go on under another."""


class HomeInvalid(StoreError):
    """A file of `--home` is missing or damaged."""


class NoteInvalid(StoreError, ValueError):
    """A signed note that is malformed, or that no trusted key signed."""


class PolicyInvalid(StoreError, ValueError):
    """A trust policy that breaks its format; the message names the line, 0 for the whole file."""

    exit_code = 6

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"policy, line {line}: {message}" if line else f"policy: {message}")
        self.line = line


class FrameInvalid(StoreError, ValueError):
    """Bytes that are not a whole hot frame, or whose checksum or MAC does not hold."""


class FrameTorn(FrameInvalid):
    """A file that ends within a frame, as a crash leaves it."""


class ProofInvalid(StoreError, ValueError):
    """An inclusion or consistency proof that does not hold."""


class SubmissionInvalid(StoreError, ValueError):
    """A request to a witness that is malformed."""


class LogUnknown(StoreError, ValueError):
    """A checkpoint of a log that the witness was not told of."""

    def __init__(self, origin: str) -> None:
        super().__init__(f"no key of the log {origin!r} is known here")


class UnsignedByLog(StoreError, ValueError):
    """A checkpoint that is not signed by its log."""

    def __init__(self, origin: str, reason: str) -> None:
        super().__init__(f"not signed by {origin!r}: {reason}")


class SizeConflict(StoreError, ValueError):
    """The witness cosigned another size last; with `is_fork`, this size with another root."""

    def __init__(self, size: int, *, is_fork: bool = False) -> None:
        what = "with another root" if is_fork else "last"
        super().__init__(f"a checkpoint of size {size} was cosigned {what}")
        self.size = size
        self.is_fork = is_fork


class ReceiptInvalid(StoreError, ValueError):
    """A receipt that cannot be read, or whose event is not the one that it proves."""


class StampInvalid(StoreError, ValueError):
    """A time stamp, or the proof that leads to it, that cannot be read or does not hold."""


class StampUntrusted(StampInvalid):
    """A time stamp of an authority that the reader does not trust: of it, nothing is known."""


class AuthoritiesInvalid(StoreError, ValueError):
    """A file that holds no root certificate of a time-stamping authority."""

    exit_code = 6


class EventUnknown(StoreError, ValueError):
    """The tenant has no event of that id."""

    def __init__(self, event_id: str) -> None:
        super().__init__(f"nothing is known of the event {event_id!r}")


class NotSigned(StoreError):
    """The event is acknowledged, and no checkpoint covers it yet."""

    def __init__(self, event_id: str) -> None:
        super().__init__(
            f"the event {event_id!r} is kept, and no checkpoint covers it yet: try again after the "
            "next one, which by default is signed within a minute"
        )


class CheckpointUnknown(StoreError, ValueError):
    """Sizes of which a log has no checkpoints, or in the wrong order."""

    def __init__(self, tenant: str, writer: str, old_size: int, size: int) -> None:
        super().__init__(
            f"the log {tenant}/{writer} has no checkpoint of {old_size} leaves and a later one of "
            f"{size}: its files checkpoint.<size> are the sizes there are"
        )


class TenantInvalid(StoreError, ValueError):
    """A tenant id that the contract does not allow."""

    def __init__(self, tenant: str) -> None:
        super().__init__(
            f"{tenant!r} is not a tenant id: lower-case letters, digits and '-', "
            "a letter first, at most 63"
        )


class EventsInvalid(StoreError, ValueError):
    """Events that cannot be written, now or later: nothing of the batch was kept."""


class QueryRefused(StoreError, ValueError):
    """SQL that is not exactly one SELECT."""


class QueryFailed(StoreError):
    """SQL that the engine refused or could not finish; the message is the engine's."""


class StoreMissing(StoreError, ValueError):
    """There is no store where one was looked for."""

    exit_code = 6

    def __init__(self, store: Path) -> None:
        super().__init__(
            f"there is no store at {str(store)!r}: give --store, or set INTENTPROOF_STORE"
        )


class TraceIdInvalid(StoreError, ValueError):
    """Not a trace id."""

    exit_code = 6

    def __init__(self, trace_id: str) -> None:
        super().__init__(f"{trace_id!r} is not a trace id: 32 hex digits, not all zero")


class PeriodInvalid(StoreError, ValueError):
    """Not a stretch of time."""

    exit_code = 6

    def __init__(self, period: str) -> None:
        super().__init__(
            f"{period!r} is not a period: A..B of dates or instants, A before B, such as "
            "2026-11-01..2026-12-01 or 2026-11-21T09:00:00Z..2026-11-21T10:00:00Z"
        )


class NothingKnown(StoreError, ValueError):
    """No event of what was asked for."""

    exit_code = 6

    def __init__(self, what: str) -> None:
        super().__init__(f"nothing is known of {what}: nothing was written")


class BundleInvalid(StoreError, ValueError):
    """What is wrong with a bundle: a problem code of `verify`, words, and where."""

    def __init__(
        self, code: str, message: str, file: str | None = None, log_index: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.file = file
        self.log_index = log_index


class BundleRefused(StoreError, ValueError):
    """A bundle that cannot be made of this store as it was asked for."""

    exit_code = 6


class QuarantineDamaged(StoreError):
    """A file of quarantine that is missing, or is not what its leaf commits to."""


class RequestInvalid(StoreError, ValueError):
    """An order to erase, retain or hold that names what is not there, or cannot be read."""


class Held(StoreError):
    """A legal hold covers what was to go; the message names it."""
