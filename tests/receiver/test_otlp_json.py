"""OTLP/JSON decoding."""

import json
import math
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intentproof_receiver.decode import Decoded, decode_protobuf
from intentproof_receiver.errors import InvalidRequest, ReceiverError, TooLarge
from intentproof_receiver.otlp_json import decode_json
from intentproof_receiver.wire import Fault
from intentproof_schemas import KeyValues, Span, is_taken

from tests.receiver.support import (
    TRACE_ID,
    json_request,
    json_span,
    request_bytes,
    span_message,
    spans_of,
)


def decoded(*spans: Any, resource: Any = None) -> list[Decoded]:
    return spans_of(decode_json(json_request(*spans, resource=resource)))


def whole(**members: Any) -> Span:
    (one,) = decoded(json_span(**members))
    assert one.fault is None
    assert one.span is not None
    return one.span


def value_of(value: Any) -> Any:
    return whole(attributes=[{"key": "k", "value": value}]).attributes[0][1]


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"stringValue": "x"}
    for _ in range(levels):
        value = {"arrayValue": {"values": [value]}}
    return value


def test_json_and_protobuf_agree() -> None:
    """The same span is the same in both encodings."""
    (one,) = decoded(json_span())
    (other,) = spans_of(decode_protobuf(request_bytes(span_message())))
    assert one.span is not None
    assert other.span is not None
    assert one.span._replace(scope_name="", events=(), links=()) == other.span


def test_ids_are_hexadecimal_in_either_case() -> None:
    """Ids of spans and of links are hexadecimal, never base64."""
    link = {"traceId": TRACE_ID.hex().upper(), "spanId": "00000000000000aB"}
    span = whole(links=[link], parentSpanId="00000000000000FF")
    assert span.trace_id == span.links[0].trace_id == TRACE_ID
    assert span.links[0].span_id == b"\0" * 7 + b"\xab"
    assert span.parent_span_id == b"\0" * 7 + b"\xff"


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ({"stringValue": ""}, ""),
        ({"boolValue": False}, False),
        ({"intValue": "-5"}, -5),
        ({"intValue": 5}, 5),
        ({"intValue": 5.0}, 5),
        # JavaScript writes a double without a fraction so, in the fewest digits.
        ({"intValue": 1e300}, 1e300),
        ({"intValue": 9223372036854776000}, 2.0**63),
        ({"intValue": -9223372036854776000}, -(2**63)),
        ({"doubleValue": 1}, 1.0),
        ({"doubleValue": "1.5e3"}, 1500.0),
        ({"doubleValue": "Infinity"}, math.inf),
        ({"doubleValue": "-Infinity"}, -math.inf),
        ({"bytesValue": "AP8="}, b"\0\xff"),
        ({"bytesValue": "AP8"}, b"\0\xff"),
        ({"arrayValue": {"values": [{"intValue": 1}, {}]}}, [1, None]),
        ({"arrayValue": {}}, []),
        (
            {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": 1}}]}},
            KeyValues((("a", 1),)),
        ),
        ({"stringValue": None, "intValue": 2}, 2),
        ({"stringValueStrindex": 3}, None),
        ({"stringValueStrindex": 3, "stringValue": "x"}, "x"),
        ({"laterValue": 1}, None),
        ({}, None),
        (None, None),
    ],
)
def test_values(value: Any, read: Any) -> None:
    """Every kind of value is read by its rule; unknown kinds are absent."""
    got = value_of(value)
    assert (got, type(got)) == (read, type(read))


def test_nan() -> None:
    """NaN is a string in JSON and a double after it."""
    assert math.isnan(value_of({"doubleValue": "NaN"}))


def test_duplicate_keys_stay_in_order() -> None:
    """Attributes are a list: what has the same key is kept, in order."""
    attributes = [{"key": "k", "value": {"intValue": n}} for n in (1, 2)]
    assert list(whole(attributes=attributes).attributes) == [("k", 1), ("k", 2)]


def test_unknown_members_are_ignored() -> None:
    """Members that OTLP may get later do not disturb, and null is as if absent."""
    assert whole(later={"a": 1}, name=None, status=None, events=None).name == ""


def test_events() -> None:
    """Of span events only an exception's attributes are kept."""
    pair = {"key": "k", "value": {"stringValue": "v"}}
    events = [{"name": name, "attributes": [pair]} for name in ("log", "exception")]
    assert [event.attributes for event in whole(events=events).events] == [(), [("k", "v")]]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"kind": "SPAN_KIND_CLIENT"}, "malformed"),
        ({"kind": True}, "malformed"),
        ({"kind": 2**31}, "malformed"),
        ({"status": {"code": "STATUS_CODE_ERROR"}}, "malformed"),
        ({"status": []}, "malformed"),
        ({"traceId": "AAECAwQFBgcICQoLDA0ODw=="}, "bad_id"),
        ({"spanId": "00 0000000000001"}, "bad_id"),
        ({"startTimeUnixNano": "now"}, "malformed"),
        ({"startTimeUnixNano": -1}, "malformed"),
        ({"endTimeUnixNano": 2**64}, "malformed"),
        ({"endTimeUnixNano": 1.5}, "malformed"),
        ({"droppedLinksCount": 2**32}, "malformed"),
        ({"name": 5}, "malformed"),
        ({"events": {}}, "malformed"),
        ({"links": [5]}, "malformed"),
    ],
)
def test_a_bad_member_costs_its_span_alone(members: dict[str, Any], reason: str) -> None:
    """A wrong member is a fault of its span; its attributes are read, its neighbours too."""
    good, bad, other = decoded(json_span(1), json_span(2, **members), json_span(3))
    assert good.fault is other.fault is None
    assert bad.fault is not None
    assert bad.fault.reason == reason
    assert bad.span is not None
    assert is_taken(bad.span)


UNREADABLE: list[Any] = [
    {"intValue": 2**64 - 1},  # no double, so that it would be changed
    {"intValue": 2**66 + 1},
    5,
    {"stringValue": 5},
    {"boolValue": "true"},
    {"intValue": True},
    {"intValue": "1e3"},
    {"intValue": str(2**63)},
    {"doubleValue": "nan"},
    {"doubleValue": True},
    {"doubleValue": 10**400},
    {"doubleValue": "1e400"},
    {"bytesValue": "*"},
    {"bytesValue": 5},
    {"arrayValue": []},
    {"kvlistValue": {"values": 5}},
]


@pytest.mark.parametrize(
    "span",
    [
        5,
        {"attributes": {}},
        {"attributes": [5]},
        {"attributes": [{"key": 5}]},
        *({"attributes": [{"key": "k", "value": value}]} for value in UNREADABLE),
    ],
)
def test_unreadable_attributes(span: Any) -> None:
    """Where attributes cannot be read there is no span to ask a rule about."""
    (one,) = decoded(span)
    assert one.span is None
    assert one.fault is not None
    assert json.loads(one.raw) == span


@pytest.mark.parametrize("levels", [40, 64])
def test_deep_values_are_taken(levels: int) -> None:
    """Values of up to 64 levels are read."""
    assert isinstance(value_of(nested(levels)), list)


def test_too_deep_values_are_a_fault() -> None:
    """A value of 65 levels is a fault of its span, whose other attributes are read."""
    intent = {"key": "intentproof.intent", "value": {"stringValue": "x"}}
    attributes = [{"key": "deep", "value": nested(65)}, intent]
    (one,) = decoded(json_span(attributes=attributes))
    assert one.fault is not None
    assert one.fault.reason == "nesting"
    assert one.span is not None
    assert is_taken(one.span)


def test_bottomless_bodies_are_refused() -> None:
    """JSON that opens brackets and never closes them is InvalidRequest, and no crash."""
    for opened in (b'{"resourceSpans":' + b"[" * 200_000, b'{"later":' + b'{"a":[' * 200_000):
        with pytest.raises(InvalidRequest):
            decode_json(opened)


def between(damaged: bytes) -> list[Decoded]:
    """A damaged span between two good ones, as it stands in a body."""
    body = json_request(json_span(1), {"spanId": "damaged"}, json_span(3))
    return spans_of(decode_json(body.replace(b'{"spanId": "damaged"}', damaged)))


def span_text(members: bytes) -> bytes:
    return json.dumps(json_span(2)).encode()[:-1] + b"," + members + b"}"


DEEP = b"[" * 100_000 + b"]" * 100_000
DEEP_VALUE = b'{"arrayValue":{"values":[' * 50_000 + b"{}" + b"]}}" * 50_000
INTENT = b'{"key":"intentproof.intent","value":{"stringValue":"x"}}'


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (span_text(b'"later":' + DEEP), None),
        (
            span_text(b'"attributes":[' + INTENT + b',{"key":"k","value":' + DEEP_VALUE + b"}]"),
            "nesting",
        ),
        (span_text(b'"kind":' + b"1" * 50_000), "malformed"),
        (span_text(b'"startTimeUnixNano":' + b"1" * 50_000), "malformed"),
        (span_text(b'"droppedEventsCount":1e999'), "malformed"),
        (span_text(b'"name":\xff'), "malformed"),
        (span_text(b'"name":"\xff"'), "invalid_utf8"),
        (span_text(b'"name":tru'), "malformed"),
        (span_text(b'"name"'), "malformed"),
        (b"[1,]", "malformed"),
        (b'"text"', "malformed"),
    ],
)
def test_a_damaged_span_costs_itself_alone(damaged: bytes, reason: str | None) -> None:
    """However deep, long or broken one span is, its neighbours are read, and its bytes are kept."""
    first, bad, last = between(damaged)
    assert first.fault is last.fault is None
    assert (bad.fault and bad.fault.reason) == reason
    assert bad.raw == damaged
    if reason == "nesting":
        assert bad.span is not None
        assert is_taken(bad.span)


@pytest.mark.parametrize("digits", [b"1" * 5000, b"-" + b"9" * 5000, b"1e999"])
def test_a_number_of_any_length_leaves_the_rest_readable(digits: bytes) -> None:
    """A number beyond every type is a fault, and whether a rule takes its span is known."""
    _, bad, _ = between(span_text(b'"kind":' + digits))
    assert bad.fault == Fault("malformed", "kind: an enum must be an integer")
    assert bad.span is not None
    assert is_taken(bad.span)


@given(st.binary(max_size=40))
def test_no_members_of_a_span_damage_its_neighbours(garbage: bytes) -> None:
    """Bytes without quotes and brackets, wherever they stand in a span, cost that span alone."""
    harmless = garbage.translate(None, b'"{}[],')
    first, _, last = between(span_text(b'"x":1' + harmless))
    assert first.fault is last.fault is None


def test_an_envelope_may_be_in_any_order() -> None:
    """Members come in any order, twice or with others, with any space, keys escaped or not."""
    span = json.dumps(json_span()).encode()
    name = b'{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]}'
    body = (
        b'\xef\xbb\xbf {"x":[{}],"resource\\u0053pans":\n[{"scopeSpans":[{"spans":[%b , %b],"y":"]"'
        b',"scope":{"name":"lib"},"spans":[%b]},{}],"resource":%b},{"scopeSpans":null}] , "z":1 } '
    ) % (span, span, span, name)
    spans = [one.span for one in spans_of(decode_json(body))]
    assert [span and (*span.resource, span.scope_name) for span in spans] == [
        (("service.name", "shop"), "lib")
    ] * 3


@pytest.mark.parametrize("name", ["{", "}", "[", "]", '"', "\\", '\\"', "\n", "é", "\x00"])
def test_texts_are_passed_over_whole(name: str) -> None:
    """Brackets and quotes in a text are text."""
    for ensure_ascii in (True, False):
        span = json.dumps(json_span(name=name, links=[]), ensure_ascii=ensure_ascii).encode()
        first, one, last = between(span)
        assert first.fault is last.fault is None
        assert one.span is not None
        assert one.span.name == name


def test_the_usual_and_the_deep_are_cut_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the fast pattern passes over ends where counted brackets end."""
    body = json_request(json_span(attributes=[{"key": "k", "value": nested(3)}]), json_span())
    usual = spans_of(decode_json(body))
    monkeypatch.setattr("intentproof_receiver.json_split._USUAL", re.compile(b"(?!)"))
    assert spans_of(decode_json(body)) == usual


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"resourceSpans":5}',
        b'{"resourceSpans":[5]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":{}}]}]}',
        b'{"resourceSpans":NaN}',
        b'{"resourceSpans":[]',
        b'{"resourceSpans":[]}}',
        b'{"resourceSpans":[{},]}',
        b'{"resourceSpans":[{}{}]}',
        b'{"resourceSpans":[],}',
        b'{"resourceSpans" []}',
        b"{resourceSpans:[]}",
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"a":"]}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"a":[}]}]}]}',
    ],
)
def test_a_malformed_envelope(body: bytes) -> None:
    """A body that is no request at all is InvalidRequest."""
    with pytest.raises(InvalidRequest):
        spans_of(decode_json(body))


@pytest.mark.parametrize(
    ("head", "tail"),
    [
        (b'{"resourceSpans":[5,{"scopeSpans":[{"spans":[', b"]}]}]}"),
        (b'{"resourceSpans":[{"scopeSpans":[null,"x",{"spans":[', b"]}]}]}"),
        (b'{"resourceSpans":[{"scopeSpans":[{"spans":5},{"spans":[', b"]}]}]}"),
        (b'{"resourceSpans":[{"scopeSpans":{}},{"scopeSpans":[{"spans":[', b"]}]}]}"),
    ],
)
def test_what_cannot_hold_spans_costs_none(head: bytes, tail: bytes) -> None:
    """A wrong element of the envelope is passed over, which the client is told."""
    request = decode_json(head + json.dumps(json_span()).encode() + tail)
    assert [decoded.fault for decoded in spans_of(request)] == [None]
    assert "must be an array" in request.warning


SNAKE = [
    b'{"resource_spans":[{"scope_spans":[{"spans":[{}]}]}]}',
    b'{"resourceSpans":[{"scope_spans":[{"spans":[{}]}]}]}',
    b'{"resourceSpans":[{"instrumentation_library_spans" : [{"spans":[{}]}]}]}',
]


@pytest.mark.parametrize("body", SNAKE)
def test_snake_case_is_warned_of(body: bytes) -> None:
    """A body in snake_case is all unknown members: taken, with a warning."""
    request = decode_json(body)
    assert spans_of(request) == []
    assert "no span was recognised: names are lowerCamelCase" in request.warning


@pytest.mark.parametrize("name", ["trace_id", "start_time_unix_nano", "dropped_links_count"])
def test_snake_case_in_a_span_is_warned_of(name: str) -> None:
    """A span's members in snake_case are ignored, which the client is told."""
    request = decode_json(json_request(json_span() | {name: "1"}))
    assert len(spans_of(request)) == 1
    assert request.warning.startswith(f"{name}: snake_case names are ignored: ")


def test_values_in_snake_case_are_warned_of() -> None:
    """So are values, whose text would be missing."""
    attribute = {"key": "k", "value": {"string_value": "x"}}
    assert "string_value" in decode_json(json_request(json_span(attributes=[attribute]))).warning


def test_snake_case_in_texts_is_no_reason_to_warn() -> None:
    """JSON in a text, and texts that are such names, are nobody's members."""
    for text in ('{"trace_id": 1}', "trace_id", "trace_id:"):
        assert decode_json(json_request(json_span(name=text))).warning == ""


@pytest.mark.parametrize(("body", "warned"), [(b"{}", False), (b'{"resourceLogs":[]}', True)])
def test_a_body_without_resource_spans(body: bytes, warned: bool) -> None:  # noqa: FBT001
    """An empty request is complete; one with other members only is warned of."""
    assert ("resourceSpans" in decode_json(body).warning) is warned


def test_lone_surrogates_are_json() -> None:
    """An escaped lone surrogate is JSON; the mapping replaces it."""
    assert whole(name="\ud800").name == "\ud800"


def test_bodies_that_are_not_utf8() -> None:
    """Bytes that are not UTF-8 damage the span that they stand in, and no other."""
    body = json_request(json_span(1, name="XX"), json_span(2, name="\udc80"))
    first, second = spans_of(decode_json(body.replace(b"XX", b"\xff\xfe")))
    assert first.fault is not None
    assert first.fault.reason == "invalid_utf8"
    assert second.fault is None  # an escaped lone surrogate is none
    assert decoded(json_span(2, name="\udc80"))[0].fault is None


def test_damaged_resources() -> None:
    """Of a resource only what an event keeps can damage the spans under it."""
    bad = {"stringValue": 5}
    for key, faulty in (("service.name", True), ("host.name", False)):
        text = json_request(json_span(), resource={"attributes": [{"key": key, "value": "XX"}]})
        broken = text.replace(b'"XX"', b'{"stringValue":"\xff"}')
        assert (spans_of(decode_json(broken))[0].fault is not None) is faulty
        (one,) = decoded(json_span(), resource={"attributes": [{"key": key, "value": bad}]})
        assert (one.fault is not None) is faulty
    body = {"resourceSpans": [{"scopeSpans": [{"scope": {"name": 5}, "spans": [json_span()]}]}]}
    (one,) = spans_of(decode_json(json.dumps(body).encode()))
    assert one.fault is not None


def test_resource_and_scope() -> None:
    """A span has its scope's name and its resource's service name."""
    pair = {"key": "service.name", "value": {"stringValue": "shop"}}
    span = decoded(json_span(), resource={"attributes": [pair]})[0].span
    assert span is not None
    assert (list(span.resource), span.scope_name) == ([("service.name", "shop")], "lib")


def test_too_many_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit on spans is that of protobuf."""
    monkeypatch.setattr("intentproof_receiver.decode.SPANS_MAX", 2)
    decoded({}, {})
    with pytest.raises(TooLarge):
        decoded({}, {}, {})
    monkeypatch.setattr("intentproof_receiver.decode.ENVELOPES_MAX", 4)
    decoded({}, {})
    for envelopes in (b"{},{},{},{},{}", b'{"scopeSpans":[{},{},{},{}]}'):
        with pytest.raises(TooLarge):
            decode_json(b'{"resourceSpans":[' + envelopes + b"]}")


def test_key_indices_are_absent() -> None:
    """A key that is an index into a string table is left out."""
    assert whole(attributes=[{"keyStrindex": 3, "value": {"stringValue": "x"}}]).attributes == []


MEMBERS = (
    "attributes",
    "key",
    "value",
    "stringValue",
    "intValue",
    "doubleValue",
    "arrayValue",
    "kvlistValue",
    "values",
    "bytesValue",
    "events",
    "links",
    "name",
    "kind",
    "traceId",
    "status",
    "code",
    "startTimeUnixNano",
)
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=4),
    ),
    max_leaves=12,
)


@given(anything)
def test_any_span_is_read_or_refused(span: Any) -> None:
    """Whatever JSON stands where a span should, nothing foreign is raised."""
    (one,) = decoded(span)
    assert one.span is not None or one.fault is not None
    assert isinstance(bytes(one.raw), bytes)


@given(anything)
def test_any_body_raises_nothing_foreign(body: Any) -> None:
    """Whatever JSON a body is, only errors of the receiver are raised."""
    for value in (body, {"resourceSpans": body}, {"resourceSpans": [{"scopeSpans": body}]}):
        with suppress(ReceiverError):
            spans_of(decode_json(json.dumps(value).encode()))
