"""Does every column of a row follow from its leaf and its commitments? Pure.

Used by the verifier over sealed segments and by recovery over hot frames. `check_row` is the
specification, one row at a time, in words. `check_batch` gives the same answer faster: it rebuilds
each leaf from the columns and compares bytes; whatever it cannot vouch for goes to `check_row`.
A test feeds both the same altered rows.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from intentproof_schemas import (
    CONTEXT_DOMAIN,
    EVENT_KINDS,
    PAYLOAD_DOMAIN,
    SALT_BYTES,
    VERSION,
    CanonicalError,
    ExecutionEvent,
    LeafInvalid,
    commitment,
    completed_us,
    context_text,
    duration_ms,
    microseconds,
    payload_text,
    read_leaf,
)

from .columns import HALVES
from .fastcheck import unvouched_rows
from .fromrow import event_of_row
from .merkle import leaf_hashes
from .servicename import service_name

_TEXT_KEYS = (
    "kind",
    "writer",
    "event_id",
    "trace_id",
    "span_id",
    "parent_span_id",
    "action",
    "status",
    "provenance",
    "mapping_rule",
    "run_id",
    "stage",
    "stream_id",
    "detail",
)
_NUMBER_KEYS = (
    "started_ns",
    "completed_ns",
    "received_ns",
    "sequence",
    "dropped_attributes_count",
    "dropped_events_count",
    "dropped_links_count",
)
_LEAF_KEYS = frozenset((*_TEXT_KEYS, *_NUMBER_KEYS, "v", "tenant", "context", "payload"))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CONTEXT_COLUMNS, _PAYLOAD_COLUMNS = HALVES["context"], HALVES["payload"]


@dataclass(frozen=True)
class RowProblem:
    """One contradiction: a stable code, words, and where it stands in the log."""

    code: str
    message: str
    log_index: int


@dataclass(frozen=True)
class BatchReport:
    """What a batch of rows says of itself. `leaf_hashes` are in the order of the rows.

    `erased` has the log indexes of events of which a half, by its name, is no longer there.
    """

    leaf_hashes: list[bytes]
    problems: list[RowProblem]
    erased: dict[str, list[int]]
    unsupported: list[int]
    unknown_kinds: list[tuple[int, str]]


def check_batch(batch: pa.RecordBatch, *, tenant: str, writer: str) -> BatchReport:
    """Check every row of a batch that has the columns of a segment."""
    report = BatchReport(
        leaf_hashes(batch.column("leaf").to_pylist()), [], {half: [] for half in HALVES}, [], []
    )
    doubtful = unvouched_rows(batch, tenant=tenant, writer=writer)
    if len(doubtful) < batch.num_rows:
        _note_erased(report, batch, doubtful)
    if doubtful:
        rows = batch.take(pa.array(doubtful, pa.int64())).to_pylist()
        for row in rows:
            _note(report, row, tenant=tenant, writer=writer)
    return report


def _note_erased(report: BatchReport, batch: pa.RecordBatch, doubtful: list[int]) -> None:
    """What the rows that are vouched for, all of them events, have lost."""
    for half in HALVES:
        salts = batch.column(f"{half}_salt")
        if salts.null_count:
            gone = salts.is_null().to_numpy(zero_copy_only=False).copy()
            gone[doubtful] = False
            indexes = pc.fill_null(batch.column("log_index").filter(pa.array(gone)), -1)
            report.erased[half] += indexes.to_pylist()


def _note(report: BatchReport, row: dict[str, Any], *, tenant: str, writer: str) -> None:
    index = row["log_index"] if row["log_index"] is not None else -1
    try:
        leaf = read_leaf(row["leaf"] or b"")
    except LeafInvalid as error:
        report.problems.append(RowProblem("leaf_invalid", str(error), index))
        return
    if leaf["v"] != VERSION:
        report.unsupported.append(index)
        return
    if leaf["kind"] not in _KNOWN_KINDS:
        report.unknown_kinds.append((index, leaf["kind"]))
    for code, message in check_row(row, leaf, tenant=tenant, writer=writer):
        report.problems.append(RowProblem(code, message, index))
    if leaf["kind"] in EVENT_KINDS:
        for half in HALVES:
            if row[f"{half}_salt"] is None:
                report.erased[half].append(index)


_KNOWN_KINDS = frozenset(
    (
        *EVENT_KINDS,
        "numbered",
        "genesis",
        "heartbeat",
        "gap",
        "quarantine",
        "erasure",
        "retention",
        "hold",
        "key-rotation",
        "writer-added",
        "writer-retired",
    )
)


def check_row(
    row: dict[str, Any], leaf: dict[str, str], *, tenant: str, writer: str
) -> Iterator[tuple[str, str]]:
    """What contradicts in a row of a known leaf version, as (code, words).

    1. The leaf belongs to this tenant and writer.
    2. Every column that stands in the leaf says the same.
    3. The derived times follow from the leaf's.
    4. An event's committed members fit their commitments, or are wholly absent.
    5. Any other kind has none.
    """
    if leaf["tenant"] != tenant or leaf["writer"] != writer:  # (1)
        yield "leaf_misplaced", f"the leaf is of {leaf['tenant']}/{leaf['writer']}"
    unknown = leaf.keys() - _LEAF_KEYS
    if unknown:
        yield "leaf_invalid", f"the leaf has unknown keys {', '.join(sorted(unknown))}"
    for key in _TEXT_KEYS:  # (2)
        if row[key] != leaf.get(key):
            yield "column_differs", f"column {key} is not what the leaf says"
    for key in _NUMBER_KEYS:
        shown = None if row[key] is None else str(row[key])
        if shown != leaf.get(key):
            yield "column_differs", f"column {key} is not what the leaf says"
    try:  # (3)
        derived = _derived(leaf)
    except ValueError:
        yield "leaf_invalid", "the leaf's times are no numbers"
        return
    for key, expected in derived.items():
        if _plain(row[key]) != expected:
            yield "column_differs", f"column {key} does not follow from the leaf"
    if leaf["kind"] in EVENT_KINDS:  # (4)
        yield from _check_not_empty(row)
        yield from _check_context(row, leaf)
        yield from _check_payload(row, leaf)
        return
    present = [  # (5)
        key
        for key in (*_CONTEXT_COLUMNS, *_PAYLOAD_COLUMNS, "context_salt", "payload_salt")
        if row[key] is not None
    ]
    if present:
        yield "column_differs", f"a {leaf['kind']} leaf has no {', '.join(present)}"


def _check_not_empty(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key in (*_CONTEXT_COLUMNS, *_PAYLOAD_COLUMNS):
        if row[key] == "":
            yield "column_differs", f"column {key} is empty, and absent is null"


def _plain(value: Any) -> Any:
    """Timestamps as Unix microseconds, everything else as it is."""
    if isinstance(value, datetime):
        return (value - _EPOCH) // timedelta(microseconds=1)
    return value


def _derived(leaf: dict[str, str]) -> dict[str, Any]:
    derived: dict[str, Any] = {
        "received_at": microseconds(int(leaf["received_ns"])),
        "started_at": None,
        "completed_at": None,
        "duration_ms": None,
    }
    if "started_ns" in leaf and "completed_ns" in leaf:
        started, completed = int(leaf["started_ns"]), int(leaf["completed_ns"])
        derived["started_at"] = microseconds(started)
        derived["completed_at"] = completed_us(started, completed)
        derived["duration_ms"] = duration_ms(started, completed)
    return derived


def _check_context(row: dict[str, Any], leaf: dict[str, str]) -> Iterator[tuple[str, str]]:
    salt = row["context_salt"]
    if salt is None:
        yield from _check_absent(row, "context", _CONTEXT_COLUMNS)
        return
    event = _event_of(row)
    attributes = row["attributes"]
    if attributes is not None and not isinstance(_json(attributes), dict):
        yield "column_differs", "column attributes is not a JSON object"
    elif (
        event is None
        or row["intent"] is None
        or len(salt) != SALT_BYTES
        or commitment(CONTEXT_DOMAIN, salt, context_text(event)) != leaf.get("context")
    ):
        yield "commitment_differs", "the context does not fit its commitment"
    elif row["service_name"] != service_name(attributes or ""):
        yield "column_differs", "column service_name is not what the attributes say"


def _check_payload(row: dict[str, Any], leaf: dict[str, str]) -> Iterator[tuple[str, str]]:
    salt = row["payload_salt"]
    if salt is None:
        yield from _check_absent(row, "payload", _PAYLOAD_COLUMNS)
        return
    event = _event_of(row)
    broken = [
        key for key in _PAYLOAD_COLUMNS if row[key] is not None and _json(row[key]) is _NOT_JSON
    ]
    if broken:
        yield "column_differs", f"column {broken[0]} is not JSON"
    elif (
        event is None
        or row["inputs"] is None
        or len(salt) != SALT_BYTES
        or commitment(PAYLOAD_DOMAIN, salt, payload_text(event)) != leaf.get("payload")
    ):
        yield "commitment_differs", "the payload does not fit its commitment"


def _check_absent(
    row: dict[str, Any], member: str, columns: Sequence[str]
) -> Iterator[tuple[str, str]]:
    left = [key for key in columns if row[key] is not None]
    if left:
        yield "commitment_differs", f"{', '.join(left)} without the salt of the {member}"


_NOT_JSON = object()


def _json(text: str) -> Any:
    """The JSON value of a text, however large its numbers; `_NOT_JSON` where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NOT_JSON


def _event_of(row: dict[str, Any]) -> ExecutionEvent | None:
    """The event that a row holds, as far as its members are there."""
    try:
        return event_of_row(row)
    except (CanonicalError, TypeError, ValueError):
        return None
