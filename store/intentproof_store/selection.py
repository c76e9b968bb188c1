"""What an order to erase or hold is about: leaves of events, found exactly. Reads only.

An event is found with its conflicts and duplicates, in every log of the tenant: they tell of the
same thing, and what is erased of the one must not stay in the other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa
from intentproof_schemas import canonical_text

from .layout import Layout
from .ranges import Ranges
from .reader import Reader

_OTHER = "intentproof.other"
_ROWS_AT_ONCE = 10_000
_LOOKED_FOR_MAX = 1_000  # span ids, each in every file of the quarantine
_OF_EVENTS = "tenant = ? AND kind IN ('event', 'conflict')"


@dataclass
class Found:
    """What was found in one log: which leaves, and how many of them are what."""

    indexes: list[int] = field(default_factory=list)
    events: int = 0
    conflicts: int = 0
    quarantined: int = 0
    erased: int = 0

    @property
    def ranges(self) -> Ranges:
        """The leaves that are found and not erased."""
        return Ranges.of_indexes(self.indexes)


Selection = dict[str, Found]
"""What was found, by writer."""


def ids_of_event(reader: Reader, tenant: str, event_id: str) -> list[str]:
    """The event's own id, if any leaf has it."""
    query = f"SELECT 1 FROM leaves WHERE {_OF_EVENTS} AND event_id = ? LIMIT 1"  # noqa: S608 - our own texts
    return [event_id] if reader.rows(query, [tenant, event_id]) else []


def ids_of_correlation(reader: Reader, tenant: str, correlation_id: str) -> list[str]:
    """The ids of all events that were ever told with this correlation id."""
    query = f"SELECT DISTINCT event_id FROM leaves WHERE {_OF_EVENTS} AND correlation_id = ?"  # noqa: S608
    return [row["event_id"] for row in reader.rows(query, [tenant, correlation_id])]


def ids_of_attribute(reader: Reader, tenant: str, key: str, value: str) -> list[str]:
    """The ids of all events with an attribute that is this text, or whose JCS text is."""
    quoted = canonical_text(key).decode()
    query = (
        f"SELECT event_id, attributes FROM leaves WHERE {_OF_EVENTS} "  # noqa: S608
        "AND (contains(attributes, ?) OR contains(attributes, ?))"
    )
    found: dict[str, None] = {}
    with reader.cursor() as cursor:
        cursor.execute(query, [tenant, f"{quoted}:", f'"{_OTHER}":'])
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            for event_id, attributes in rows:
                if value in _texts_of(attributes, key):
                    found[event_id] = None
    return list(found)


def _texts_of(attributes: str, key: str) -> Iterator[str]:
    """The values under a key, as texts: of the attributes, and of those set apart for their key."""
    members = orjson.loads(attributes)
    other = members.get(_OTHER)
    apart = _object(other) if isinstance(other, str) else {}
    for each in (members, apart):
        if key in each:
            one = each[key]
            yield one if isinstance(one, str) else canonical_text(one).decode()


def _object(text: str) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def select_events(
    reader: Reader, tenant: str, ids: Sequence[str], *, context: bool, erased: bool = False
) -> Selection:
    """Every event and conflict with one of the ids, by log.

    `context` asks for the context beside the payload; a leaf that lacks all that is asked for is
    counted as erased, and is named only if `erased`.
    """
    columns = "writer, log_index, kind, context_salt IS NULL, payload_salt IS NULL"
    query = f"SELECT {columns} FROM leaves WHERE {_OF_EVENTS} AND event_id "  # noqa: S608
    found: Selection = {}
    with reader.cursor() as cursor:
        if len(ids) == 1:  # of which a filter of the file tells where it may be
            cursor.execute(f"{query} = ?", [tenant, ids[0]])
        else:
            cursor.register("wanted", pa.table({"id": pa.array(ids, pa.string())}))
            cursor.execute(f"{query} IN (SELECT id FROM wanted)", [tenant])  # noqa: S608
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            for writer, index, kind, no_context, no_payload in rows:
                log = found.setdefault(writer, Found())
                gone = no_payload and (no_context or not context)
                log.erased += gone
                if gone and not erased:
                    continue
                log.indexes.append(index)
                log.events += kind == "event"
                log.conflicts += kind == "conflict"
    return found


def quarantined_with(
    reader: Reader, layout: Layout, tenant: str, ids: Sequence[str]
) -> list[str] | None:
    """Names of quarantined files that hold the span id of one of these events; None: too many.

    Bytes that were set aside and taken later stand there still. What they mean is not looked at: a
    child names its parent's id too, so that somebody has to look before they go.
    """
    if len(ids) > _LOOKED_FOR_MAX:
        return None
    with reader.cursor() as cursor:
        cursor.register("wanted", pa.table({"id": pa.array(ids, pa.string())}))
        spans = cursor.execute(
            f"SELECT DISTINCT span_id FROM leaves WHERE {_OF_EVENTS} AND span_id IS NOT NULL "  # noqa: S608
            "AND event_id IN (SELECT id FROM wanted)",
            [tenant],
        ).fetchall()
    needles = [needle for (span,) in spans for needle in (bytes.fromhex(span), span.encode())]
    rows = reader.rows("SELECT DISTINCT file FROM quarantine WHERE tenant = ?", [tenant])
    found = []
    for name in sorted(row["file"] for row in rows):
        path = layout.quarantine(tenant) / name
        raw = path.read_bytes() if path.is_file() else b""
        lowered = raw.lower()
        if any(needle in raw or needle in lowered for needle in needles):
            found.append(name)
    return found


def select_quarantined(reader: Reader, tenant: str, names: Sequence[str]) -> Selection:
    """The quarantine leaves that commit to these bytes, by log. Names are hex SHA-256."""
    found: Selection = {}
    for name in dict.fromkeys(names):
        rows = reader.rows(
            "SELECT writer, log_index FROM quarantine WHERE tenant = ? AND sha256 = ?",
            [tenant, f"sha256:{name}"],
        )
        for row in rows:
            log = found.setdefault(row["writer"], Found())
            log.indexes.append(row["log_index"])
            log.quarantined += 1
    return found
