"""A leaf is exactly the bytes that the contract's section 4 describes."""

import hashlib
import json
import re
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_schemas import (
    CONTEXT_DOMAIN,
    EVENT_KINDS,
    LEAF_BYTES_MAX,
    PAYLOAD_DOMAIN,
    QUARANTINE_DOMAIN,
    QUARANTINE_SALT_BYTES,
    SALT_BYTES,
    TELLING_KEYS,
    TENANT,
    VERSION,
    WRITER,
    ExecutionEvent,
    LeafInvalid,
    SchemaError,
    commitment,
    context_text,
    detail_leaf,
    event_leaf,
    leaf_bytes,
    numbered_leaf,
    payload_text,
    read_leaf,
    schema,
)

from tests.examples import examples
from tests.schemas.support import ERROR, START_NS, declared, mapped, shown, validator

CONTEXT = "sha256:" + "c" * 64
PAYLOAD = "sha256:" + "d" * 64
HOME = {"tenant": "acme", "writer": "receiver-0a1b2c3d"}
RECEIVED_NS = START_NS + 2_000_000
FULL = declared(
    ("intentproof.action", "stripe.refund.create"),
    ("intentproof.event_id", "evt_1"),
    ("intentproof.run_id", "run-1"),
    ("intentproof.stage", "approve"),
    ("intentproof.stream_id", "stream-1"),
    ("intentproof.sequence", 7),
    parent_span_id=b"\xab" * 8,
    dropped_attributes_count=1,
    dropped_events_count=2,
    dropped_links_count=3,
)


def leaf_of(event: ExecutionEvent, *, kind: str = "event") -> bytes:
    return event_leaf(
        event, kind=kind, received_ns=RECEIVED_NS, context=CONTEXT, payload=PAYLOAD, **HOME
    )


def changed(key: str, value: str) -> ExecutionEvent:
    fields: dict[str, Any] = {key: value}
    return mapped(FULL)._replace(**fields)


def members_of(event: ExecutionEvent) -> dict[str, str]:
    members: dict[str, str] = json.loads(leaf_of(event))
    return members


def test_a_full_leaf() -> None:
    """A leaf is the JCS text of one flat object with these keys and nothing else."""
    assert leaf_of(mapped(FULL), kind="conflict") == (
        b'{"action":"stripe.refund.create","completed_ns":"1795262400001500000",'
        b'"context":"' + CONTEXT.encode() + b'","dropped_attributes_count":"1",'
        b'"dropped_events_count":"2","dropped_links_count":"3","event_id":"evt_1",'
        b'"kind":"conflict","mapping_rule":"intentproof/1","parent_span_id":"abababababababab",'
        b'"payload":"' + PAYLOAD.encode() + b'","provenance":"declared",'
        b'"received_ns":"1795262400002000000","run_id":"run-1","sequence":"7",'
        b'"span_id":"00f067aa0ba902b7","stage":"approve","started_ns":"1795262400000000000",'
        b'"status":"ok","stream_id":"stream-1","tenant":"acme",'
        b'"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","v":"intentproof.leaf.v1",'
        b'"writer":"receiver-0a1b2c3d"}'
    )


def test_what_is_empty_or_zero_is_left_out() -> None:
    """A bare event's leaf has no key without a value and no zero count."""
    assert set(members_of(mapped(declared()))) == {
        *("v", "kind", "tenant", "writer", "event_id", "trace_id", "span_id", "action", "status"),
        *("started_ns", "completed_ns", "received_ns", "provenance", "mapping_rule"),
        *("context", "payload"),
    }


@pytest.mark.parametrize(
    "key",
    ["trace_id", "span_id", "parent_span_id", "run_id", "stage", "stream_id"],
)
def test_an_empty_value_is_left_out(key: str) -> None:
    """Whatever an event lacks, its leaf does not mention."""
    assert key not in members_of(changed(key, ""))


@pytest.mark.parametrize(
    ("key", "digits"), [("trace_id", 32), ("span_id", 16), ("parent_span_id", 16)]
)
def test_an_all_zero_id_is_left_out(key: str, digits: int) -> None:
    """An id of zeros alone is no id, from wherever the event came."""
    assert key not in members_of(changed(key, "0" * digits))


@pytest.mark.parametrize(("started", "completed"), [(0, 0), (5, 0), (-1, -(2**63)), (0, 2**63 - 1)])
def test_a_time_is_always_written_as_received(started: int, completed: int) -> None:
    """Zero and reversed times stand in the leaf as decimal text."""
    members = members_of(mapped(declared(start_ns=started, end_ns=completed)))
    assert (members["started_ns"], members["completed_ns"]) == (str(started), str(completed))


def test_the_time_of_receipt_is_always_written() -> None:
    """Even a clock that stands at zero is told."""
    raw = event_leaf(
        mapped(FULL), kind="event", received_ns=0, context=CONTEXT, payload=PAYLOAD, **HOME
    )
    assert read_leaf(raw)["received_ns"] == "0"


def test_nothing_that_may_name_a_person_stands_in_a_leaf() -> None:
    """Intent, correlation id, attributes, inputs, output and error are committed, not written."""
    secrets = ("in-tent", "corre-lation", "attri-bute", "in-put", "out-put", "er-ror", "ser-vice")
    span = declared(
        ("intentproof.correlation_id", secrets[1]),
        ("key", secrets[2]),
        ("intentproof.inputs", secrets[3]),
        ("intentproof.output", secrets[4]),
        status_code=ERROR,
        status_message=secrets[5],
        resource=(("service.name", secrets[6]),),
    )
    event = mapped(span)._replace(intent=secrets[0])
    raw = leaf_of(event).decode()
    assert all(secret in repr(event) for secret in secrets)
    assert not any(secret in raw for secret in secrets)


# --- Commitments


def test_domains_and_salts() -> None:
    """The domains end in a zero byte, and the salts have the contract's lengths."""
    assert CONTEXT_DOMAIN == b"intentproof.context.v1\x00"
    assert PAYLOAD_DOMAIN == b"intentproof.payload.v1\x00"
    assert QUARANTINE_DOMAIN == b"intentproof.quarantine.v1\x00"
    assert (SALT_BYTES, QUARANTINE_SALT_BYTES) == (16, 32)


@pytest.mark.parametrize(
    "span",
    [
        declared(),
        FULL,
        declared(("intentproof.correlation_id", "order-1"), ("a", 'b"\u20ac')),
        declared(("intentproof.inputs", '{"b":[1.0,"\\u00e9"],"a":1e20}'), status_code=ERROR),
        declared(("intentproof.output", "[null]"), status_code=ERROR, status_message="m"),
    ],
)
def test_commitments_can_be_made_again_with_json_and_sha256_alone(span: Any) -> None:
    """Each half is SHA-256 of domain, salt and the JCS text of what the event has of it."""
    event, document = mapped(span), shown(span)
    ours = {"intentproof.trace_id", "intentproof.span_id"}
    attributes = {k: v for k, v in document.pop("attributes").items() if k not in ours}
    halves: dict[str, dict[str, Any]] = {
        "context": {k: document[k] for k in ("correlationId", "intent") if k in document},
        "payload": {k: document[k] for k in ("error", "inputs", "output") if k in document},
    }
    if attributes:
        halves["context"]["attributes"] = attributes
    salt = bytes(range(16))
    for name, domain, text in (
        ("context", CONTEXT_DOMAIN, context_text(event)),
        ("payload", PAYLOAD_DOMAIN, payload_text(event)),
    ):
        raw = rfc8785.dumps(_doubles(halves[name]))
        again = hashlib.sha256(f"intentproof.{name}.v1\0".encode() + salt + raw).hexdigest()
        assert commitment(domain, salt, text) == f"sha256:{again}"


def _doubles(value: Any) -> Any:
    """JSON as a reader has it for whom every number is a double."""
    return json.loads(
        json.dumps(value), parse_int=lambda d: int(d) if abs(int(d)) < 2**53 else float(d)
    )


def test_a_half_has_a_member_iff_the_event_has_it() -> None:
    """What is absent is not committed to as empty or null."""
    bare = mapped(declared())
    assert context_text(bare) == b'{"intent":"Return captured funds"}'
    assert payload_text(bare) == b'{"inputs":{},"output":null}'
    failed = mapped(declared(status_code=ERROR))
    assert payload_text(failed) == b'{"error":{"message":"","name":"Error"},"inputs":{}}'


# --- Other kinds


def test_a_numbered_leaf() -> None:
    """Besides what every leaf has, only event id, trace id, stream id and sequence."""
    raw = numbered_leaf(mapped(FULL), received_ns=RECEIVED_NS, **HOME)
    assert json.loads(raw) == {
        "v": VERSION,
        "kind": "numbered",
        "event_id": "evt_1",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "stream_id": "stream-1",
        "sequence": "7",
        "received_ns": str(RECEIVED_NS),
        **HOME,
    }


@pytest.mark.parametrize("key", ["trace_id", "stream_id"])
def test_a_numbered_leaf_leaves_out_what_is_empty(key: str) -> None:
    """An event without trace or stream id has none in its numbered leaf either."""
    event = changed(key, "")
    assert key not in json.loads(numbered_leaf(event, received_ns=1, **HOME))


def test_a_detail_leaf() -> None:
    """Besides what every leaf has, only `detail`, the JCS text of an object."""
    raw = detail_leaf("gap", {"to_ns": "1", "reason": "x"}, received_ns=RECEIVED_NS, **HOME)
    assert json.loads(raw) == {
        "v": VERSION,
        "kind": "gap",
        "detail": '{"reason":"x","to_ns":"1"}',
        "received_ns": str(RECEIVED_NS),
        **HOME,
    }


def test_two_tellings_of_one_event_may_differ_in_these_keys() -> None:
    """Sameness ignores who told it when, its salts, its rule and its number."""
    assert {"writer", "received_ns", "context", "payload"} <= TELLING_KEYS
    assert {"mapping_rule", "stream_id", "sequence"} <= TELLING_KEYS
    assert len(TELLING_KEYS) == 7
    assert EVENT_KINDS == ("event", "conflict")


# --- Names


@pytest.mark.parametrize("tenant", ["a", "acme", "acme-eu-2", "a" * 63, "_system"])
def test_a_tenant(tenant: str) -> None:
    """Lower-case letters, digits and hyphens, a letter first; `_system` is ours."""
    assert TENANT.fullmatch(tenant)


@pytest.mark.parametrize("tenant", ["", "A", "1a", "-a", "a" * 64, "a_b", "_x", "a/b", "..", "a\n"])
def test_no_tenant(tenant: str) -> None:
    """What could be a path, a wildcard or a second spelling is no tenant."""
    assert not TENANT.fullmatch(tenant)


@pytest.mark.parametrize(
    ("writer", "right"),
    [
        ("receiver-0a1b2c3d", True),
        ("a-00000000", True),
        ("a" * 40 + "-00000000", True),
        ("a" * 41 + "-00000000", False),
        ("receiver-0A1B2C3D", False),
        ("receiver-0a1b2c3", False),
        ("-0a1b2c3d", False),
        ("receiver-0a1b2c3d\n", False),
    ],
)
def test_a_writer(writer: str, right: bool) -> None:  # noqa: FBT001 - a table
    """A name and eight hex digits."""
    assert bool(WRITER.fullmatch(writer)) is right


# --- Writing and reading


def test_a_leaf_of_32_kib_fits_and_one_byte_more_does_not() -> None:
    """The limit is 32 KiB, for the writer and for the reader."""
    empty = leaf_bytes({**HOME, "v": VERSION, "kind": "k", "received_ns": "1", "detail": ""})
    room = LEAF_BYTES_MAX - len(empty)
    members = {**HOME, "v": VERSION, "kind": "k", "received_ns": "1", "detail": "x" * room}
    raw = leaf_bytes(members)
    assert len(raw) == LEAF_BYTES_MAX == 32 * 1024
    assert read_leaf(raw) == members
    with pytest.raises(LeafInvalid):
        leaf_bytes({**members, "detail": "x" * (room + 1)})
    with pytest.raises(LeafInvalid):
        read_leaf(raw[:-2] + b'x"}')


def test_a_leaf_is_measured_in_bytes() -> None:
    """Characters of several bytes, and those that JSON escapes, count in full."""
    for letter in ("\u20ac", "\x01"):
        with pytest.raises(LeafInvalid):
            detail_leaf("gap", {"message": letter * 11_000}, received_ns=1, **HOME)


def test_text_that_utf_8_cannot_write_is_no_leaf() -> None:
    """A lone surrogate raises one of this room's errors, not the encoder's."""
    with pytest.raises(SchemaError):
        leaf_bytes({"v": "\ud800"})
    with pytest.raises(SchemaError):
        detail_leaf("gap", {"message": "\ud800"}, received_ns=1, **HOME)


def test_a_leaf_of_another_version_and_kind_is_read() -> None:
    """A reader hashes and reports what it does not know."""
    members = {**HOME, "v": "intentproof.leaf.v9", "kind": "new", "received_ns": "1", "x": "\u00e9"}
    assert read_leaf(rfc8785.dumps(members)) == members


_LEAF = b'{"kind":"gap","received_ns":"1","tenant":"acme","v":"intentproof.leaf.v1","writer":"w"}'


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'"x"',
        b"null",
        b"{}",
        b"\xff",
        b"\xef\xbb\xbf" + _LEAF,
        _LEAF + b" ",
        _LEAF + b"\n",
        _LEAF[:-1],
        b" " + _LEAF,
        _LEAF.replace(b'"kind":"gap",', b""),
        _LEAF.replace(b'"received_ns":"1",', b""),
        _LEAF.replace(b'"tenant":"acme",', b""),
        _LEAF.replace(b'"v":"intentproof.leaf.v1",', b""),
        _LEAF.replace(b',"writer":"w"', b""),
        _LEAF.replace(b'"1"', b"1"),
        _LEAF.replace(b'"1"', b"null"),
        _LEAF.replace(b'"1"', b'["1"]'),
        _LEAF.replace(b'"1"', b'{"a":"1"}'),
        _LEAF.replace(b'"gap"', b'"\\u0067ap"'),
        _LEAF.replace(b'"gap"', b'"\\/"'),
        _LEAF.replace(b'"gap"', b'"\\ud800"'),
        _LEAF.replace(b'"gap"', b'"\xed\xa0\x80"'),
        _LEAF.replace(b'{"kind":"gap"', b'{"kind":"a","kind":"gap"'),
        _LEAF.replace(b'{"kind":"gap",', b"{").replace(b'"w"}', b'"w","kind":"gap"}'),
        b"[" * 20_000,
        b'{"a":' * 6_000,
    ],
    ids=repr,
)
def test_what_is_not_a_leaf_is_refused(raw: bytes) -> None:
    """Two spellings of one leaf do not exist: all but the canonical bytes are refused."""
    with pytest.raises(LeafInvalid):
        read_leaf(raw)


def test_the_leaf_that_the_refusals_begin_from_is_one() -> None:
    """Each refused leaf is one change away from this one."""
    assert read_leaf(_LEAF)["kind"] == "gap"


@settings(max_examples=examples(500), deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=30).map(str.encode))
def test_any_bytes_are_a_leaf_or_refused(raw: bytes) -> None:
    """Reading never raises anything foreign."""
    with pytest.raises(LeafInvalid):
        read_leaf(raw)


@settings(max_examples=examples(300), deadline=None)
@given(st.integers(0, len(_LEAF) - 1), st.integers(0, 7))
def test_a_flipped_bit_is_another_leaf_or_none(position: int, bit: int) -> None:
    """No change of a bit gives the same members."""
    changed = bytearray(_LEAF)
    changed[position] ^= 1 << bit
    try:
        members = read_leaf(bytes(changed))
    except LeafInvalid:
        return
    assert members != read_leaf(_LEAF)


_WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@settings(max_examples=examples(300), deadline=None)
@given(
    event=st.builds(
        mapped(FULL)._replace,
        action=_WORDS,
        event_id=_WORDS,
        run_id=_WORDS | st.just(""),
        stage=_WORDS | st.just(""),
        stream_id=_WORDS | st.just(""),
        sequence=st.integers(0, 2**63 - 1),
        started_ns=st.integers(-(2**63), 2**63 - 1),
        completed_ns=st.integers(-(2**63), 2**63 - 1),
        dropped_links_count=st.integers(0, 2**32 - 1),
        parent_span_id=st.sampled_from(["", "ab" * 8]),
        status=st.sampled_from(["ok", "error"]),
        provenance=st.sampled_from(["declared", "observed", "attested"]),
    ),
    kind=st.sampled_from(EVENT_KINDS),
)
def test_every_leaf_is_canonical_and_valid(event: ExecutionEvent, kind: str) -> None:
    """Whatever the event, its leaf equals the reference's bytes and passes its schema."""
    raw = leaf_of(event, kind=kind)
    members = read_leaf(raw)
    assert rfc8785.dumps(members) == raw
    validator("leaf.v1").validate(members)
    if event.sequence:
        numbered = read_leaf(numbered_leaf(event, received_ns=RECEIVED_NS, **HOME))
        validator("leaf.v1").validate(numbered)


# --- The leaf's schema


def _without(leaf: dict[str, str], *keys: str) -> dict[str, str]:
    return {key: value for key, value in leaf.items() if key not in keys}


_EVENT = members_of(mapped(FULL))
_NUMBERED = json.loads(numbered_leaf(mapped(FULL), received_ns=1, **HOME))
_GAP = json.loads(detail_leaf("gap", {"reason": "x"}, received_ns=1, **HOME))


@pytest.mark.parametrize(
    "leaf",
    [
        _EVENT,
        _NUMBERED,
        _GAP,
        {**_EVENT, "tenant": "_system"},
        _without(_NUMBERED, "trace_id", "stream_id"),
        {**_GAP, "kind": "of-tomorrow"},
        {**_without(_GAP, "detail"), "kind": "of-tomorrow", "anything": "else"},
    ],
    ids=lambda leaf: str(leaf["kind"]),
)
def test_the_schema_takes_a_leaf(leaf: dict[str, str]) -> None:
    """Leaves of every kind pass, and of a kind that nobody knows yet."""
    validator("leaf.v1").validate(leaf)


@pytest.mark.parametrize(
    "leaf",
    [
        *(_without(_EVENT, key) for key in ("v", "kind", "tenant", "writer", "received_ns")),
        *(_without(_EVENT, key) for key in ("event_id", "action", "status", "started_ns")),
        *(_without(_EVENT, key) for key in ("completed_ns", "provenance", "mapping_rule")),
        *(_without(_EVENT, key) for key in ("context", "payload")),
        {**_EVENT, "detail": "{}"},
        {**_EVENT, "intent": "x"},
        {**_EVENT, "stage": ""},
        {**_EVENT, "dropped_links_count": "0"},
        {**_EVENT, "parent_span_id": "0" * 16},
        {**_EVENT, "trace_id": "AB" * 16},
        {**_EVENT, "started_ns": "01"},
        {**_EVENT, "started_ns": "-0"},
        {**_EVENT, "started_ns": 1},
        {**_EVENT, "context": "sha256:" + "C" * 64},
        {**_EVENT, "provenance": "sworn"},
        {**_EVENT, "status": "unset"},
        {**_EVENT, "tenant": "Acme"},
        {**_EVENT, "writer": "receiver"},
        {**_EVENT, "v": "intentproof.leaf.v2"},
        {**_NUMBERED, "span_id": "ab" * 8},
        _without(_NUMBERED, "sequence"),
        _without(_NUMBERED, "event_id"),
        {**_NUMBERED, "sequence": "0"},
        {**_GAP, "event_id": "x"},
        _without(_GAP, "detail"),
    ],
    ids=lambda leaf: hashlib.sha256(repr(leaf).encode()).hexdigest()[:6],
)
def test_the_schema_refuses(leaf: dict[str, Any]) -> None:
    """A key too few or too many, or a value in another spelling, is no leaf."""
    assert not validator("leaf.v1").is_valid(leaf)


def test_the_schema_knows_the_keys_of_an_event_leaf() -> None:
    """A full event leaf has every key that the schema names but `detail`."""
    assert set(schema("leaf.v1")["properties"]) == {*_EVENT, "detail"}


def test_the_schema_and_the_code_agree_on_names() -> None:
    """Tenant and writer have one pattern each."""
    properties = schema("leaf.v1")["properties"]
    for key, pattern in (("tenant", TENANT), ("writer", WRITER)):
        for text in ("_system", "acme", "receiver-0a1b2c3d", "a" * 63, "a" * 64, "A", "", "a-b"):
            found = re.search(properties[key]["pattern"], text) is not None
            assert found is (pattern.fullmatch(text) is not None), (key, text)
