"""Where events become durable, provable and queryable: the ledger, the log, SQL and `verify`."""

from .cosignature import WitnessKey, cosign
from .durable import create_file
from .errors import (
    AuthoritiesInvalid,
    EventsInvalid,
    EventUnknown,
    FrameInvalid,
    HomeInvalid,
    LedgerBehind,
    LedgerLocked,
    LogNameChanged,
    LogUnknown,
    NoteInvalid,
    NotSigned,
    ProofInvalid,
    QuarantineDamaged,
    QueryFailed,
    QueryRefused,
    SizeConflict,
    StampInvalid,
    StoreBusy,
    StoreError,
    StoreMissing,
    StoreUnavailable,
    SubmissionInvalid,
    TenantInvalid,
    TraceIdInvalid,
    UnsignedByLog,
)
from .events import EVENT_SCHEMA, event_columns
from .finding import EventFinder
from .footers import chunk_of
from .identity import read_vkeys
from .layout import Layout
from .ledger import Ledger, LedgerStatus, TenantStatus
from .lookups import (
    Told,
    read_trace_id,
    told_of_correlation,
    told_of_event,
    told_of_trace,
)
from .note import Checkpoint, VerifierKey
from .present import cell, document, item, lines, shown
from .proving import Places, finder_of, receipt_of
from .quarantine import Undecodable
from .reader import Reader
from .setaside import Quarantined, quarantined, read_quarantined, tells_again
from .settings import LedgerSettings
from .stamping import Kept, Stamping, Unstamped, last_stamp
from .standing import check_standing
from .submission import Seen, Submission, check_growth, read_submission
from .tenantlog import Appended
from .textcolumns import Piece, joined, json_piece
from .tokens import Authorities, read_authorities
from .witnessing import WitnessedLog, own_logs

__all__ = [
    "EVENT_SCHEMA",
    "Appended",
    "Authorities",
    "AuthoritiesInvalid",
    "Checkpoint",
    "EventFinder",
    "EventUnknown",
    "EventsInvalid",
    "FrameInvalid",
    "HomeInvalid",
    "Kept",
    "Layout",
    "Ledger",
    "LedgerBehind",
    "LedgerLocked",
    "LedgerSettings",
    "LedgerStatus",
    "LogNameChanged",
    "LogUnknown",
    "NotSigned",
    "NoteInvalid",
    "Piece",
    "Places",
    "ProofInvalid",
    "QuarantineDamaged",
    "Quarantined",
    "QueryFailed",
    "QueryRefused",
    "Reader",
    "Seen",
    "SizeConflict",
    "StampInvalid",
    "Stamping",
    "StoreBusy",
    "StoreError",
    "StoreMissing",
    "StoreUnavailable",
    "Submission",
    "SubmissionInvalid",
    "TenantInvalid",
    "TenantStatus",
    "Told",
    "TraceIdInvalid",
    "Undecodable",
    "UnsignedByLog",
    "Unstamped",
    "VerifierKey",
    "WitnessKey",
    "WitnessedLog",
    "cell",
    "check_growth",
    "check_standing",
    "chunk_of",
    "cosign",
    "create_file",
    "document",
    "event_columns",
    "finder_of",
    "item",
    "joined",
    "json_piece",
    "last_stamp",
    "lines",
    "own_logs",
    "quarantined",
    "read_authorities",
    "read_quarantined",
    "read_submission",
    "read_trace_id",
    "read_vkeys",
    "receipt_of",
    "shown",
    "tells_again",
    "told_of_correlation",
    "told_of_event",
    "told_of_trace",
]
