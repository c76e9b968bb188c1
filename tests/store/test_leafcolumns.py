"""Leaves and rows of whole batches are, byte for byte, those of their events one at a time."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from intentproof_schemas import (
    CONTEXT_DOMAIN,
    LEAF_BYTES_MAX,
    PAYLOAD_DOMAIN,
    ExecutionEvent,
    LeafInvalid,
    canonical,
    commitment,
    completed_us,
    context_text,
    duration_ms,
    event_leaf,
    microseconds,
    payload_text,
)
from intentproof_store import EVENT_SCHEMA, EventsInvalid, event_columns
from intentproof_store.columns import COLUMNS, SEGMENT_SCHEMA
from intentproof_store.fromrow import event_of_row
from intentproof_store.leafcolumns import event_texts
from intentproof_store.merkle import leaf_hash
from intentproof_store.rowcheck import check_batch
from intentproof_store.rows import RowMaker
from intentproof_store.servicename import service_name

from tests.store.support import NOON_NS, TENANT, WRITER, event

INT64 = st.integers(-(2**63), 2**63 - 1)
# What escapes, what JSON and our own marks are made of, one to four bytes of UTF-8.
ALPHABET = st.one_of(
    st.sampled_from('"\\\x00\x1f\n\x7f/{},:é\u2028\uffff\U0001f600a0'),
    st.characters(codec="utf-8"),
)
TEXTS = st.text(ALPHABET, max_size=8)
WORDS = st.one_of(st.sampled_from(["", "aa", "a", "aaa", "word"]), TEXTS)
IDS = st.one_of(
    st.sampled_from(["", "0" * 16, "0" * 32]), st.integers(1, 2**64).map("{:016x}".format)
)
COUNTS = st.sampled_from([0, 0, 1, 7, 2**63 - 1, -3])
VALUES = st.one_of(st.none(), st.booleans(), TEXTS, st.lists(TEXTS, max_size=2))
JSON = st.dictionaries(TEXTS, VALUES, max_size=3).map(lambda value: canonical(value).decode())
SERVICES = st.one_of(TEXTS, st.integers(0, 9), st.none(), st.booleans())
ATTRIBUTES = st.one_of(
    st.just(""),
    st.just('{"service.name":"refunds"}'),
    st.builds(
        lambda flat, name: canonical(flat | {"service.name": name}).decode(),
        st.dictionaries(st.sampled_from(["a", "service", "user.id", "z"]), TEXTS, max_size=3),
        SERVICES,
    ),
    st.dictionaries(st.sampled_from(["a", "b"]), TEXTS).map(lambda v: canonical(v).decode()),
)
EVENTS = st.builds(
    ExecutionEvent,
    event_id=WORDS.filter(bool),
    trace_id=IDS,
    span_id=IDS,
    parent_span_id=IDS,
    action=WORDS,
    status=st.sampled_from(["ok", "error"]),
    started_ns=INT64,
    completed_ns=INT64,
    provenance=WORDS,
    mapping_rule=WORDS,
    intent=WORDS,
    correlation_id=WORDS,
    attributes=ATTRIBUTES,
    inputs=JSON,
    output=st.one_of(st.none(), JSON, st.just("null")),
    error=st.one_of(st.none(), JSON),
    run_id=WORDS,
    stage=WORDS,
    stream_id=WORDS,
    sequence=COUNTS,
    dropped_attributes_count=COUNTS,
    dropped_events_count=COUNTS,
    dropped_links_count=COUNTS,
)
# Batches of one event again and again, too: what all rows share is written another way.
BATCHES = st.one_of(
    st.lists(EVENTS, min_size=1, max_size=6),
    st.builds(lambda one, rows: [one] * rows, EVENTS, st.integers(1, 3)),
)
KINDS = st.lists(st.sampled_from(["event", "conflict"]), min_size=6, max_size=6)


def normal(one: ExecutionEvent) -> ExecutionEvent:
    """The event with all-zero ids as absent as the leaf says they are."""
    trace_id, span_id, parent_span_id = (
        text if text.strip("0") else "" for text in (one.trace_id, one.span_id, one.parent_span_id)
    )
    return one._replace(trace_id=trace_id, span_id=span_id, parent_span_id=parent_span_id)


def made(events: Sequence[ExecutionEvent], kinds: Any = "event") -> tuple[RowMaker, pa.RecordBatch]:
    maker = RowMaker(TENANT, WRITER, NOON_NS + 123_456_789)
    columns = event_columns(events)
    maker.add_events(columns, event_texts(columns), kinds)
    return maker, maker.batch(7)


def expected_row(one: ExecutionEvent, kind: str, index: int, row: dict[str, Any]) -> dict[str, Any]:
    """A row as it follows from its event alone, given the salts that were drawn for it."""
    values = {name: getattr(one, name) or None for name in EVENT_SCHEMA.names}
    return values | {
        "log_index": index,
        "kind": kind,
        "writer": WRITER,
        "started_ns": one.started_ns,
        "completed_ns": one.completed_ns,
        "received_ns": NOON_NS + 123_456_789,
        "started_at": microseconds(one.started_ns),
        "completed_at": completed_us(one.started_ns, one.completed_ns),
        "received_at": microseconds(NOON_NS + 123_456_789),
        "duration_ms": duration_ms(one.started_ns, one.completed_ns),
        "service_name": service_name(one.attributes),
        "detail": None,
        "context_salt": row["context_salt"],
        "payload_salt": row["payload_salt"],
        "leaf": event_leaf(
            one,
            kind=kind,
            tenant=TENANT,
            writer=WRITER,
            received_ns=NOON_NS + 123_456_789,
            context=commitment(CONTEXT_DOMAIN, row["context_salt"], context_text(one)),
            payload=commitment(PAYLOAD_DOMAIN, row["payload_salt"], payload_text(one)),
        ),
    }


def plain_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows with times as Unix microseconds."""
    for name in ("started_at", "completed_at", "received_at"):
        at = batch.schema.get_field_index(name)
        batch = batch.set_column(at, name, batch.column(name).cast(pa.int64()))
    rows: list[dict[str, Any]] = batch.to_pylist()
    return rows


@given(BATCHES, KINDS)
@settings(deadline=None, max_examples=200)
def test_rows_are_those_of_their_events(batch: list[ExecutionEvent], kinds: list[str]) -> None:
    """Every column and the leaf are what one event alone gives; the judge agrees."""
    kinds = kinds[: len(batch)]
    same = kinds[0] if len(set(kinds)) == 1 else pa.array(kinds, pa.string())
    _, rows = made(batch, same)
    assert rows.schema.equals(SEGMENT_SCHEMA)
    shown = plain_rows(rows)
    for index, (one, kind, row) in enumerate(zip(batch, kinds, shown, strict=True)):
        assert row == expected_row(normal(one), kind, 7 + index, row)
    if all(one.action and one.provenance and one.mapping_rule and one.intent for one in batch):
        assert check_batch(rows, tenant=TENANT, writer=WRITER).problems == []
    salts = [row[name] for row in shown for name in ("context_salt", "payload_salt")]
    assert len(set(salts)) == 2 * len(batch)
    assert {len(salt) for salt in salts} == {16}


@given(BATCHES)
@settings(deadline=None, max_examples=200)
def test_committed_texts_are_those_of_their_events(batch: list[ExecutionEvent]) -> None:
    """Context and payload of each row are the canonical texts that the schemas write."""
    texts = event_texts(event_columns(batch))
    assert [text.encode() for text in texts.context.to_pylist()] == [*map(context_text, batch)]
    assert [text.encode() for text in texts.payload.to_pylist()] == [*map(payload_text, batch)]


@given(BATCHES, st.data())
@settings(deadline=None, max_examples=50)
def test_a_slice_is_written_as_itself(batch: list[ExecutionEvent], data: st.DataObject) -> None:
    """Events that stand in the middle of a larger batch give the same leaves as by themselves."""
    first = data.draw(st.integers(0, len(batch) - 1))
    whole = event_columns([event(1), *batch, event(2)])
    part = whole.slice(1 + first, len(batch) - first)
    texts, alone = event_texts(part), event_texts(event_columns(batch[first:]))
    assert texts.context.to_pylist() == alone.context.to_pylist()
    maker = RowMaker(TENANT, WRITER, NOON_NS)
    maker.add_events(part, texts, "event")
    shown = maker.batch(0)
    assert check_batch(shown, tenant=TENANT, writer=WRITER).leaf_hashes == [
        leaf_hash(leaf) for leaf in shown.column("leaf").to_pylist()
    ]
    assert shown.select(["event_id", "service_name"]).to_pylist() == [
        {"event_id": one.event_id, "service_name": service_name(one.attributes)}
        for one in batch[first:]
    ]


@given(st.lists(EVENTS, max_size=5))
@example([])
@settings(deadline=None, max_examples=200)
def test_columns_lose_nothing(batch: list[ExecutionEvent]) -> None:
    """Events come back from their columns as they were."""
    columns = event_columns(batch)
    assert columns.schema.equals(EVENT_SCHEMA)
    assert [event_of_row(row) for row in columns.to_pylist()] == [normal(one) for one in batch]


def test_event_columns_are_the_fields_of_an_event() -> None:
    """The columns are named and ordered as the event's fields, and all of them are in a segment."""
    assert tuple(EVENT_SCHEMA.names) == ExecutionEvent._fields
    assert set(EVENT_SCHEMA.names) <= set(COLUMNS)


@pytest.mark.parametrize(
    "changes",
    [
        {"intent": "\ud800"},
        {"inputs": '{"a":"\udfff"}'},
        {"event_id": "\ud800"},
        {"started_ns": 2**63},
        {"completed_ns": None},
        {"sequence": "one"},
    ],
    ids=str,
)
def test_what_no_column_can_hold_is_refused(changes: dict[str, Any]) -> None:
    """Lone surrogates, numbers beyond 64 bits, missing times and wrong types have one error."""
    with pytest.raises(EventsInvalid):
        event_columns([event(1), event(2, **changes)])


@pytest.mark.parametrize("spare", [0, 1])
def test_a_leaf_has_at_most_32_kib(spare: int) -> None:
    """One byte over the limit is LeafInvalid, however small the other leaves are."""
    _, rows = made([event(1)])
    room = LEAF_BYTES_MAX - len(rows.column("leaf")[0].as_py())
    action = event(1).action + "x" * (room + 1 - spare)
    if spare:
        _, rows = made([event(2), event(1, action=action)])
        assert len(rows.column("leaf")[1].as_py()) == LEAF_BYTES_MAX
    else:
        with pytest.raises(LeafInvalid, match=str(LEAF_BYTES_MAX + 1)):
            made([event(2), event(1, action=action)])


@pytest.mark.parametrize(
    "texts", [["aa", "a", "aaa"], ["aa", "aaa", "a"], ["a", "aa", ""]], ids=str
)
def test_texts_that_are_one_another_side_by_side_stay_where_they_are(texts: list[str]) -> None:
    """Rows whose texts together are those of equal rows keep each its own, in leaf and column."""
    batch = [event(n, action=text or "a", run_id=text) for n, text in enumerate(texts)]
    maker = RowMaker(TENANT, WRITER, NOON_NS)
    columns = event_columns(batch)
    maker.add_events(columns, event_texts(columns), "event")
    rows = maker.batch(0)
    assert rows.column("run_id").to_pylist() == [text or None for text in texts]
    assert check_batch(rows, tenant=TENANT, writer=WRITER).problems == []
