"""What is known of a trace or a correlation id: its events, and what contradicts them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from intentproof_schemas import ExecutionEvent, canonical_text, event_hash, event_text

from .errors import TraceIdInvalid
from .fromrow import event_of_row
from .layout import date_of
from .period import Period
from .reader import Reader

_TRACE = re.compile(r"[0-9a-f]{32}")
_IDS_AT_ONCE = 500
# Everything but the texts that only SQL needs; times come as integers, in no time zone.
_WANTED = (
    "kind, writer, log_index, event_id, trace_id, span_id, parent_span_id, action, status, "
    "started_ns, completed_ns, received_ns, provenance, mapping_rule, intent, correlation_id, "
    "attributes, service_name, inputs, output, error, run_id, stage, stream_id, sequence, "
    "dropped_attributes_count, dropped_events_count, dropped_links_count, "
    "context_salt IS NULL AS context_erased, payload_salt IS NULL AS payload_erased, "
    "is_event, disputed"
)


@dataclass(frozen=True)
class Told:
    """An event or a conflict as the store has it. `is_event` says which of the two it is here."""

    event: ExecutionEvent
    service_name: str
    writer: str
    log_index: int
    received_ns: int
    is_event: bool
    disputed: bool
    context_erased: bool
    payload_erased: bool

    @property
    def erased(self) -> bool:
        """Whether either half is gone."""
        return self.context_erased or self.payload_erased

    def text(self) -> bytes:
        """RFC 8785 text of the event as shown to the outside, without members that were erased."""
        if not self.erased:
            return event_text(self.event)
        event = self.event
        if self.payload_erased:
            event = event._replace(inputs="null", output=None, error=None)
        shown = event_text(event)
        inputs = b',"inputs":' + event.inputs.encode()
        intent = b',"intent":' + canonical_text(event.intent)
        # Inputs and intent stand side by side. Behind them are only texts if there is no output,
        # before them, without attributes, no such key: so that this finds the event's own members.
        at = (shown.rindex if self.payload_erased else shown.index)(inputs + intent)
        kept = (b"" if self.payload_erased else inputs) + (b"" if self.context_erased else intent)
        return shown[:at] + kept + shown[at + len(inputs + intent) :]

    def hash(self) -> str | None:
        """The event's hash, None where a half of it is gone."""
        return None if self.erased else event_hash(self.event)


def read_trace_id(given: str) -> str:
    """A trace id as people paste it: any case, spaces around it. Raises TraceIdInvalid."""
    trace_id = given.strip().lower()
    if not _TRACE.fullmatch(trace_id) or not trace_id.strip("0"):
        raise TraceIdInvalid(given)
    return trace_id


def told_of_trace(reader: Reader, tenant: str, trace_id: str) -> list[Told]:
    """The events and conflicts of a trace, by start, writer and log index."""
    return _told(reader, "tenant = ? AND trace_id = ?", [tenant, trace_id])


def told_of_correlation(reader: Reader, tenant: str, correlation_id: str) -> list[Told]:
    """The events and conflicts with a correlation id, by start, writer and log index."""
    # What they are to other writers' events takes a comparison of all that have the same event
    # id. Asked for by id it is a look-up; by correlation id it would be one over everything.
    found = reader.rows(
        "SELECT DISTINCT event_id FROM leaves WHERE tenant = ? AND correlation_id = ? "
        "AND kind IN ('event', 'conflict')",
        [tenant, correlation_id],
    )
    ids = sorted(row["event_id"] for row in found)
    told: list[Told] = []
    for at in range(0, len(ids), _IDS_AT_ONCE):
        some = ids[at : at + _IDS_AT_ONCE]
        marks = ", ".join("?" * len(some))
        told += _told(
            reader,
            f"tenant = ? AND event_id IN ({marks}) AND correlation_id = ?",
            [tenant, *some, correlation_id],
        )
    return sorted(told, key=_order)


def told_of_event(reader: Reader, tenant: str, event_id: str) -> list[Told]:
    """The event of that id and its conflicts, by start, writer and log index."""
    return _told(reader, "tenant = ? AND event_id = ?", [tenant, event_id])


def told_of_period(reader: Reader, tenant: str, period: Period) -> Iterator[Told]:
    """The events and conflicts received within a period, by receipt, writer and log index.

    They come as they are asked for, one date of receipt after the other.
    """
    dates = (date_of(period.first_ns), date_of(period.end_ns - 1))
    found = reader.rows(
        "SELECT DISTINCT CAST(date AS VARCHAR) AS day FROM leaves "
        "WHERE tenant = ? AND date BETWEEN CAST(? AS DATE) AND CAST(? AS DATE) ORDER BY day",
        [tenant, *dates],
    )
    for row in found:
        yield from map(
            _told_of_row,
            reader.stream(
                f"SELECT {_WANTED} FROM ours.told WHERE (is_event OR is_conflict) AND tenant = ? "  # noqa: S608 - our own texts
                "AND date = CAST(? AS DATE) AND received_ns >= ? AND received_ns < ? "
                "ORDER BY received_ns, writer, log_index",
                [tenant, row["day"], period.first_ns, period.end_ns],
            ),
        )


def _told(reader: Reader, condition: str, values: Sequence[Any]) -> list[Told]:
    rows = reader.rows(
        f"SELECT {_WANTED} FROM ours.told WHERE (is_event OR is_conflict) AND {condition}",  # noqa: S608 - our own texts
        values,
    )
    return sorted(map(_told_of_row, rows), key=_order)


def _told_of_row(row: dict[str, Any]) -> Told:
    return Told(
        event=event_of_row(row),
        service_name=row["service_name"] or "",
        writer=row["writer"],
        log_index=row["log_index"],
        received_ns=row["received_ns"],
        is_event=row["is_event"],
        disputed=row["disputed"],
        context_erased=row["context_erased"],
        payload_erased=row["payload_erased"],
    )


def _order(told: Told) -> tuple[int, str, int]:
    return told.event.started_ns, told.writer, told.log_index
