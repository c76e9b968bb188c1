"""What is in quarantine, for those who look at it again: its leaves, its bytes, what became of it.

Reads only. The bytes are given out where they are those that a leaf commits to.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intentproof_schemas import (
    QUARANTINE_DOMAIN,
    QUARANTINE_SALT_BYTES,
    ExecutionEvent,
    commitment,
    timestamp,
)

from .errors import QuarantineDamaged
from .files import read_regular
from .layout import Layout, quarantine_file
from .lookups import Told
from .reader import Reader

_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
# What may differ between two tellings of one event (contract §4) and is not in its members.
_NOT_COMPARED: dict[str, Any] = {"mapping_rule": "", "stream_id": "", "sequence": 0}
_CONTEXT = {"intent": "", "correlation_id": "", "attributes": ""}


@dataclass(frozen=True)
class Quarantined:
    """A quarantine leaf: where it stands in which log, and what it says."""

    tenant: str
    writer: str
    log_index: int
    received_at: str
    reason: str
    size: int
    sha256: str

    @property
    def id(self) -> str:
        """The name of its file, by which people call it."""
        return quarantine_file(self.sha256)


def quarantined(reader: Reader, tenant: str | None = None) -> list[Quarantined]:
    """Everything in quarantine, of one tenant or of all, in the order of receipt."""
    condition = "" if tenant is None else "WHERE tenant = ?"
    rows = reader.rows(
        "SELECT tenant, writer, log_index, epoch_us(received_at) AS received_us, "  # noqa: S608 - our own texts
        f"coalesce(reason, '') AS reason, coalesce(size, -1) AS size, sha256 FROM quarantine "
        f"{condition} ORDER BY received_us, tenant, writer, log_index",
        [] if tenant is None else [tenant],
    )
    return [
        Quarantined(
            row["tenant"],
            row["writer"],
            row["log_index"],
            timestamp(row["received_us"]),
            row["reason"],
            row["size"],
            row["sha256"],
        )
        for row in rows
        if _SHA256.fullmatch(row["sha256"] or "")
    ]


def read_quarantined(store: Path, item: Quarantined) -> bytes:
    """The bytes that were set aside. Raises QuarantineDamaged where they are not there, or others.

    Blocks on the disk.
    """
    path = Layout(store).quarantine(item.tenant) / item.id
    try:
        content = read_regular(path)
    except FileNotFoundError as error:
        raise QuarantineDamaged(f"its file is missing, or was erased: {path}") from error
    except OSError as error:
        raise QuarantineDamaged(f"its file cannot be read: {path}: {error.strerror}") from error
    salt, raw = content[:QUARANTINE_SALT_BYTES], content[QUARANTINE_SALT_BYTES:]
    if commitment(QUARANTINE_DOMAIN, salt, raw) != item.sha256:
        raise QuarantineDamaged(f"its bytes are not those that were logged: {path}")
    return raw


def tells_again(event: ExecutionEvent, known: Sequence[Told]) -> bool:
    """Whether one of these, which have the event's id, is the same event (contract §4).

    What was erased of it is not compared.
    """
    return any(_core(event, told) == _core(told.event, told) for told in known)


def _core(event: ExecutionEvent, told: Told) -> ExecutionEvent:
    changed = dict(_NOT_COMPARED)
    if told.context_erased:
        changed |= _CONTEXT
    if told.payload_erased:
        changed |= {"inputs": "", "output": None, "error": None}
    return event._replace(**changed)
