"""Where events become durable, provable and queryable: the ledger, the log, SQL and `verify`."""

from .errors import (
    AuthoritiesInvalid,
    EventsInvalid,
    EventUnknown,
    FrameInvalid,
    HomeInvalid,
    LedgerBehind,
    LedgerLocked,
    LogNameChanged,
    NoteInvalid,
    NotSigned,
    ProofInvalid,
    QuarantineDamaged,
    QueryFailed,
    QueryRefused,
    StampInvalid,
    StoreBusy,
    StoreError,
    StoreMissing,
    StoreUnavailable,
    TenantInvalid,
    TraceIdInvalid,
)
from .events import EVENT_SCHEMA, event_columns
from .layout import Layout
from .ledger import Ledger, LedgerStatus, TenantStatus
from .lookups import (
    Told,
    read_trace_id,
    told_of_correlation,
    told_of_event,
    told_of_trace,
)
from .present import cell, document, item, lines, shown
from .proving import Places, receipt_of
from .quarantine import Undecodable
from .reader import Reader
from .setaside import Quarantined, quarantined, read_quarantined, tells_again
from .settings import LedgerSettings
from .stamping import Kept, Stamping, Unstamped, last_stamp
from .standing import check_standing
from .tenantlog import Appended
from .textcolumns import Piece, joined, json_piece
from .tokens import Authorities, read_authorities

__all__ = [
    "EVENT_SCHEMA",
    "Appended",
    "Authorities",
    "AuthoritiesInvalid",
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
    "StampInvalid",
    "Stamping",
    "StoreBusy",
    "StoreError",
    "StoreMissing",
    "StoreUnavailable",
    "TenantInvalid",
    "TenantStatus",
    "Told",
    "TraceIdInvalid",
    "Undecodable",
    "Unstamped",
    "cell",
    "check_standing",
    "document",
    "event_columns",
    "item",
    "joined",
    "json_piece",
    "last_stamp",
    "lines",
    "quarantined",
    "read_authorities",
    "read_quarantined",
    "read_trace_id",
    "receipt_of",
    "shown",
    "tells_again",
    "told_of_correlation",
    "told_of_event",
    "told_of_trace",
]
