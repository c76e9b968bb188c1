"""Spans in columns: what comes out is what comes out of them one by one, whatever they hold."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from intentproof_receiver.columns import block, group, map_block, plan, wire
from intentproof_receiver.decode import Block, Origin, decode_protobuf
from intentproof_receiver.sorting import SortedSpans
from intentproof_receiver.wire import Fault
from intentproof_schemas import ExecutionEvent, map_span, names
from intentproof_schemas.rules import CONVENTIONS
from intentproof_store import Undecodable
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.examples import examples
from tests.receiver.support import events_of, field_bytes, request_bytes, span_message, varint

EVENT_BYTES_MAX = 1 << 20
ALL = 1 << 30
_OK, _ERROR = Status.STATUS_CODE_OK, Status.STATUS_CODE_ERROR


def mostly(usual: Any, *odd: Any) -> st.SearchStrategy[Any]:
    """Usually the one: a span with many odd things is refused for the first of them."""
    return st.sampled_from([usual] * 3 * len(odd) + [*odd])


json_texts = st.sampled_from(
    [
        *("{}", "[]", "null", '{"a":1}', '{"b":1,"a":2}', '{"a":1,"a":2}', "[1,2]", '{"a":1.5}'),
        *('{"a":1.0}', '{"é":"ü"}', '{"\U0001f600":1,"\ufb33":2}', '{"a":{"b":1}}', '{"a":[]}'),
        *("1,2", "[3", "4]", '{"a":9007199254740993}', "-0", "NaN", '"x"', '{"a":"\\u0041"}'),
        *("{}{}", '{"x":null,"y":true}', "", " ", "plain", '{"q":"\\n"}'),
    ]
)
texts = st.one_of(
    mostly("a", " a\t", 'q"', "b\\", "\x00\x1f", "\x1e", "é", "\U0001f600", "\x7f"),
    mostly("b", "", " ", "x" * 256, "x" * 257, "é" * 200, "y" * 5000),
    st.text(max_size=6),
)
MARKERS = {rule.marker[0]: rule.marker[1] for rule in CONVENTIONS}


def value_of(key: str) -> st.SearchStrategy[AnyValue]:
    """Values of the type that suits the key, most of the time."""
    integers = st.one_of(
        st.integers(1, 300), st.sampled_from([0, -1, 2**53, -(2**53), 2**53 - 1, -(2**63), 2**62])
    ).map(lambda value: AnyValue(int_value=value))
    strings = texts
    if key in (names.INPUTS, names.OUTPUT):
        strings = st.one_of(json_texts, texts)
    if key in MARKERS:
        strings = mostly(MARKERS[key], "other")
    usual = strings.map(lambda value: AnyValue(string_value=value))
    if key == names.SEQUENCE:
        usual = integers
    if key in names.PRODUCER_ATTRIBUTES:
        return st.one_of(usual, usual, usual, integers)
    return st.one_of(
        usual,
        integers,
        st.booleans().map(lambda value: AnyValue(bool_value=value)),
        st.floats().map(lambda value: AnyValue(double_value=value)),
        st.just(AnyValue()),
        st.just(AnyValue(bytes_value=b"\xff")),
        st.just(AnyValue(array_value=ArrayValue(values=[AnyValue(int_value=1)]))),
    )


keys = st.one_of(
    st.sampled_from([*names.PRODUCER_ATTRIBUTES]),
    mostly("a", "b.c", "z", "Z", names.SPAN_KIND, "error.type", "service.name", "a b", "é", ""),
    mostly("b", *MARKERS),
)
spans = st.builds(
    SpanMessage,
    trace_id=mostly(b"t" * 16, bytes(16), b"t" * 15, b"", b"\x00" * 15 + b"\x01"),
    span_id=mostly(b"12345678", bytes(8), b"1234567", b"123456789"),
    trace_state=mostly("", "k=v"),
    parent_span_id=mostly(b"parent__", b"", bytes(8), b"short"),
    name=texts,
    kind=st.integers(0, 5),
    start_time_unix_nano=mostly(1_700_000_000_123_456_789, 0, 1, 2**63 - 1, 2**63),
    end_time_unix_nano=mostly(1_700_000_000_123_456_789, 0, 2**64 - 1),
    dropped_attributes_count=mostly(0, 1, 200, 2**32 - 1),
    dropped_links_count=mostly(0, 3),
    flags=mostly(0, 0x101),
    status=mostly(None, Status(), Status(code=_OK), Status(code=_ERROR, message="no")),
    events=mostly([], [SpanMessage.Event(name="exception")]),
)
ODD_FIELDS = (
    *(b"\x30\x06", b"\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),  # kinds that nobody knows
    *(field_bytes(3, b"\xff"), field_bytes(5, b"\xff")),  # texts that are not UTF-8
    *(field_bytes(15, b"\x18\x81\x00"), field_bytes(15, b"\x18\x02\x18\x01")),  # statuses
    *(field_bytes(15, b"\x12\x01\xff"), field_bytes(15, b"\x18\x03"), field_bytes(15, b"\x18")),
    *(field_bytes(999, b"x"), b"\x7b\x7c", b"\x38\x01"),
    field_bytes(9, b"\x0a\x01k\x12\x04\x0a\x00\x10\x01"),  # a value of two types
    field_bytes(9, b"\x0a\x01k\x0a\x01j\x12\x02\x10\x01"),  # a key twice
    field_bytes(9, b"\x0a\x01\xff\x12\x02\x10\x01"),  # a key that is not UTF-8
    field_bytes(9, b"\x0a\x01k"),  # no value
    field_bytes(9, b"\x12\x02\x10\x01"),  # no key
)


@st.composite
def requests(draw: st.DrawFn) -> list[bytes]:
    """Spans of a few shapes, mixed; some have an odd field, of some a byte is another."""
    raws = []
    for _ in range(draw(st.integers(1, 3))):
        shape = draw(st.lists(keys, max_size=5))
        if draw(st.integers(0, 4)):
            shape.insert(draw(st.integers(0, len(shape))), names.INTENT)
        if draw(st.integers(0, 4)):
            shape = list(dict.fromkeys(shape))
        kinds = [value_of(key) for key in shape]
        for _ in range(draw(st.integers(1, 4))):
            message = draw(spans)
            for key, kind in zip(shape, kinds, strict=True):
                message.attributes.append(KeyValue(key=key, value=draw(kind)))
            raws.append(message.SerializeToString())
            if draw(st.integers(0, 5)) == 0:
                raws[-1] += draw(st.sampled_from(ODD_FIELDS))
    if draw(st.integers(0, 3)) == 0:
        place = draw(st.integers(0, len(raws) - 1))
        raw = bytearray(raws[place] or b"\0")
        at = draw(st.integers(0, len(raw) - 1))
        raw[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
        raws[place] = bytes(raw)
    return draw(st.permutations(raws))


resources = st.sampled_from(
    [
        b"",
        field_bytes(1, field_bytes(1, b"service.name") + field_bytes(2, field_bytes(1, b'"s"'))),
        field_bytes(1, field_bytes(1, b"service.name") + field_bytes(2, b"\x10\x01")),
        field_bytes(1, field_bytes(1, b"service.name") + field_bytes(2, field_bytes(1, b"\xff"))),
    ]
)
scopes = st.sampled_from([b"", field_bytes(1, b"scope"), field_bytes(2, "1é".encode())])


@pytest.fixture(scope="module", autouse=True)
def columns_for_few() -> Iterator[None]:
    """Columns also where they are not worth their while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block, "BLOCK_MIN", 1)
        patch.setattr(block, "GROUP_MIN", 1)
        yield


def outcome(body: bytes, event_bytes_max: int = EVENT_BYTES_MAX) -> Any:
    """All that becomes of a request."""
    found = SortedSpans(event_bytes_max=event_bytes_max)
    parts = decode_protobuf(body).parts
    events: list[ExecutionEvent] = []
    undecodable: list[Undecodable] = []
    more = True
    while more:
        more = found.take(parts)
        drained, for_quarantine = found.drain()
        events += events_of(drained) if isinstance(drained, pa.RecordBatch) else drained
        undecodable += for_quarantine
    assert len(events) == found.taken
    return events, undecodable, found.reasons, found.examples, found.not_kept


def outcome_singly(body: bytes, event_bytes_max: int = EVENT_BYTES_MAX) -> Any:
    """The same without columns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block, "BLOCK_MIN", ALL)
        return outcome(body, event_bytes_max)


@settings(max_examples=examples(500), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(requests(), resources, scopes), min_size=1, max_size=3),
    st.sampled_from([EVENT_BYTES_MAX, 60]),
)
def test_columns_answer_as_the_rule_does(
    parts: list[tuple[list[bytes], bytes, bytes]], event_bytes_max: int
) -> None:
    """Events, their order, quarantine and reasons are those of the spans taken one by one."""
    body = b"".join(
        request_bytes(*raws, resource=resource, scope=scope) for raws, resource, scope in parts
    )
    assert outcome(body, event_bytes_max) == outcome_singly(body, event_bytes_max)


TEXT_VALUES = (
    *("", " ", "a", " a\t", 'q"', "b\\", "\x00\x1f", "é", "\U0001f600", "x" * 256, "x" * 257),
    *("y" * 4096, "y" * 4097, "{}", "[]", "null", '{"a":1}', '{"b":1,"a":2}', '{"a":1,"a":2}'),
    *("[1,2]", '{"a":1.5}', '{"a":1.0}', '{"é":"ü"}', '{"\U0001f600":1,"\ufb33":2}', "-0", "1,2"),
    *('{"\ufb33":2,"\U0001f600":1}', '{"\ufb33":2}'),
    *('{"a":{"c":1,"b":2}}', '{"a":9007199254740993}', '{"a":"\\u0041"}', "execute_tool", "TOOL"),
)
OTHER_VALUES = (
    *(AnyValue(int_value=n) for n in (0, 1, -1, 2**53 - 1, 2**53, -(2**53), 2**63 - 1, -(2**63))),
    *(AnyValue(double_value=x) for x in (0.0, 1.5, -1e300, float("nan"), float("inf"))),
    *(AnyValue(bool_value=True), AnyValue(bool_value=False), AnyValue(bytes_value=b"")),
    *(AnyValue(), AnyValue(array_value=ArrayValue(values=[AnyValue()]))),
)
VALUES = (*(AnyValue(string_value=text) for text in TEXT_VALUES), *OTHER_VALUES)


@pytest.mark.parametrize(
    "key",
    [
        *names.PRODUCER_ATTRIBUTES,
        *(names.SPAN_KIND, names.LINKS, "error.type", "service.name", "a", "a b", "é", ""),
        *MARKERS,
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_each_attribute_with_each_value(key: str, first: bool) -> None:  # noqa: FBT001
    """Whatever an attribute says, in columns or singly, beside an intent or without one."""
    raws = []
    for number, value in enumerate(VALUES, start=1):
        message = span_message(number) if number % 9 else SpanMessage(trace_id=b"t" * 16)
        message.status.code = _OK if number % 3 else Status.STATUS_CODE_UNSET
        message.attributes.append(KeyValue(key=key, value=value))
        if first:
            message.attributes.reverse()
        raws.append(message.SerializeToString())
    resource = field_bytes(
        1, field_bytes(1, b"service.name") + field_bytes(2, field_bytes(1, b"s"))
    )
    body = request_bytes(*raws, *raws[::-1], resource=resource)
    assert outcome(body) == outcome_singly(body)
    assert outcome(body, 150) == outcome_singly(body, 150)


@pytest.mark.parametrize("key", [names.INTENT, names.INPUTS, names.OUTPUT, names.ACTION, "a"])
@pytest.mark.parametrize("text", TEXT_VALUES)
def test_each_text_by_itself(key: str, text: str) -> None:
    """A column in which all texts are the same odd one."""
    message = span_message()
    if key == names.INTENT:
        message.ClearField("attributes")
    message.attributes.append(KeyValue(key=key, value=AnyValue(string_value=text)))
    body = request_bytes(message, message)
    assert outcome(body) == outcome_singly(body)


def test_a_key_of_the_resource_twice() -> None:
    """What a resource says twice is counted in each of its spans."""
    pair = field_bytes(1, field_bytes(1, b"service.name") + field_bytes(2, field_bytes(1, b"s")))
    body = request_bytes(span_message(1), span_message(2), resource=pair + pair)
    assert '"intentproof.duplicate_keys":1' in outcome(body)[0][0].attributes
    assert outcome(body) == outcome_singly(body)


def test_shapes_that_seem_to_be_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans are of one group only if all their keys and types are the same, in order."""
    monkeypatch.setattr(group, "_WEIGHTS", np.ones(group.PAIRS_MAX, np.uint64))
    bodies = []
    for order in (("a", "b"), ("b", "a")):
        message = span_message()
        for key in order:
            message.attributes.add(key=key).value.string_value = key
        bodies.append(message)
    body = request_bytes(*bodies, *bodies)
    assert outcome(body) == outcome_singly(body)


def test_spans_without_attributes() -> None:
    """Where nothing is said about any span, nothing is kept."""
    bare = SpanMessage(trace_id=b"t" * 16, name="n")
    body = request_bytes(bare, bare, SpanMessage(), b"")
    assert outcome(body) == outcome_singly(body)
    assert outcome(body)[-1] == 4


def test_spans_with_very_many_attributes_have_no_plan() -> None:
    """What is remembered of shapes is bounded: of long ones nothing is."""
    message = span_message()
    for number in range(group.PAIRS_MAX):
        message.attributes.add(key=f"k{number}").value.int_value = number
    body = request_bytes(message, message)
    before = plan.plan_of.cache_info().currsize
    assert outcome(body) == outcome_singly(body)
    assert plan.plan_of.cache_info().currsize == before


@pytest.mark.parametrize("marker", MARKERS)
def test_spans_that_a_convention_takes(marker: str) -> None:
    """Without an intent of its own, a span may be taken for what another attribute says."""
    messages = []
    for value in (MARKERS[marker], "other", MARKERS[marker]):
        message = span_message()
        message.ClearField("attributes")
        message.attributes.append(KeyValue(key=marker, value=AnyValue(string_value=value)))
        messages.append(message)
    body = request_bytes(*messages)
    assert len(outcome(body)[0]) == 2
    assert outcome(body) == outcome_singly(body)


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("trace_id", [bytes(16), b"t" * 15, b"", b"t" * 17, bytes(15) + b"1"]),
        ("span_id", [bytes(8), b"1234567", b"", b"123456789", bytes(7) + b"1"]),
        ("parent_span_id", [bytes(8), b"1234567", b"", b"123456789", bytes(7) + b"1"]),
        ("name", ["", " ", " n ", "x" * 256, "x" * 257, "é" * 128, "é" * 129, "\x00"]),
        ("trace_state", ["k=v", "é"]),
        ("start_time_unix_nano", [0, 1, 2**63 - 1, 2**63, 2**64 - 1]),
        ("end_time_unix_nano", [0, 1, 2**63 - 1, 2**63, 2**64 - 1]),
        ("kind", range(6)),
        ("flags", [1, 2**32 - 1]),
        ("dropped_attributes_count", [1, 127, 128, 2**32 - 1]),
        ("dropped_events_count", [1, 127, 128, 2**32 - 1]),
        ("dropped_links_count", [1, 127, 128, 2**32 - 1]),
    ],
)
def test_each_field_with_each_value(field: str, said: Iterable[Any]) -> None:
    """Whatever a field says, in columns or singly."""
    messages = []
    for value in said:
        message = span_message(7)
        setattr(message, field, value)
        messages.append(message)
    body = request_bytes(*messages, *messages)
    assert outcome(body) == outcome_singly(body)


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5))
def test_any_bytes_answer_as_the_rule_does(raws: list[bytes]) -> None:
    """Arbitrary bytes as spans raise nothing, and cost nobody anything."""
    body = request_bytes(span_message(), *raws, span_message(2))
    assert outcome(body) == outcome_singly(body)


def usual_block(count: int = 40, **attributes: str) -> Block:
    """Spans as an instrumented program sends them."""
    raws = [span_message(n + 1, **attributes).SerializeToString() for n in range(count)]
    return Block(raws, [(Origin((("service.name", "s"),), "lib", "1"), count)])


def test_usual_spans_go_in_columns() -> None:
    """Columns are used where spans are as usual: else nobody would notice that they never are."""
    mapped = map_block(
        usual_block(action="a", inputs='{"a":1}', output="done", sequence_="x"),
        event_bytes_max=EVENT_BYTES_MAX,
    )
    assert mapped.rest == []
    assert mapped.places.tolist() == list(range(40))


def test_one_odd_span_leaves_the_others_in_columns() -> None:
    """A span with an error, a blank intent or a field of its own is looked at alone."""
    usual = usual_block()
    failed = span_message(50)
    failed.status.code = Status.STATUS_CODE_ERROR
    odd = [
        failed.SerializeToString(),
        span_message(51, intent=" ").SerializeToString(),
        span_message(52).SerializeToString() + field_bytes(999, b"x"),
        span_message(53).SerializeToString() + span_message(53).SerializeToString(),
    ]
    mixed = Block([*odd, *usual.raws], [(usual.runs[0][0], 44)])
    mapped = map_block(mixed, event_bytes_max=EVENT_BYTES_MAX)
    assert mapped.rest == [0, 1, 2, 3]
    assert mapped.events is not None
    singly = [map_span(d.span) for d in mixed.decoded(range(4, 44)) if d.span is not None]
    assert events_of(mapped.events) == singly


@pytest.mark.parametrize(
    "written_otherwise",
    [
        *ODD_FIELDS[:2],
        *ODD_FIELDS[9:14],
        field_bytes(15, b"\x18\x01") + field_bytes(15, b""),  # status twice
        b"\x30\x83\x00",  # a kind in more bytes than it needs
        field_bytes(5, b""),  # a name twice, the second empty
        varint(16 << 3 | 5) + bytes(4),  # flags that say nothing
    ],
)
def test_what_is_written_in_another_way_is_not_exact(written_otherwise: bytes) -> None:
    """Bytes that two readers could read differently are left to the protobuf library."""
    raw = span_message().SerializeToString()
    found = wire.read_columns([raw, raw + written_otherwise, raw])
    assert found is None or found.exact.tolist() == [True, False, True]
    body = request_bytes(raw, raw + written_otherwise, raw)
    assert outcome(body) == outcome_singly(body)


@pytest.mark.parametrize("odd", ODD_FIELDS)
def test_odd_fields_where_nothing_else_is(odd: bytes) -> None:
    """A field that few would send, in a span that does not have it yet."""
    bare = span_message()
    for name in ("kind", "name"):
        bare.ClearField(name)
    raw = bare.SerializeToString()
    body = request_bytes(raw, raw + odd, odd, raw)
    assert outcome(body) == outcome_singly(body)


@pytest.mark.parametrize("count", [wire.SPAN_BYTES_MAX, wire.SPAN_BYTES_MAX * 100])
def test_nested_groups_exhaust_no_stack(count: int) -> None:
    """Bytes that begin a group in a group in a group stop nobody's process."""
    raw = span_message().SerializeToString()
    for start in (b"\x7b", b"\x0b"):
        body = request_bytes(raw, start * count, raw)
        assert outcome(body) == outcome_singly(body)


def test_damaged_origins_are_left_to_the_rule() -> None:
    """Spans under a resource that cannot be read are looked at one by one."""
    usual = usual_block()
    damaged = Block(usual.raws, [(Origin(fault=Fault("invalid_utf8", "x")), 40)])
    mapped = map_block(damaged, event_bytes_max=EVENT_BYTES_MAX)
    assert mapped.rest == list(range(40))


def test_few_spans_are_taken_singly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where spans, or those of one shape, are few, columns would be slower."""
    monkeypatch.setattr(block, "BLOCK_MIN", 32)
    assert len(map_block(usual_block(31), event_bytes_max=EVENT_BYTES_MAX).rest) == 31
    monkeypatch.setattr(block, "GROUP_MIN", 41)
    assert len(map_block(usual_block(40), event_bytes_max=EVENT_BYTES_MAX).rest) == 40


def test_large_blocks_keep_their_order() -> None:
    """Requests of several blocks come out in the order in which they went in."""
    raws = []
    for number in range(1, 5001):
        message = span_message(number, intent="i" if number % 7 else " i", action=str(number))
        if number % 5 == 0:
            message.status.code = Status.STATUS_CODE_ERROR
        raws.append(message)
    events, *_ = outcome(request_bytes(*raws))
    assert [event.action for event in events] == [str(number) for number in range(1, 5001)]
    assert np.unique([event.status for event in events]).tolist() == ["error", "ok"]


@pytest.mark.parametrize("kind", [6, 7, 8, 9, 21, 2**31 - 1, -1, -8])
def test_kinds_that_nobody_knows(kind: int) -> None:
    """A span's kind is a number that a client chooses: no other span's origin follows from it."""
    odd = span_message(1)
    odd.ClearField("kind")
    number = kind & 0xFFFF_FFFF_FFFF_FFFF
    raw = odd.SerializeToString() + b"\x30" + varint(number)
    body = b"".join(
        request_bytes(raw, span_message(2), scope=field_bytes(1, name))
        for name in (b"one", b"two", b"three")
    )
    assert outcome(body) == outcome_singly(body)
