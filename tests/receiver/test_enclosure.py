"""What quarantine keeps of a span: its bytes, and around them what else its event is made of."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intentproof_receiver.decode import Decoded, decode_protobuf
from intentproof_receiver.enclosure import KEPT_BYTES_MAX, is_json_request
from intentproof_receiver.otlp_json import decode_json
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from tests.receiver.support import (
    field_bytes,
    json_request,
    json_span,
    parsed,
    request_bytes,
    span_message,
    spans_of,
)

RESOURCE = Resource()
for _key in ("service.name", "host.name", "service.version"):
    RESOURCE.attributes.add(key=_key).value.string_value = "x"
SCOPE = InstrumentationScope(name="lib", version="1")
SCOPE.attributes.add(key="more").value.int_value = 1


def again(one: Decoded) -> Decoded:
    """The span as it comes out of what quarantine keeps of it."""
    kept = one.request()
    decode = decode_json if is_json_request(kept) else decode_protobuf
    (found,) = spans_of(decode(kept))
    return found


def test_the_parts_that_an_event_keeps_stay_around_a_span() -> None:
    """Over protobuf it is a request that ends with the span's bytes, without what nobody reads."""
    raw = span_message().SerializeToString()
    body = request_bytes(
        raw, b"", resource=RESOURCE.SerializeToString(), scope=SCOPE.SerializeToString()
    )
    one = spans_of(decode_protobuf(body))[0]
    kept = one.request()
    assert kept.endswith(raw)
    (resource_spans,) = parsed(kept).resource_spans
    keys = [pair.key for pair in resource_spans.resource.attributes]
    assert keys == ["service.name", "service.version"]
    (scope_spans,) = resource_spans.scope_spans
    assert scope_spans.scope == InstrumentationScope(name="lib", version="1")
    assert again(one) == one


def test_the_parts_that_an_event_keeps_stay_around_a_json_span() -> None:
    """Over JSON it is a request with the span's text unchanged."""
    attributes: list[Any] = [
        {"key": key, "value": {"stringValue": "x\ud800"}} for key in ("service.name", "host.name")
    ]
    body = json_request(json_span(), resource={"attributes": attributes, "later": 1})
    (one,) = spans_of(decode_json(body))
    kept = json.loads(one.request())
    assert kept["resourceSpans"][0]["resource"] == {"attributes": attributes[:1]}
    assert again(one) == one


NAMELESS = field_bytes(1, field_bytes(1, b"service.name") + field_bytes(2, b"\x0a\x05"))


@pytest.mark.parametrize(
    ("resource", "scope"),
    [
        (b"\x0a\x09x", b""),
        (NAMELESS, b""),
        (b"\x0a", b""),
        (b"", b"\x0a\x09x"),
        (b"", b"\x0a\x01\xff"),
    ],
)
def test_what_cannot_be_read_stays_as_it_is(resource: bytes, scope: bytes) -> None:
    """A resource or scope that is the reason of a refusal is kept, and is so again."""
    (one,) = spans_of(
        decode_protobuf(request_bytes(span_message(), resource=resource, scope=scope))
    )
    assert one.fault is not None
    assert again(one) == one
    assert again(one).request() == one.request()


@pytest.mark.parametrize(
    "broken", [b"5", b'{"attributes":[{"key":"service.name","value":5}]}', b'"\xff"']
)
def test_what_cannot_be_read_of_json_stays_as_it_is(broken: bytes) -> None:
    """So it is in JSON."""
    text = json_request(json_span(), resource={})
    for body in (
        text.replace(b'"resource": {}', b'"resource": ' + broken),
        text.replace(b'{"name": "lib"}', b"5" if b"attr" in broken else broken),
    ):
        (one,) = spans_of(decode_json(body))
        assert one.fault is not None
        assert again(one) == one
        assert again(one).request() == one.request()


@pytest.mark.parametrize("size", [KEPT_BYTES_MAX - 30, KEPT_BYTES_MAX])
def test_a_large_resource_is_not_copied_into_every_file(size: int) -> None:
    """Beyond 4 KiB a resource is not kept, and its span cannot be taken without it."""
    name = {"key": "service.name", "value": {"stringValue": "s" * size}}
    resource = Resource()
    resource.attributes.add(key="service.name").value.string_value = "s" * size
    of_json = json_request(json_span(), resource={"attributes": [name]})
    of_protobuf = request_bytes(span_message(), resource=resource.SerializeToString())
    kept = [*spans_of(decode_json(of_json)), *spans_of(decode_protobuf(of_protobuf))]
    for one in kept:
        assert len(one.request()) < len(one.raw) + KEPT_BYTES_MAX + 200
        whole = len(one.origin.kept.resource) > 99
        assert one.origin.kept.is_whole is whole
        assert (again(one).fault is None) is whole
    assert not kept[0].origin.kept.is_whole
    assert kept[1].origin.kept.is_whole is (size < KEPT_BYTES_MAX - 20)


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60))
def test_any_span_comes_out_as_it_went_in(raw: bytes, resource: bytes, scope: bytes) -> None:
    """Whatever a span, its resource and its scope are, out of quarantine comes the same."""
    (one,) = spans_of(decode_protobuf(request_bytes(raw, resource=resource, scope=scope)))
    found = again(one)
    assert found.raw == raw
    assert (repr(found.span), found.fault) == (repr(one.span), one.fault)
    assert found.request() == one.request()
