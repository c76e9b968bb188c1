"""Which spans become events, and what their texts, ids and times become (contract §2, §3)."""

import hashlib
import json
import math
import uuid
from typing import Any

import pytest
from intentproof_schemas import (
    KeyValues,
    canonical,
    default_event_id,
    duration_ms,
    event_hash,
    event_text,
    is_taken,
    map_span,
)

from tests.schemas.support import (
    BARE,
    BLANK,
    ERROR,
    SPAN_ID,
    START_NS,
    TEXTS,
    TRACE_ID,
    declared,
    mapped,
    nested,
    observed,
    refusal,
    shown,
)

INT_OR_TEXT = ("correlation_id", "event_id", "run_id", "stage")

# --- Which spans are taken


@pytest.mark.parametrize(
    "attributes",
    [
        (),
        (("http.request.method", "GET"),),
        (("intentproof.action", "a"), ("intentproof.inputs", "{}")),
        (("intentproof.action", 5), ("deep", nested(65))),
        (("gen_ai.operation.name", "chat"),),
        (("gen_ai.operation.name", ["execute_tool"]),),
        (("mcp.method.name", "tools/list"),),
        (("openinference.span.kind", "tool"),),
        (("openinference.span.kind", "LLM"),),
        (("traceloop.span.kind", "TOOL"),),
        (("traceloop.span.kind", "workflow"),),
    ],
    ids=repr,
)
def test_a_span_that_no_rule_takes_makes_no_event(attributes: Any) -> None:
    """Without an intent or a tool convention a span is not kept, whatever is wrong with it."""
    span = BARE._replace(attributes=attributes, trace_id=b"", start_ns=-(2**70))
    assert map_span(span) is None
    assert not is_taken(span)


@pytest.mark.parametrize("intent", ["", " ", BLANK, None, 5, True, 1.5, b"x", ["x"], KeyValues()])
def test_a_blank_or_mistyped_intent_is_refused(intent: Any) -> None:
    """An intent that is blank, absent in value or not text quarantines its span."""
    span = BARE._replace(attributes=(("intentproof.intent", intent),))
    assert refusal(span).field == "intentproof.intent"
    assert is_taken(span)


def test_a_blank_intent_is_refused_even_where_a_convention_would_take_the_span() -> None:
    """Who writes an intent has declared the span: a blank one is not replaced by a convention."""
    span = observed(("intentproof.intent", " "), ("gen_ai.tool.description", "Find"))
    assert refusal(span).reason == "blank_intent"


def test_an_annotated_span_is_declared() -> None:
    """An intent span's event is declared, by rule intentproof/1."""
    event = mapped(declared())
    assert (event.provenance, event.mapping_rule) == ("declared", "intentproof/1")


# --- Texts


@pytest.mark.parametrize(
    ("given_text", "kept_text"),
    [
        (" \t\r\nx\n\r\t ", "x"),
        ("a b", "a b"),
        ("\u00a0x\u00a0", "\u00a0x\u00a0"),
        ("\x0bx\x0c", "\x0bx\x0c"),
        ("\u2003x", "\u2003x"),
        ("e\u0301", "e\u0301"),
        ("\ud800x", "\ufffdx"),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("key", ["intentproof.intent", *TEXTS])
def test_texts_are_trimmed_of_four_characters(key: str, given_text: str, kept_text: str) -> None:
    """Tab, line feed, carriage return and space are stripped, no other white space is."""
    pairs = (("intentproof.intent", "i"), (key, given_text))
    event = mapped(BARE._replace(attributes=pairs if key in TEXTS else ((key, given_text),)))
    assert getattr(event, TEXTS.get(key, "intent")) == kept_text


@pytest.mark.parametrize("letter", ["a", "\u00e9", "\u20ac", "\U0001f600"])
@pytest.mark.parametrize(
    ("key", "limit"), [("intentproof.intent", 4096), *((key, 256) for key in TEXTS)]
)
def test_texts_have_a_limit_in_bytes(key: str, limit: int, letter: str) -> None:
    """A text of exactly the limit in UTF-8 is kept, one byte more is refused."""
    size = len(letter.encode())
    fits = letter * (limit // size) + "a" * (limit % size)
    others = () if key == "intentproof.intent" else (("intentproof.intent", "i"),)
    fitting = BARE._replace(attributes=(*others, (key, f" {fits} ")))
    assert getattr(mapped(fitting), TEXTS.get(key, "intent")) == fits
    wrong = refusal(BARE._replace(attributes=(*others, (key, fits + "a"))))
    assert (wrong.reason, wrong.field) == ("too_long", key)


@pytest.mark.parametrize("key", TEXTS)
@pytest.mark.parametrize("blank", ["", BLANK, None])
def test_a_blank_text_is_as_if_absent(key: str, blank: Any) -> None:
    """A blank value other than the intent leaves what an absent one leaves."""
    assert mapped(declared((key, blank))) == mapped(declared())


@pytest.mark.parametrize("value", [1.5, True, b"x", ["x"], KeyValues((("a", 1),)), math.nan])
@pytest.mark.parametrize("key", TEXTS)
def test_a_text_of_another_type_is_refused(key: str, value: Any) -> None:
    """A double, a boolean, bytes, an array or a map is no text."""
    wrong = refusal(declared((key, value)))
    assert (wrong.reason, wrong.field) == ("wrong_type", key)


@pytest.mark.parametrize("name", INT_OR_TEXT)
@pytest.mark.parametrize("value", [0, 4711, -(2**63), 2**63 - 1])
def test_an_int_counts_as_its_decimal_text(name: str, value: int) -> None:
    """Correlation, event and run ids and the stage may be ints, of any size that OTLP has."""
    assert getattr(mapped(declared((f"intentproof.{name}", value))), name) == str(value)


@pytest.mark.parametrize("key", ["intentproof.action", "intentproof.stream_id"])
def test_an_int_is_no_action_and_no_stream_id(key: str) -> None:
    """Where an int does not count as text it is a wrong type."""
    assert refusal(declared((key, 5))).reason == "wrong_type"


@pytest.mark.parametrize("key", [*TEXTS, "intentproof.sequence"])
def test_a_wrong_type_is_refused_on_an_observed_span_too(key: str) -> None:
    """A convention's span is held to the same table."""
    assert refusal(observed((key, [1]))).field == key


def test_the_action_defaults_to_the_span_s_name() -> None:
    """Without an action the event is named as the span is, trimmed."""
    assert mapped(declared(name=" refund ")).action == "refund"


@pytest.mark.parametrize("name", ["", BLANK])
def test_an_action_without_any_name_is_unnamed(name: str) -> None:
    """Neither an action nor a span name gives `unnamed`."""
    assert mapped(declared(("intentproof.action", " "), name=name)).action == "unnamed"


def test_a_long_span_name_is_cut_at_a_code_point() -> None:
    """What the span's name supplied is cut to the limit, never within a character."""
    assert mapped(declared(name="a" + "\u00e9" * 128)).action == "a" + "\u00e9" * 127
    assert mapped(declared(name="a" * 256)).action == "a" * 256


# --- Event id


def test_the_default_event_id_is_a_hash_of_the_span_s_ids() -> None:
    """A version-8 UUID of the first 16 bytes of SHA-256 over trace id and span id."""
    digest = bytearray(hashlib.sha256(TRACE_ID + SPAN_ID).digest()[:16])
    digest[6], digest[8] = 0x80 | digest[6] & 0x0F, 0x80 | digest[8] & 0x3F
    made = mapped(declared()).event_id
    assert made == str(uuid.UUID(bytes=bytes(digest))) == default_event_id(TRACE_ID, SPAN_ID)
    assert uuid.UUID(made).version == 8


def test_an_explicit_event_id_is_kept() -> None:
    """A producer may name its event, with any text or version of UUID."""
    for name in ("evt_1", "4BF92F35-77B3-4DA6-A3CE-929D0E0E4736"):
        assert mapped(declared(("intentproof.event_id", f" {name} "))).event_id == name


def test_a_span_s_own_version_8_uuid_may_be_explicit() -> None:
    """Writing the default out changes nothing."""
    own = default_event_id(TRACE_ID, SPAN_ID)
    assert mapped(declared(("intentproof.event_id", own))) == mapped(declared())


@pytest.mark.parametrize("change", [str, str.upper])
def test_another_span_s_version_8_uuid_is_refused(change: Any) -> None:
    """An id of the derived form that this span does not derive would impersonate another."""
    other = default_event_id(TRACE_ID, bytes(7) + b"\1")
    wrong = refusal(declared(("intentproof.event_id", change(other))))
    assert (wrong.reason, wrong.field) == ("foreign_event_id", "intentproof.event_id")


# --- Stream


@pytest.mark.parametrize("value", [1, 42, 2**63 - 1])
def test_a_sequence_is_kept(value: int) -> None:
    """A running number starts at 1 and may be as large as OTLP's ints."""
    assert mapped(declared(("intentproof.sequence", value))).sequence == value


@pytest.mark.parametrize("value", [0, -1, 2**63, "1", "\u00a0", True, 1.0, b"1", [1], KeyValues()])
def test_a_sequence_that_is_no_positive_int_is_refused(value: Any) -> None:
    """Zero, a negative number, text or any other type is no running number."""
    assert refusal(declared(("intentproof.sequence", value))).field == "intentproof.sequence"


@pytest.mark.parametrize("value", [None, "", BLANK])
def test_a_blank_sequence_is_as_if_absent(value: Any) -> None:
    """A sequence without a value is none."""
    assert mapped(declared(("intentproof.sequence", value))).sequence == 0


# --- Times


@pytest.mark.parametrize(
    ("start_ns", "end_ns", "started", "completed", "duration"),
    [
        (0, 0, "1970-01-01T00:00:00.000000Z", "1970-01-01T00:00:00.000000Z", 0),
        (999, 1999, "1970-01-01T00:00:00.000000Z", "1970-01-01T00:00:00.000001Z", 0.001),
        (-1, 0, "1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00.000000Z", 0.001),
        (0, 1_500_000, "1970-01-01T00:00:00.000000Z", "1970-01-01T00:00:00.001500Z", 1.5),
        (0, 10**7, "1970-01-01T00:00:00.000000Z", "1970-01-01T00:00:00.010000Z", 10),
        (2000, 1000, "1970-01-01T00:00:00.000002Z", "1970-01-01T00:00:00.000002Z", 0),
        (
            START_NS,
            START_NS + 86_400_000_000_123,
            "2026-11-21T12:00:00.000000Z",
            "2026-11-22T12:00:00.000000Z",
            86_400_000,
        ),
    ],
)
def test_times_are_shown_in_microseconds(
    start_ns: int, end_ns: int, started: str, completed: str, duration: float
) -> None:
    """Six fraction digits, the floor of the nanoseconds, never completed before started."""
    document = shown(declared(start_ns=start_ns, end_ns=end_ns))
    found = (document["startedAt"], document["completedAt"], document["durationMs"])
    assert found == (started, completed, duration)


@pytest.mark.parametrize(
    ("start_ns", "end_ns", "ms"),
    [(0, 0, 0), (0, 1_500_000, 1.5), (999, 1000, 0.001), (-1, 0, 0.001), (2000, 1000, 0)],
)
def test_a_duration_in_milliseconds(start_ns: int, end_ns: int, ms: float) -> None:
    """The difference of the whole microseconds, never negative: what a row's column holds."""
    assert duration_ms(start_ns, end_ns) == ms


@pytest.mark.parametrize("times", [(0, 0), (2000, 1000), (-(2**63), 2**63 - 1), (5, 0)])
def test_times_are_kept_as_received(times: tuple[int, int]) -> None:
    """The event keeps the nanoseconds, zero and reversed ones included."""
    event = mapped(declared(start_ns=times[0], end_ns=times[1]))
    assert (event.started_ns, event.completed_ns) == times


@pytest.mark.parametrize("ns", [2**63, -(2**63) - 1, 2**64 - 1])
@pytest.mark.parametrize("field", ["start_ns", "end_ns"])
def test_a_time_outside_64_bits_is_refused(field: str, ns: int) -> None:
    """A time that no signed 64-bit number of nanoseconds holds quarantines its span."""
    assert refusal(declared(**{field: ns})).reason == "bad_time"


@pytest.mark.parametrize(
    ("start_ns", "end_ns"),
    [(-(2**63), 2**63 - 1), (0, 2**63 - 1), (-(2**62), 2**62 + 1_001_000), (-(2**63), 0)],
)
def test_a_duration_of_centuries_is_canonical_too(start_ns: int, end_ns: int) -> None:
    """The text of an event is its RFC 8785 form even where a double cannot tell microseconds."""
    text = event_text(mapped(declared(start_ns=start_ns, end_ns=end_ns)))
    assert text == canonical(json.loads(text))


# --- Ids


@pytest.mark.parametrize(
    "fields",
    [
        {"trace_id": b""},
        {"trace_id": bytes(16)},
        {"trace_id": b"x" * 15},
        {"span_id": b""},
        {"span_id": bytes(8)},
        {"span_id": b"x" * 9},
        {"parent_span_id": b"x" * 7},
    ],
    ids=repr,
)
def test_bad_ids_are_refused(fields: dict[str, bytes]) -> None:
    """An id of the wrong length, or of zeros alone, names no span."""
    assert refusal(declared(**fields)).reason == "bad_id"


def test_ids_are_lower_case_hex() -> None:
    """Trace, span and parent id are kept as hex."""
    event = mapped(declared(parent_span_id=b"\xab" * 8))
    ids = (event.trace_id, event.span_id, event.parent_span_id)
    assert ids == (TRACE_ID.hex(), SPAN_ID.hex(), "ab" * 8)


@pytest.mark.parametrize("parent", [b"", bytes(8)])
def test_an_absent_or_zero_parent_is_none(parent: bytes) -> None:
    """A root span's event has no parent."""
    assert mapped(declared(parent_span_id=parent)).parent_span_id == ""


def test_dropped_counts_are_kept() -> None:
    """What the SDK dropped is told."""
    event = mapped(
        declared(dropped_attributes_count=1, dropped_events_count=2, dropped_links_count=3)
    )
    counts = (event.dropped_attributes_count, event.dropped_events_count, event.dropped_links_count)
    assert counts == (1, 2, 3)


# --- The event as shown


def test_the_event_as_shown() -> None:
    """Its members are camelCase, its attributes have the span's ids, its hash is of its text."""
    span = declared(
        ("intentproof.action", "stripe.refund.create"),
        ("intentproof.correlation_id", "order-1"),
        ("intentproof.inputs", '{"amount":5}'),
        ("apple", None),
        ("zebra", '}","a":\\'),
        status_code=ERROR,
        status_message="boom",
    )
    assert shown(span) == {
        "id": default_event_id(TRACE_ID, SPAN_ID),
        "correlationId": "order-1",
        "intent": "Return captured funds",
        "action": "stripe.refund.create",
        "inputs": {"amount": 5},
        "error": {"name": "Error", "message": "boom"},
        "status": "error",
        "startedAt": "2026-11-21T12:00:00.000000Z",
        "completedAt": "2026-11-21T12:00:00.001500Z",
        "durationMs": 1.5,
        "attributes": {
            "apple": None,
            "intentproof.span_id": SPAN_ID.hex(),
            "intentproof.trace_id": TRACE_ID.hex(),
            "zebra": '}","a":\\',
        },
    }
    text = event_text(mapped(span))
    assert text == canonical(shown(span))
    assert event_hash(mapped(span)) == "sha256:" + hashlib.sha256(text).hexdigest()


def test_an_event_without_ids_shows_none() -> None:
    """An event that came without a span, and without attributes, has no attributes at all."""
    event = mapped(declared())._replace(trace_id="", span_id="")
    assert "attributes" not in json.loads(event_text(event))
