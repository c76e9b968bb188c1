"""Where events become durable, provable and queryable: the ledger, the log, SQL and `verify`."""

from .errors import (
    FrameInvalid,
    HomeInvalid,
    LedgerBehind,
    LedgerLocked,
    NoteInvalid,
    ProofInvalid,
    QueryFailed,
    QueryRefused,
    StoreError,
    StoreUnavailable,
    TenantInvalid,
)
from .layout import Layout
from .ledger import Ledger, LedgerStatus, TenantStatus
from .quarantine import Undecodable
from .settings import LedgerSettings
from .tenantlog import Appended

__all__ = [
    "Appended",
    "FrameInvalid",
    "HomeInvalid",
    "Layout",
    "Ledger",
    "LedgerBehind",
    "LedgerLocked",
    "LedgerSettings",
    "LedgerStatus",
    "NoteInvalid",
    "ProofInvalid",
    "QueryFailed",
    "QueryRefused",
    "StoreError",
    "StoreUnavailable",
    "TenantInvalid",
    "TenantStatus",
    "Undecodable",
]
