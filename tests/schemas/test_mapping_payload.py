"""What went in, what came out, what failed, and how much of it there may be (contract §2, §3)."""

import contextlib
import json
import math
from typing import Any

import pytest
from intentproof_schemas import (
    EVENT_BYTES_MAX,
    KeyValues,
    SpanEvent,
    SpanLink,
    SpanRejected,
    map_span,
)

from tests.schemas.support import (
    BLANK,
    ERROR,
    OK,
    SPAN_ID,
    TRACE_ID,
    declared,
    kept,
    mapped,
    nested,
    refusal,
    shown,
)

# --- Inputs and output


@pytest.mark.parametrize(
    ("value", "inputs"),
    [
        ('{"b":1, "a":[1.0]}', '{"a":[1],"b":1}'),
        (KeyValues((("b", 1), ("a", b"\0"))), '{"a":"AA==","b":1}'),
        ("{}", "{}"),
        ("[1, 2]", '{"args":[1,2]}'),
        ([1, "[2]"], '{"args":[1,"[2]"]}'),
        ("[]", '{"args":[]}'),
        ((), '{"args":[]}'),
        ("null", '{"value":null}'),
        (None, '{"value":null}'),
        ("12", '{"value":12}'),
        (12, '{"value":12}'),
        (2**53, '{"value":"9007199254740992"}'),
        ("9007199254740993", '{"value":"9007199254740993"}'),
        ("1e20", '{"value":100000000000000000000}'),
        ("1e400", '{"value":"1e400"}'),
        ("true", '{"value":true}'),
        (True, '{"value":true}'),
        (math.nan, '{"value":"NaN"}'),
        (-math.inf, '{"value":"-Infinity"}'),
        ("NaN", '{"value":"NaN"}'),
        (1.0, '{"value":1}'),
        (b"\x00\x01", '{"value":"AAE="}'),
        ("hello", '{"value":"hello"}'),
        ('"hello"', '{"value":"hello"}'),
        ("{broken", '{"value":"{broken"}'),
        ("\ufeff{}", '{"value":"\ufeff{}"}'),
        ('{"a":"\\ud800"}', '{"a":"\ufffd"}'),
        ("\ud800", '{"value":"\ufffd"}'),
        ("", "{}"),
        (BLANK, "{}"),
        ("\u00a0", '{"value":"\u00a0"}'),
    ],
    ids=ascii,
)
def test_inputs(value: Any, inputs: str) -> None:
    """An object stays, a list becomes `args`, anything else `value`; blank is absent."""
    assert mapped(declared(("intentproof.inputs", value))).inputs == inputs


def test_absent_inputs_are_an_empty_object() -> None:
    """Without inputs the event has none."""
    assert mapped(declared()).inputs == "{}"


@pytest.mark.parametrize(
    ("value", "output"),
    [
        ('{"b":1, "a":2}', '{"a":2,"b":1}'),
        ("[1, 2]", "[1,2]"),
        ("null", "null"),
        (None, "null"),
        ("12", "12"),
        ("hello", '"hello"'),
        ("{broken", '"{broken"'),
        (KeyValues((("a", [1]),)), '{"a":[1]}'),
        (b"\xff", '"/w=="'),
        (math.inf, '"Infinity"'),
        (False, "false"),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("status_code", [OK, ERROR])
def test_output(value: Any, output: str, status_code: int) -> None:
    """JSON stays what it is, other text is a string; an error may have an output too."""
    span = declared(("intentproof.output", value), status_code=status_code)
    assert mapped(span).output == output


@pytest.mark.parametrize("attributes", [(), (("intentproof.output", BLANK),)])
def test_an_absent_output_is_null_if_ok_and_left_out_if_error(attributes: Any) -> None:
    """An ok event always has an output, a failed one only if it brought one."""
    assert mapped(declared(*attributes)).output == "null"
    assert mapped(declared(*attributes, status_code=ERROR)).output is None
    assert "output" not in shown(declared(*attributes, status_code=ERROR))


@pytest.mark.parametrize("key", ["intentproof.inputs", "intentproof.output", "any.attribute", "?"])
def test_values_may_have_64_levels(key: str) -> None:
    """An OTLP value of 64 levels is kept, one of 65 is refused under its own key."""
    assert mapped(declared((key, nested(64))))
    wrong = refusal(declared((key, nested(65))))
    assert (wrong.reason, wrong.field) == ("nesting", key)
    assert refusal(declared((key, nested(100_000)))).reason == "nesting"


def test_json_text_of_65_levels_is_a_string() -> None:
    """Text nested too deep is not JSON as the contract reads it, and kept as text."""
    text = "[" * 65 + "]" * 65
    assert mapped(declared(("intentproof.output", text))).output == f'"{text}"'
    assert mapped(declared(("intentproof.output", text[1:-1]))).output == text[1:-1]


def test_a_link_s_attribute_may_have_64_levels() -> None:
    """A link's values are held to the same depth."""
    link = SpanLink(TRACE_ID, SPAN_ID, (("deep", nested(64)),))
    assert mapped(declared(links=[link]))
    deeper = SpanLink(TRACE_ID, SPAN_ID, (("deep", nested(65)),))
    assert refusal(declared(links=[deeper])).reason == "nesting"


# --- Status and error


@pytest.mark.parametrize(
    ("status_code", "attributes", "status"),
    [
        (0, (), "ok"),
        (OK, (), "ok"),
        (ERROR, (), "error"),
        (0, (("error.type", "timeout"),), "error"),
        (0, (("error.type", 500),), "error"),
        (OK, (("error.type", "timeout"),), "ok"),
        (ERROR, (("error.type", "timeout"),), "error"),
    ],
)
def test_status(status_code: int, attributes: Any, status: str) -> None:
    """Error if the span says so, or says nothing and has an error.type."""
    event = mapped(declared(*attributes, status_code=status_code))
    assert (event.status, event.error is not None) == (status, status == "error")


def _exception(**attributes: Any) -> SpanEvent:
    return SpanEvent("exception", [(f"exception.{key}", attributes[key]) for key in attributes])


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, {"name": "Error", "message": ""}),
        ({"status_message": "boom"}, {"name": "Error", "message": "boom"}),
        ({"events": [_exception(type="E")]}, {"name": "E", "message": ""}),
        (
            {"events": [_exception(type="E", message="m", stacktrace="s")], "status_message": "b"},
            {"name": "E", "message": "m", "stack": "s"},
        ),
        (
            {"events": [_exception(message="m")], "status_message": "b"},
            {"name": "Error", "message": "m"},
        ),
        (
            {"events": [_exception(type="E")], "status_message": "b"},
            {"name": "E", "message": "b"},
        ),
        (
            {"events": [_exception(type="First"), _exception(type="Last"), SpanEvent("log", ())]},
            {"name": "Last", "message": ""},
        ),
        (
            {"events": [_exception(type="First", message="m"), _exception(type="Last")]},
            {"name": "Last", "message": ""},
        ),
        ({"events": [SpanEvent("Exception", (("exception.type", "E"),))]}, {"name": "Error"}),
        ({"events": [_exception(type="\ud800", message="\udc00")]}, {"name": "\ufffd"}),
    ],
)
def test_error(fields: dict[str, Any], error: dict[str, str]) -> None:
    """The last exception event tells name, message and stack, then error.type and the status."""
    found = json.loads(mapped(declared(status_code=ERROR, **fields)).error or "")
    assert error.items() <= found.items()
    assert "stack" in found or "stack" not in error
    assert set(found) <= {"name", "message", "stack"}


def test_error_type_names_the_error_where_no_exception_does() -> None:
    """The name is exception.type, else error.type, else `Error`."""
    attributes = (("error.type", "timeout"),)
    span = declared(*attributes, status_code=ERROR, events=[_exception(message="m")])
    assert json.loads(mapped(span).error or "") == {"name": "timeout", "message": "m"}
    named = span._replace(events=[_exception(type="E")])
    assert json.loads(mapped(named).error or "")["name"] == "E"


def test_error_type_stays_among_the_attributes() -> None:
    """What named the error is not taken away."""
    assert kept(declared(("error.type", "timeout")))["error.type"] == "timeout"


def test_an_ok_event_has_no_error_whatever_was_recorded() -> None:
    """An exception that a span survived does not fail its event."""
    event = mapped(declared(status_code=OK, events=[_exception(type="E")], status_message="m"))
    assert event.error is None


# --- Size


def test_an_event_may_have_1_mib() -> None:
    """Inputs, output, error and attributes together have a limit, in bytes of JCS text."""
    room = EVENT_BYTES_MAX - len('{}""')
    assert EVENT_BYTES_MAX == 1024 * 1024
    fits = "\u00e9" * (room // 2)
    assert mapped(declared(("intentproof.output", fits)))
    assert refusal(declared(("intentproof.output", fits + "a"))).reason == "too_large"


def test_the_limit_counts_all_four_parts_and_can_be_set() -> None:
    """The limit is met exactly by inputs, output, error and attributes."""
    span = declared(
        ("intentproof.inputs", "[1]"), ("intentproof.output", "2"), ("a", 1), status_code=ERROR
    )
    event = mapped(span)
    parts = (event.inputs, event.output, event.error, event.attributes)
    size = sum(len((part or "").encode()) for part in parts)
    assert map_span(span, event_bytes_max=size) == event
    with pytest.raises(SpanRejected) as caught:
        map_span(span, event_bytes_max=size - 1)
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize(
    "key", ["a", "intentproof.inputs", "intentproof.stage", "intentproof.sequence", "?"]
)
def test_an_int_of_thousands_of_digits_does_not_break_the_mapping(key: str) -> None:
    """An int that only an SDK could hold, and Python will not print, is refused or written."""
    with contextlib.suppress(SpanRejected):
        map_span(declared((key, 10**5000)))
