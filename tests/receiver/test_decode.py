"""Protobuf decoding: the fast reader, the lenient one, and how they agree."""

import logging
import math
import tracemalloc
from contextlib import suppress

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from intentproof_receiver import attributes, decode, wire
from intentproof_receiver.decode import Block, Decoded, Origin, decode_protobuf
from intentproof_receiver.errors import InvalidRequest, ReceiverError, TooLarge
from intentproof_receiver.tally import Tally
from intentproof_receiver.wire import Fault, read_span
from intentproof_schemas import KeyValues, Span, is_taken
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.receiver.support import (
    attribute_bytes,
    field_bytes,
    nested_value,
    request_bytes,
    span_message,
    spans_of,
    varint,
)

BAD_TEXT = field_bytes(1, b"\xff")


def decoded(raw: "bytes | SpanMessage", *, resource: bytes = b"", scope: bytes = b"") -> Decoded:
    """The one span of a request."""
    spans = spans_of(decode_protobuf(request_bytes(raw, resource=resource, scope=scope)))
    assert len(spans) == 1
    return spans[0]


def whole(raw: "bytes | SpanMessage") -> Span:
    one = decoded(raw)
    assert one.fault is None
    assert one.span is not None
    return one.span


texts = st.text(max_size=8)
leaves = st.one_of(
    st.builds(AnyValue),
    st.builds(lambda v: AnyValue(string_value=v), texts),
    st.builds(lambda v: AnyValue(bool_value=v), st.booleans()),
    st.builds(lambda v: AnyValue(int_value=v), st.integers(-(2**63), 2**63 - 1)),
    st.builds(lambda v: AnyValue(double_value=v), st.floats(allow_nan=False)),
    st.builds(lambda v: AnyValue(bytes_value=v), st.binary(max_size=8)),
    st.builds(lambda v: AnyValue(string_value_strindex=v), st.integers(0, 9)),
)
pairs = st.builds(
    lambda key, value, index: KeyValue(key=key, value=value, key_strindex=index),
    texts,
    st.deferred(lambda: values),
    st.integers(0, 1),
)
values: st.SearchStrategy[AnyValue] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(
            lambda v: AnyValue(array_value=ArrayValue(values=v)), st.lists(inner, max_size=3)
        ),
        st.builds(
            lambda ks, vs: AnyValue(
                kvlist_value=KeyValueList(
                    values=[KeyValue(key=k, value=v) for k, v in zip(ks, vs, strict=False)]
                )
            ),
            st.lists(texts, max_size=3),
            st.lists(inner, max_size=3),
        ),
    ),
    max_leaves=6,
)
counts = st.integers(0, 2**32 - 1)
times = st.integers(0, 2**64 - 1)
events = st.builds(
    SpanMessage.Event,
    name=st.one_of(texts, st.just("exception")),
    attributes=st.lists(pairs, max_size=2),
)
links = st.builds(
    SpanMessage.Link,
    trace_id=st.binary(max_size=16),
    span_id=st.binary(max_size=8),
    trace_state=texts,
    attributes=st.lists(pairs, max_size=2),
)
messages = st.builds(
    SpanMessage,
    trace_id=st.binary(max_size=17),
    span_id=st.binary(max_size=9),
    parent_span_id=st.binary(max_size=8),
    trace_state=texts,
    name=texts,
    kind=st.integers(0, 5),
    start_time_unix_nano=times,
    end_time_unix_nano=times,
    attributes=st.lists(pairs, max_size=4),
    dropped_attributes_count=counts,
    events=st.lists(events, max_size=2),
    dropped_events_count=counts,
    links=st.lists(links, max_size=2),
    dropped_links_count=counts,
    status=st.builds(Status, message=texts, code=st.integers(0, 2)),
    flags=counts,
)


def plain(span: Span) -> Span:
    """A span whose sequences are all lists, so that equal ones compare equal."""
    return span._replace(
        attributes=list(span.attributes), events=list(span.events), links=list(span.links)
    )


@given(messages)
def test_both_readers_agree(message: SpanMessage) -> None:
    """For every valid span the lenient reader reads what the library reads."""
    raw = message.SerializeToString()
    slow, fault = read_span(raw)
    assert fault is None
    assert slow is not None
    for _ in range(2):  # the second time, short attributes are remembered
        assert plain(slow) == plain(decode._fast_span(raw, Origin()))


@given(st.lists(st.one_of(pairs.map(KeyValue.SerializeToString), st.binary(max_size=12))))
def test_attributes_read_as_the_library_reads_them(raws: list[bytes]) -> None:
    """Cut from bytes or not, an attribute is what the library says, or is refused as it does."""
    spans = [field_bytes(9, raw) for raw in raws]
    for raw in spans:
        try:
            message = SpanMessage.FromString(raw)
        except DecodeError:
            with pytest.raises(DecodeError):
                decode._fast_span(raw, Origin())
        else:
            expected = attributes.message_pairs(message.attributes)
            assert repr(decode._fast_span(raw, Origin()).attributes) == repr(expected)


@pytest.mark.parametrize("size", [0, 1, 123, 124, 125, 126, 127, 128, 129, 300, 4088, 5000, 20_000])
def test_texts_of_every_length_are_read(size: int) -> None:
    """Lengths that need one, two or three bytes on the wire are cut at the right place."""
    for text in ("x" * size, "ä" * size):
        message = span_message()
        for _ in range(2):
            message.attributes.add(key="k").value.string_value = text
        assert list(whole(message).attributes[1:]) == [("k", text)] * 2


def test_what_is_remembered_is_bounded() -> None:
    """However many different attributes arrive, few of them are remembered."""
    for number in range(attributes._REMEMBERED_MAX + 100):
        message = SpanMessage(attributes=[KeyValue(key="n", value=AnyValue(int_value=number))])
        decode._fast_span(message.SerializeToString(), Origin())
    assert len(attributes._pairs_by_bytes) <= attributes._REMEMBERED_MAX


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    """Arbitrary bytes as a span raise nothing: a span, a fault, or both."""
    span, fault = read_span(raw)
    assert span is not None or fault is not None


@given(st.binary(max_size=200))
def test_any_body_raises_nothing_foreign(raw: bytes) -> None:
    """Arbitrary bytes as a body raise only errors of the receiver."""
    with suppress(ReceiverError):
        spans_of(decode_protobuf(raw))


@given(messages, st.data())
def test_a_damaged_span_costs_itself_alone(message: SpanMessage, data: st.DataObject) -> None:
    """Whatever one span's bytes are, its neighbours are read."""
    raw = bytearray(message.SerializeToString() or b"\0")
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    good = span_message(7)
    one, damaged, two = spans_of(decode_protobuf(request_bytes(good, bytes(raw), good)))
    assert one == two
    assert one.fault is None
    assert damaged.raw == bytes(raw)


def test_resource_and_scope() -> None:
    """A span has its scope's name and version, and of its resource what an event keeps."""
    resource = Resource()
    resource.attributes.add(key="service.name").value.string_value = "shop"
    resource.attributes.add(key="host.name").value.string_value = "left out"
    scope = InstrumentationScope(name="lib", version="1")
    span = decoded(
        span_message(),
        resource=resource.SerializeToString(),
        scope=scope.SerializeToString(),
    ).span
    assert span is not None
    assert list(span.resource) == [("service.name", "shop")]
    assert (span.scope_name, span.scope_version) == ("lib", "1")


def test_empty_envelopes() -> None:
    """Empty envelopes hold no spans and are no error."""
    assert spans_of(decode_protobuf(b"")) == []
    assert (
        spans_of(decode_protobuf(field_bytes(1, b"") + field_bytes(1, field_bytes(2, b"")))) == []
    )


@pytest.mark.parametrize("body", [b"\x0a\xff", b"\xff" * 20, field_bytes(1, b"\x12\x05ab")])
def test_a_malformed_envelope(body: bytes) -> None:
    """Bytes that are no request at all are InvalidRequest."""
    with pytest.raises(InvalidRequest, match="ExportTraceServiceRequest"):
        spans_of(decode_protobuf(body))


def test_too_many_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request of more spans than the limit is refused: empty spans cost two bytes each."""
    monkeypatch.setattr(decode, "SPANS_MAX", 3)
    with pytest.raises(TooLarge):
        spans_of(decode_protobuf(request_bytes(*[b""] * 4)))


@pytest.mark.parametrize(
    "body", [b"\x0a\x00" * 5, field_bytes(1, b"\x12\x00" * 4), b"\x20\x00" * 5]
)
def test_too_many_empty_envelopes(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    """Resources and scopes are counted: 64 MiB may hold 33 million of them, each looked at."""
    monkeypatch.setattr(decode, "ENVELOPES_MAX", 4)
    with pytest.raises(TooLarge):
        decode_protobuf(body)


@pytest.mark.parametrize("maps", [False, True])
@pytest.mark.parametrize("levels", [1, 31, 40, 64])
def test_deep_values_are_taken(levels: int, maps: bool) -> None:  # noqa: FBT001
    """Values of up to 64 levels are read, also where the library refuses them."""
    raw = span_message().SerializeToString()
    raw += attribute_bytes(b"deep", nested_value(levels, maps=maps))
    value = whole(raw).attributes[-1][1]
    depth = 0
    while not isinstance(value, str):
        assert isinstance(value, KeyValues if maps else list)
        value = value[0][1] if maps else value[0]
        depth += 1
    assert depth == levels


@pytest.mark.parametrize("levels", [65, 5000])
def test_too_deep_values_are_a_fault(levels: int) -> None:
    """Values of more than 64 levels are a fault of their span, however many they are."""
    raw = span_message().SerializeToString()
    one = decoded(raw + attribute_bytes(b"deep", nested_value(levels)))
    assert one.fault is not None
    assert one.fault.reason == "nesting"
    assert one.span is not None
    assert is_taken(one.span)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        (field_bytes(5, b"\xff"), "name"),
        (field_bytes(3, b"\xff"), "trace_state"),
        (attribute_bytes(b"k", BAD_TEXT), "attributes['k']"),
        (attribute_bytes(b"\xff", b""), "a key of attributes"),
        (field_bytes(15, field_bytes(2, b"\xff")), "status.message"),
        (field_bytes(11, field_bytes(2, b"\xff")), "the name of an event"),
        (
            field_bytes(11, field_bytes(3, field_bytes(1, b"k") + field_bytes(2, BAD_TEXT))),
            "events.attributes['k']",
        ),
        (field_bytes(13, field_bytes(3, b"\xff")), "links.trace_state"),
    ],
)
def test_invalid_utf8(more: bytes, field: str) -> None:
    """Text that is not UTF-8 is a fault that names its field; whether a rule takes it is known."""
    for raw, taken in ((span_message().SerializeToString(), True), (b"", False)):
        one = decoded(raw + more)
        assert one.fault == Fault("invalid_utf8", f"{field} is not UTF-8")
        assert one.span is not None
        assert is_taken(one.span) is taken


@pytest.mark.parametrize(
    "raw",
    [
        b"\x0a\x20short",
        b"\x4a\x02\x0a\x05",
        attribute_bytes(b"k", b"\x0a\x05x"),
        b"\x80" * 11,
        b"\x0b",
        b"\x39\x01",
        b"\x08",
        b"\x02\x00",
    ],
)
def test_unreadable_attributes(raw: bytes) -> None:
    """Where a span's framing or attributes are broken, there is no span to ask a rule about."""
    span, fault = read_span(raw)
    assert span is None
    assert fault is not None
    assert fault.reason == "malformed"


@pytest.mark.parametrize("number", [11, 13, 15])
def test_malformed_parts_leave_the_attributes_readable(number: int) -> None:
    """A broken event, link or status is a fault, and the attributes are still read."""
    span, fault = read_span(span_message().SerializeToString() + field_bytes(number, b"\x0a\x05x"))
    assert fault is not None
    assert fault.reason == "malformed"
    assert span is not None
    assert is_taken(span)


def test_malformed_attributes_of_events_and_links() -> None:
    """Their attributes are judged one by one."""
    bad = field_bytes(3, b"\x0a\x05x") + field_bytes(4, b"\x0a\x05x")
    for number in (11, 13):
        span, fault = read_span(field_bytes(number, bad))
        assert span is not None
        assert fault is not None


@pytest.mark.parametrize(
    ("key", "faulty"), [(b"service.name", True), (b"host.name", False), (b"\xff", False)]
)
def test_a_damaged_resource(key: bytes, faulty: bool) -> None:  # noqa: FBT001
    """Of a resource only what an event keeps can damage the spans under it."""
    pair = field_bytes(1, field_bytes(1, key) + field_bytes(2, BAD_TEXT))
    assert (decoded(span_message(), resource=pair).fault is not None) is faulty


def test_an_unreadable_resource_or_scope() -> None:
    """A resource or scope that cannot be read is a fault of each span under it."""
    assert decoded(span_message(), resource=b"\x0a\x09x").fault is not None
    assert decoded(span_message(), scope=b"\x0a\x09x").fault is not None
    assert decoded(span_message(), scope=field_bytes(1, b"\xff")).fault is not None


def test_values_of_every_kind() -> None:
    """Every kind of value is read, a pair without a value included."""
    message = span_message()
    for number, value in enumerate(
        (
            AnyValue(bool_value=False),
            AnyValue(int_value=-1),
            AnyValue(double_value=math.inf),
            AnyValue(bytes_value=b"\0"),
            AnyValue(string_value=""),
            AnyValue(array_value=ArrayValue(values=[AnyValue(int_value=1)])),
        )
    ):
        message.attributes.add(key=f"k{number}", value=value)
    message.attributes.add(key="none")
    got = [value for _, value in whole(message).attributes[1:]]
    assert got == [False, -1, math.inf, b"\0", "", [1], None]


def test_events_keep_what_the_mapping_reads() -> None:
    """Only an exception's attributes are kept."""
    message = span_message()
    for name in ("log", "exception"):
        message.events.add(name=name).attributes.add(key="k").value.string_value = "v"
    assert [event.attributes for event in whole(message).events] == [(), [("k", "v")]]


def test_string_indices_are_absent(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Indices into a string table, which traces do not have, read as absent and are logged."""
    monkeypatch.setattr(wire, "STRINDEX_TEXTS", Tally())
    message = span_message()
    message.attributes.add(key_strindex=3).value.string_value = "v"
    message.attributes.add(key="k").value.string_value_strindex = 4
    with caplog.at_level(logging.WARNING):
        assert list(whole(message).attributes[1:]) == [("k", None)]
    assert "strindex_in_traces" in caplog.text


def test_unknown_fields_are_ignored() -> None:
    """Fields that OTLP may get later do not disturb."""
    raw = span_message().SerializeToString() + field_bytes(99, b"\xff")
    assert whole(raw).name == "refund"
    assert read_span(raw + varint(98 << 3) + b"\x01")[1] is None


def test_groups_are_passed_over() -> None:
    """Groups, which OTLP does not have, are unknown fields, however deep; one cut short is not."""
    deep = varint(99 << 3 | 3) * 20_000 + field_bytes(9, b"\xff") + varint(99 << 3 | 4) * 20_000
    assert (
        whole(span_message().SerializeToString() + deep).attributes
        == whole(span_message()).attributes
    )
    for raw in (varint(99 << 3 | 3), varint(99 << 3 | 4)):
        assert read_span(raw)[0] is None


@pytest.mark.parametrize("piece", [b"\x0b", b"\x20\x00"])
def test_a_span_of_too_many_fields_is_not_walked_to_its_end(piece: bytes) -> None:
    """Beyond a million fields or opened groups a span is unreadable: one byte may be one."""
    span, fault = read_span(piece * 1_000_001)
    assert span is None
    assert fault == Fault("malformed", "the span cannot be read: over 1000000 fields")


def test_deep_and_large_values_are_not_copied_once_a_level() -> None:
    """A span of 4 MiB that is nested 64 levels takes a few times its bytes, not 64 times."""
    raw = field_bytes(1, b"x" * (4 << 20))
    for _ in range(64):
        raw = field_bytes(5, field_bytes(1, raw))
    span = span_message().SerializeToString() + attribute_bytes(b"deep", raw)
    tracemalloc.start()
    try:
        assert read_span(span)[1] is None
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_levels_match_the_contract() -> None:
    """The wire reader's limit is that of the contract."""
    assert wire.LEVELS_MAX == 64


def test_a_large_resource_makes_small_blocks() -> None:
    """A resource stands in each event of its: what one block would take in memory is bounded."""
    name = field_bytes(1, b"service.name") + field_bytes(2, field_bytes(1, b"s" * 100_000))
    body = request_bytes(*[b""] * 1000, resource=field_bytes(1, name))
    blocks = [part for part in decode_protobuf(body).parts if isinstance(part, Block)]
    assert sum(len(block.raws) for block in blocks) == 1000
    assert max(len(block.raws) for block in blocks) * 100_000 < decode._BLOCK_BYTES + 200_000
