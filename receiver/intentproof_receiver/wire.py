"""A lenient protobuf reader for spans that the protobuf library refuses.

The library refuses a whole span for one byte that is not UTF-8, or for values nested deeper than
some 32 levels. This one reads such a span, says what is wrong with it, and leaves the judgement to
the caller. Depth is bounded by LEVELS_MAX, work by the number of bytes.
"""

import logging
import struct
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from intentproof_schemas import KeyValues, Span, SpanEvent, SpanLink, Value

from .tally import Tally

LEVELS_MAX = 64  # contract §2; OpenTelemetry's AttributeValueDepthLimit
EXCEPTION = "exception"  # the only span event whose attributes the mapping reads

_VARINT, _FIXED64, _BYTES, _GROUP, _END_GROUP, _FIXED32 = 0, 1, 2, 3, 4, 5
_VARINT_BYTES_MAX = 10
_FIELDS_MAX = 1_000_000  # of one message: a byte may be one, and each takes a microsecond
_U32 = 2**32 - 1
_U64 = 2**64 - 1

_log = logging.getLogger(__name__)
STRINDEX_TEXTS = Tally()  # keys and values by index, which were treated as absent

Pair = tuple[str, Value]
Bytes: TypeAlias = bytes | memoryview


class Fault(NamedTuple):
    """What is wrong with a span: a stable word, and a sentence for people."""

    reason: str
    message: str


class Malformed(Exception):
    """Bytes that are not the protobuf wire format."""


def warn_of_strindex() -> None:
    """Count an index into a table that traces do not have; the first in a process is logged."""
    if STRINDEX_TEXTS.add() == 1:
        _log.warning("strindex_in_traces", extra={"fields": {"treated_as": "absent"}})


def read_fields(raw: Bytes) -> Iterator[tuple[int, int, Bytes]]:
    """(tag, number, bytes) of each field of a message; `tag` is field number << 3 | wire type.

    Raises Malformed. `number` is set for varints, `bytes` for the other wire types: of a
    memoryview views, so that nested messages are not copied once a level. Groups, which OTLP does
    not have, are passed over, at any depth.
    """
    at, end, groups, count = 0, len(raw), 0, 0
    while at < end:
        count += 1
        if count > _FIELDS_MAX:
            raise Malformed(f"over {_FIELDS_MAX} fields")
        tag, at = _varint(raw, at)
        wire_type = tag & 7
        if tag == wire_type:
            raise Malformed(f"a field without a number at byte {at}")
        number, size = 0, 0
        if wire_type == _VARINT:
            number, at = _varint(raw, at)
        elif wire_type == _BYTES:
            size, at = _varint(raw, at)
        elif wire_type in (_FIXED64, _FIXED32):
            size = 8 if wire_type == _FIXED64 else 4
        elif wire_type == _GROUP:
            groups += 1
            continue
        elif wire_type == _END_GROUP and groups:
            groups -= 1
            continue
        else:
            raise Malformed(f"wire type {wire_type} at byte {at}")
        if size > end - at:
            raise Malformed(f"a field of {size} bytes at byte {at}, of which {end - at} are there")
        if not groups:
            yield tag, number, raw[at : at + size]
        at += size
    if groups:
        raise Malformed("a group that does not end")


def _varint(raw: Bytes, at: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(raw[at : at + _VARINT_BYTES_MAX]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value & _U64, at + index + 1
    raise Malformed(f"a number that does not end at byte {at}")


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _unsigned(raw: Bytes) -> int:
    return int.from_bytes(raw, "little")


class LenientReader:
    """Reads messages of OTLP, replacing what is not UTF-8 and remembering the first fault."""

    def __init__(self) -> None:
        self.fault: Fault | None = None

    def blame(self, reason: str, message: str) -> None:
        """Remember a fault, unless there was one before."""
        if self.fault is None:
            self.fault = Fault(reason, message)

    def text(self, raw: Bytes, field: str) -> str:
        """UTF-8 text; a fault and U+FFFD where it is not."""
        try:
            return str(raw, "utf-8")
        except UnicodeDecodeError:
            self.blame("invalid_utf8", f"{field} is not UTF-8")
            return str(raw, "utf-8", "replace")

    def pair(self, raw: Bytes, field: str, levels: int = LEVELS_MAX) -> Pair | None:
        """A KeyValue; None where its key is an index into a table that traces do not have."""
        key, by_index = "", False
        value: Bytes = b""
        for tag, number, content in read_fields(raw):
            if tag == 0x0A:
                key = self.text(content, f"a key of {field}")
            elif tag == 0x12:
                value = content
            elif tag == 0x18:
                by_index = number != 0
        if by_index and not key:
            warn_of_strindex()
            return None
        return key, self.value(value, f"{field}[{key[:80]!r}]", levels)

    def value(self, raw: Bytes, field: str, levels: int = LEVELS_MAX) -> Value:
        """An AnyValue. Values nested deeper than `levels` are a fault and read as None."""
        value: Value = None
        for tag, number, content in read_fields(raw):
            if tag == 0x0A:
                value = self.text(content, field)
            elif tag == 0x10:
                value = number != 0
            elif tag == 0x18:
                value = _signed(number, 64)
            elif tag == 0x21:
                value = struct.unpack("<d", content)[0]
            elif tag in (0x2A, 0x32):
                value = self._nested(tag, content, field, levels)
            elif tag == 0x3A:
                value = bytes(content)
            elif tag == 0x40:
                warn_of_strindex()
        return value

    def _nested(self, tag: int, raw: Bytes, field: str, levels: int) -> Value:
        if levels <= 0:
            self.blame("nesting", f"{field} is nested deeper than {LEVELS_MAX} levels")
            return None
        items = [content for inner, _, content in read_fields(raw) if inner == 0x0A]
        if tag == 0x2A:
            return [self.value(item, field, levels - 1) for item in items]
        pairs = (self.pair(item, field, levels - 1) for item in items)
        return KeyValues(pair for pair in pairs if pair is not None)

    def inside(self, raw: Bytes, field: str) -> list[tuple[int, int, Bytes]]:
        """The fields of a message whose damage does not make the attributes unreadable."""
        try:
            return list(read_fields(raw))
        except Malformed as error:
            self.blame("malformed", f"{field}: {error}")
            return []

    def pairs(self, items: list[Bytes], field: str) -> list[Pair]:
        """A repeated KeyValue outside the span's own attributes."""
        result = []
        for raw in items:
            try:
                pair = self.pair(raw, field)
            except Malformed as error:
                self.blame("malformed", f"{field}: {error}")
            else:
                if pair is not None:
                    result.append(pair)
        return result

    def event(self, raw: Bytes) -> SpanEvent:
        """A span event; its attributes are kept where the mapping reads them."""
        name, attributes = "", []
        for tag, _, content in self.inside(raw, "events"):
            if tag == 0x12:
                name = self.text(content, "the name of an event")
            elif tag == 0x1A:
                attributes.append(content)
        pairs = self.pairs(attributes, "events.attributes")
        return SpanEvent(name, pairs if name == EXCEPTION else ())

    def link(self, raw: Bytes) -> SpanLink:
        """A span link."""
        trace_id = span_id = b""
        attributes = []
        for tag, _, content in self.inside(raw, "links"):
            if tag == 0x0A:
                trace_id = bytes(content)
            elif tag == 0x12:
                span_id = bytes(content)
            elif tag == 0x1A:
                self.text(content, "links.trace_state")
            elif tag == 0x22:
                attributes.append(content)
        return SpanLink(trace_id, span_id, self.pairs(attributes, "links.attributes"))

    def status(self, raw: Bytes) -> tuple[int, str]:
        """A span's status: code and message."""
        code, message = 0, ""
        for tag, number, content in self.inside(raw, "status"):
            if tag == 0x12:
                message = self.text(content, "status.message")
            elif tag == 0x18:
                code = _signed(number, 32)
        return code, message


def read_span(raw: bytes) -> tuple[Span | None, Fault | None]:
    """A span as far as it can be read, and the first thing that is wrong with it.

    The span is None where its attributes cannot be read. Resource and scope are left empty.
    Raises nothing.
    """
    reader = LenientReader()
    try:
        return _read_span(raw, reader), reader.fault
    except Malformed as error:
        return None, Fault("malformed", f"the span cannot be read: {error}")


def _read_span(raw: bytes, reader: LenientReader) -> Span:
    numbers: dict[int, int] = {}
    last: dict[int, Bytes] = {}
    repeated: dict[int, list[Bytes]] = {0x4A: [], 0x5A: [], 0x6A: []}
    for tag, number, content in read_fields(memoryview(raw)):
        if tag in repeated:
            repeated[tag].append(content)
        elif tag & 7 == _VARINT:
            numbers[tag] = number
        else:
            last[tag] = content
    reader.text(last.get(0x1A, b""), "trace_state")
    pairs = [reader.pair(item, "attributes") for item in repeated[0x4A]]
    code, message = reader.status(last.get(0x7A, b""))
    return Span(
        trace_id=bytes(last.get(0x0A, b"")),
        span_id=bytes(last.get(0x12, b"")),
        parent_span_id=bytes(last.get(0x22, b"")),
        name=reader.text(last.get(0x2A, b""), "name"),
        kind=_signed(numbers.get(0x30, 0), 32),
        start_ns=_unsigned(last.get(0x39, b"")),
        end_ns=_unsigned(last.get(0x41, b"")),
        attributes=[pair for pair in pairs if pair is not None],
        status_code=code,
        status_message=message,
        events=[reader.event(item) for item in repeated[0x5A]],
        links=[reader.link(item) for item in repeated[0x6A]],
        dropped_attributes_count=numbers.get(0x50, 0) & _U32,
        dropped_events_count=numbers.get(0x60, 0) & _U32,
        dropped_links_count=numbers.get(0x70, 0) & _U32,
    )
