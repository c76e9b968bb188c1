"""What an event keeps of its span's, resource's and scope's attributes (contract §3)."""

import json
import math
from typing import Any

import pytest
from intentproof_schemas import (
    KeyValues,
    SpanEvent,
    SpanLink,
)

from tests.schemas.support import (
    ERROR,
    OURS,
    SPAN_ID,
    TEXTS,
    TRACE_ID,
    declared,
    kept,
    mapped,
)


@pytest.mark.parametrize(
    ("value", "attribute"),
    [
        ("text", "text"),
        ("", ""),
        ('{"a":1}', '{"a":1}'),
        ("\ud800", "\ufffd"),
        (True, True),
        (None, None),
        (1, 1),
        (2**53 - 1, 2**53 - 1),
        (2**53, "9007199254740992"),
        (-(2**63), "-9223372036854775808"),
        (1.5, 1.5),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (b"\x00\x01", "AAE="),
        ([1, "a", None, [b"\0"]], '[1,"a",null,["AA=="]]'),
        ([], "[]"),
        ([math.nan, 2**63], '["NaN","9223372036854775808"]'),
        (KeyValues((("b", 1), ("a", [2]))), '{"a":[2],"b":1}'),
        (KeyValues(), "{}"),
    ],
    ids=ascii,
)
def test_an_attribute_is_a_flat_value(value: Any, attribute: Any) -> None:
    """Arrays and maps become JCS text, bytes bare base64; scalars stay, text is never parsed."""
    assert kept(declared(("key", value))) == {"key": attribute}


def test_a_double_stays_a_number() -> None:
    """A double beyond 2^53 is no integer and is not made text."""
    assert mapped(declared(("key", 1e20))).attributes == '{"key":100000000000000000000}'


def test_an_event_without_attributes_has_none() -> None:
    """A span with nothing but its intent commits to no attributes."""
    assert mapped(declared()).attributes == ""


def test_the_attributes_of_the_table_leave() -> None:
    """What a producer says in the table's attributes stands in its own members alone."""
    span = declared(
        *((key, "x") for key in TEXTS),
        ("intentproof.sequence", 1),
        ("intentproof.inputs", "{}"),
        ("intentproof.output", "{}"),
    )
    assert mapped(span).attributes == ""


@pytest.mark.parametrize("key", OURS)
def test_names_of_ours_that_a_span_brings_are_dropped(key: str) -> None:
    """A span cannot write what only the mapping writes."""
    assert mapped(declared((key, "forged"))).attributes == ""


def test_other_names_under_our_prefix_stay() -> None:
    """Only the names that are taken are taken."""
    assert kept(declared(("intentproof.colour", "red"))) == {"intentproof.colour": "red"}


def test_resource_attributes_win() -> None:
    """Five attributes of the resource are kept, over the span's own of the same key."""
    five = {
        "service.name": "shop",
        "service.namespace": "eu",
        "service.version": "1.2",
        "service.instance.id": "i-1",
        "deployment.environment.name": "prod",
    }
    span = declared(("service.name", "forged"), ("host.name", "span's"))
    resource = (*five.items(), ("host.name", "h"), ("telemetry.sdk.name", "otel"))
    assert kept(span._replace(resource=resource)) == {**five, "host.name": "span's"}


def test_without_a_resource_the_span_s_own_attribute_stays() -> None:
    """A service name that only the span knows is kept."""
    assert kept(declared(("service.name", "own"))) == {"service.name": "own"}


@pytest.mark.parametrize(
    ("kind", "name"),
    [(1, "internal"), (2, "server"), (3, "client"), (4, "producer"), (5, "consumer")],
)
def test_span_kind(kind: int, name: str) -> None:
    """The span's kind has a name."""
    assert kept(declared(("intentproof.span_kind", "x"), kind=kind)) == {
        "intentproof.span_kind": name
    }


@pytest.mark.parametrize("kind", [0, 6, -1, 2**31])
def test_an_unspecified_or_unknown_kind_is_left_out(kind: int) -> None:
    """A kind without a name is not written."""
    assert kept(declared(kind=kind)) == {}


def test_scope() -> None:
    """Name and version of the scope are written, each left out if empty."""
    assert kept(declared(scope_name="lib", scope_version="1")) == {
        "intentproof.scope.name": "lib",
        "intentproof.scope.version": "1",
    }
    assert kept(declared(scope_name="lib")) == {"intentproof.scope.name": "lib"}
    assert kept(declared(scope_version="\ud800")) == {"intentproof.scope.version": "\ufffd"}


def test_links() -> None:
    """Links are the JCS text of an array, in order; attributes only where there are some."""
    links = [
        SpanLink(b"\xbb" * 16, b"\x02" * 8, (("b", b"\0"), ("a", [1]), ("b", 2))),
        SpanLink(b"\xaa" * 16, b"\x01" * 8, ()),
    ]
    assert kept(declared(links=links)) == {
        "intentproof.links": (
            '[{"attributes":{"a":[1],"b":"AA=="},"span_id":"0202020202020202",'
            f'"trace_id":"{"bb" * 16}"}},{{"span_id":"0101010101010101","trace_id":"{"aa" * 16}"}}]'
        ),
        "intentproof.duplicate_keys": 1,
    }


@pytest.mark.parametrize(
    "key", ["", "user agent", "\u043a\u043b\u044e\u0447", "a/b", "k" * 257, "k\n"]
)
def test_a_key_outside_the_pattern_moves_into_other(key: str) -> None:
    """The event's keys are narrow; what does not fit is kept as JSON in one text."""
    span = declared((key, [b"\0", 1]), ("good", 1))
    found = kept(span)
    assert json.loads(found.pop("intentproof.other")) == {key: ["AA==", 1]}
    assert found == {"good": 1}


@pytest.mark.parametrize("key", ["k" * 256, "A-z_0.9:", "intentproof.x", "-"])
def test_a_key_within_the_pattern_stays(key: str) -> None:
    """Letters, digits, `_.:-`, up to 256 of them."""
    assert kept(declared((key, 1))) == {key: 1}


def test_other_is_canonical_text() -> None:
    """The moved attributes are one JCS object, in UTF-16 order of their keys."""
    span = declared(("\ue000", 1.0), ("\U00010000", 2**53), ("b c", "[1]"), ("\ud800", None))
    wanted = '{"b c":"[1]","\U00010000":"9007199254740992","\ue000":1,"\ufffd":null}'
    assert kept(span) == {"intentproof.other": wanted}


def test_duplicate_keys_are_counted_at_all_levels() -> None:
    """The first of equal keys wins, in attributes, values, texts, links, resource and exception."""
    span = declared(
        ("intentproof.intent", "second"),
        ("a", 1),
        ("a", 2),
        ("map", KeyValues((("x", 1), ("x", 2)))),
        ("intentproof.inputs", '{"b":1,"b":{"c":1}}'),
        ("intentproof.output", KeyValues((("d", [KeyValues((("e", 1), ("e", 2)))]),))),
        ("\ud800", 1),
        ("\udfff", KeyValues((("f", 1), ("f", 2)))),
        links=[SpanLink(TRACE_ID, SPAN_ID, (("g", 1), ("g", 2)))],
        resource=(("service.name", "first"), ("service.name", "second")),
        status_code=ERROR,
        events=[SpanEvent("exception", (("exception.type", "E"), ("exception.type", "F")))],
    )
    event = mapped(span)
    found = kept(span)
    assert found["intentproof.duplicate_keys"] == 9
    assert (event.intent, event.inputs) == ("Return captured funds", '{"b":1}')
    assert (found["a"], found["map"], found["service.name"]) == (1, '{"x":1}', "first")
    assert found["intentproof.other"] == '{"\ufffd":1}'
    assert json.loads(event.error or "")["name"] == "E"


def test_no_duplicate_keys_are_not_counted() -> None:
    """The count is left out if it is zero."""
    assert "intentproof.duplicate_keys" not in kept(declared(("a", 1), ("b", 2)))
