"""No input crashes the decoder, hangs it, or costs a good neighbour: the properties of `fuzz/`.

Here inputs are drawn near what is valid: messages with bytes changed, cut, doubled or spliced, JSON
with members replaced, nested or repeated. `make fuzz` goes on from there, by coverage.
"""

import gzip
import json
import sys
import zlib
from pathlib import Path
from typing import Any

import cramjam
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from intentproof_receiver.body import ENCODINGS
from intentproof_receiver.columns import map_block
from intentproof_receiver.columns.wire import read_columns
from intentproof_receiver.decode import Block, Origin, decode_protobuf
from intentproof_receiver.errors import InvalidRequest, TooLarge
from intentproof_receiver.json_split import pruned
from intentproof_receiver.otlp_json import decode_json

from fuzz import target
from tests.receiver.support import field_bytes, json_span, request_bytes, span_message, varint
from tests.receiver.test_decode import messages

SEEDS = Path(target.__file__).with_name("corpus")
ODD = [
    b"",
    b"\x00",
    b"\xff",
    b"\x0b",
    b"\x0c",
    b"\xff" * 9 + b"\x01",
    b"\x80" * 10,
    b"\x4a\x02\x0a\x05",
    varint(2**32 - 1),
    field_bytes(9, field_bytes(1, b"intentproof.intent") + field_bytes(2, b"")),
    field_bytes(9, field_bytes(1, b"intentproof.event_id") + field_bytes(2, b"\x18\x01")),
    field_bytes(9, b"\x18\x05"),
]
thorough = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Valid bytes with a few of them changed, left out, doubled, or put in between."""
    raw = draw(whole)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(raw)))
        end = draw(st.integers(at, min(len(raw), at + 40)))
        piece = draw(st.one_of(st.sampled_from(ODD), st.binary(max_size=8), whole))
        raw = draw(
            st.sampled_from(
                [raw[:at], raw[:at] + raw[end:], raw[:end] + raw[at:], raw[:at] + piece + raw[end:]]
            )
        )
    return raw


spans = st.one_of(messages.map(lambda message: message.SerializeToString()), st.sampled_from(ODD))


@thorough
@given(damaged(spans))
def test_a_damaged_span_costs_no_neighbour(raw: bytes) -> None:
    """Between two spans or among forty, whatever a span's bytes are, all others are taken."""
    target.check_span(raw)


@thorough
@given(damaged(st.lists(spans, max_size=3).map(lambda raws: request_bytes(*raws))))
def test_a_damaged_request_is_taken_or_refused_for_good(raw: bytes) -> None:
    """Any bytes near a request are read, or are refused with an answer that is permanent."""
    target.check_protobuf(raw)


KEYS = st.one_of(
    st.sampled_from(
        [
            *("traceId", "spanId", "name", "kind", "attributes", "events", "links", "status"),
            *("key", "value", "values", "stringValue", "intValue", "doubleValue", "bytesValue"),
            *("arrayValue", "kvlistValue", "keyStrindex", "stringValueStrindex", "code", "later"),
            *("resourceSpans", "scopeSpans", "spans", "resource", "scope", "startTimeUnixNano"),
        ]
    ),
    st.text(max_size=4),
)
ATOMS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["intentproof.intent", "NaN", "-Infinity", "0x1", "00", "ff" * 16, "\ud800"]),
)
values = st.recursive(
    ATOMS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=20,
)
annotated = st.dictionaries(KEYS, values, max_size=3).map(lambda more: json_span() | more)
json_spans = st.one_of(annotated, values).map(lambda value: json.dumps(value).encode())
json_requests = st.lists(json_spans, max_size=3).map(
    lambda raws: b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b",".join(raws) + b"]}]}]}"
)


@thorough
@given(damaged(json_spans))
def test_a_damaged_json_span_costs_no_neighbour(raw: bytes) -> None:
    """Whatever a span's JSON is, if its brackets and quotes end, its neighbours are taken."""
    target.check_json_span(raw)


@thorough
@given(st.one_of(damaged(json_requests), values.map(lambda value: json.dumps(value).encode())))
def test_a_damaged_json_request_is_taken_or_refused_for_good(raw: bytes) -> None:
    """Any bytes near a request are read, or are refused with an answer that is permanent."""
    target.check_json(raw)


bodies = st.binary(max_size=300).flatmap(
    lambda raw: st.sampled_from(
        [
            b"\x00" + raw,
            b"\x01" + gzip.compress(raw),
            b"\x02" + zlib.compress(raw),
            b"\x03" + zstandard.compress(raw),
            b"\x04" + bytes(cramjam.snappy.compress_raw(raw)),
            b"\x05" + bytes(cramjam.snappy.compress(raw)),
        ]
    )
)


@thorough
@given(damaged(bodies))
def test_a_damaged_body_is_unpacked_or_refused_for_good(raw: bytes) -> None:
    """Any bytes near a compressed body become bytes within the limit, or are refused."""
    target.check_body(raw)


def test_each_encoding_is_drawn() -> None:
    """The first byte of a drawn body names one of the encodings."""
    assert len(ENCODINGS) == 6


@pytest.mark.parametrize("seed", sorted(SEEDS.iterdir()), ids=lambda path: path.name)
def test_seeds(seed: Path) -> None:
    """The seeds of the long run hold in the short one."""
    target.check(seed.read_bytes())


MANY = 1_000_000
OPENED = [
    b"[",
    b"{",
    b'{"a":',
    b'[{"a":',
    b'"',
    b'"\\',
    b",",
    b"0",
    b"[[]",
    b'[""',
    b"\xff",
    b"{}[",
]


@pytest.mark.parametrize("piece", OPENED)
@pytest.mark.parametrize("head", [b"", b'{"resourceSpans":', b'{"x":'])
def test_work_on_json_grows_with_its_bytes(piece: bytes, head: bytes) -> None:
    """A million of anything is refused at once: the time of a quadratic reader would be hours."""
    with pytest.raises(InvalidRequest):
        decode_json(head + piece * MANY)


@pytest.mark.parametrize("piece", [b"[]", b'"a"', b'{"a":[]}', b"[[[[[[[[[[[[]]]]]]]]]]]]"])
def test_work_on_a_json_span_grows_with_its_bytes(piece: bytes) -> None:
    """A span of some million values is cut out in one go, and its neighbour is read."""
    raw = b'{"x":[' + piece + (b"," + piece) * (MANY // 10) + b"]}"
    target.check_json_span(raw)


@pytest.mark.parametrize("levels", [319, 320, 321, 50_000])
def test_deep_json_is_pruned(levels: int) -> None:
    """Below 320 levels there is null, and nothing else is changed."""
    raw = b'["a",' + b"[" * (levels - 1) + b"]" * (levels - 1) + b',"]"]'
    kept = min(levels, 320)
    inner = b"null" if levels > 320 else b""
    assert pruned(raw) == b'["a",' + b"[" * (kept - 1) + inner + b"]" * (kept - 1) + b',"]"]'


@pytest.mark.parametrize(
    "piece", [b"\x0b", b"\x0c", b"\x0a\x00", b"\x4a\x00", b"\x80", b"\x12\x00"]
)
def test_work_on_protobuf_grows_with_its_bytes(piece: bytes) -> None:
    """A span of a million fields or opened groups is read, or refused, and never stops a batch."""
    body = request_bytes(span_message(), piece * (MANY // 5))
    found = [one for part in decode_protobuf(body).parts for one in part.decoded([0, 1])]  # type: ignore[union-attr]
    assert found[0].fault is None


@pytest.mark.parametrize("piece", [b"\x0b", b"\x0a\x00", b"\x20\x00", b"\x0a\x02\x12\x00"])
def test_an_envelope_of_too_many_parts_is_refused_early(piece: bytes) -> None:
    """Tens of millions of empty parts are not walked to their end."""
    for body in (piece * MANY * 8, field_bytes(1, piece * MANY * 8)):
        with pytest.raises((InvalidRequest, TooLarge)):
            decode_protobuf(body)


def test_lengths_that_overflow_do_not_reach_the_column_reader(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A length near 2^64 would panic it, which writes on stderr: its span goes one by one."""
    good = span_message(3).SerializeToString()
    crafted = good + b"\x0a" + b"\xff" * 9 + b"\x01"
    negative = span_message(4)
    negative.attributes.add(key="n").value.int_value = -1
    raws = [good] * 40 + [crafted, negative.SerializeToString()]
    mapped = map_block(Block(raws, [(Origin(), len(raws))]), event_bytes_max=1 << 20)
    assert len(mapped.places) == 40
    assert mapped.rest == [40, 41]
    columns = read_columns(raws)
    assert columns is not None
    assert columns.exact.tolist() == [True] * 40 + [False] * 2
    sys.stderr.flush()
    assert "panicked" not in capfd.readouterr().err
