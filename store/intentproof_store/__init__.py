"""Where events become durable, provable and queryable: the ledger, the log, SQL and `verify`."""

from .errors import (
    EventsInvalid,
    FrameInvalid,
    HomeInvalid,
    LedgerBehind,
    LedgerLocked,
    NoteInvalid,
    ProofInvalid,
    QueryFailed,
    QueryRefused,
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
from .present import document, item
from .quarantine import Undecodable
from .reader import Reader
from .settings import LedgerSettings
from .tenantlog import Appended
from .textcolumns import Piece, joined, json_piece

__all__ = [
    "EVENT_SCHEMA",
    "Appended",
    "EventsInvalid",
    "FrameInvalid",
    "HomeInvalid",
    "Layout",
    "Ledger",
    "LedgerBehind",
    "LedgerLocked",
    "LedgerSettings",
    "LedgerStatus",
    "NoteInvalid",
    "Piece",
    "ProofInvalid",
    "QueryFailed",
    "QueryRefused",
    "Reader",
    "StoreBusy",
    "StoreError",
    "StoreMissing",
    "StoreUnavailable",
    "TenantInvalid",
    "TenantStatus",
    "Told",
    "TraceIdInvalid",
    "Undecodable",
    "document",
    "event_columns",
    "item",
    "joined",
    "json_piece",
    "read_trace_id",
    "told_of_correlation",
    "told_of_event",
    "told_of_trace",
]
