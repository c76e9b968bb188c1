"""OTLP/protobuf request bytes to spans, each on its own, so that a bad one costs itself alone.

The envelope is walked, and each `ScopeSpans` parsed by a descriptor of our own in which spans and
scopes are bytes: the library would lose a whole batch to one bad span. Spans come in blocks, for
those who can read many at once. One span is read by the library first, because that is fast, and by
the lenient reader where the library refuses it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

from google.protobuf import message_factory
from google.protobuf.message import DecodeError
from intentproof_schemas import Pairs, Span, SpanEvent, SpanLink, names

from .attributes import message_pairs, read_attributes, span_class
from .descriptors import BYTES, find_message
from .enclosure import Enclosure, length_delimited
from .errors import InvalidRequest, TooLarge
from .wire import EXCEPTION, Fault, LenientReader, Malformed, Pair, read_fields, read_span

ENVELOPES_MAX = 100_000  # resources and scopes: an empty one is 2 bytes too, and costs more time
SPANS_MAX = 1_000_000  # an empty span is 2 bytes, so 64 MiB may hold 33 million of them
# What is in memory at a time as columns or events. A resource and a scope stand in each event of
# theirs, so that a small request may mean gigabytes: they are counted once a span.
_BLOCK_SPANS = 4096
_BLOCK_BYTES = 16 << 20

_FIRST, _SECOND = 0x0A, 0x12  # tags of the length-delimited fields 1 and 2

_parse_span = span_class().FromString
_new = tuple.__new__  # what a NamedTuple calls, without its Python function in between


class Origin(NamedTuple):
    """What a span has from its resource and scope, as far as the mapping reads it.

    `kept` are the same as bytes, for quarantine.
    """

    resource: Pairs = ()
    scope_name: str = ""
    scope_version: str = ""
    fault: Fault | None = None
    kept: Enclosure = Enclosure()


class Decoded(NamedTuple):
    """A span as received: what could be read of it, what is wrong with it, and its bytes.

    `span` is None where its attributes could not be read.
    """

    span: Span | None
    fault: Fault | None
    raw: bytes
    origin: Origin

    def request(self) -> bytes:
        """A request of this span alone, in the encoding that it came in: what quarantine keeps."""
        return self.origin.kept.request(self.raw)


@dataclass(frozen=True)
class Block:
    """Spans of a request in order, as bytes; `runs` are (origin, how many spans have it)."""

    raws: list[bytes] = field(default_factory=list)
    runs: list[tuple[Origin, int]] = field(default_factory=list)

    def decoded(self, places: Sequence[int]) -> Iterator[Decoded]:
        """The spans at these places, which are in ascending order, one by one. Raises nothing."""
        ends = list(accumulate(count for _, count in self.runs))
        run = 0
        for place in places:
            while place >= ends[run]:
                run += 1
            yield _span(self.raws[place], self.runs[run][0])


@dataclass(frozen=True)
class Request:
    """A decoded request. `parts` are read once; that may raise InvalidRequest or TooLarge."""

    parts: Iterator[Block | Decoded]
    warning: str = ""


def decode_protobuf(body: bytes) -> Request:
    """The spans of an ExportTraceServiceRequest. Raises InvalidRequest or TooLarge."""
    try:
        for _ in _scopes(body):  # all of it, before anything is taken of it
            pass
    except (DecodeError, Malformed) as error:
        raise InvalidRequest("body", "not an ExportTraceServiceRequest") from error
    return Request(_blocks(_scopes(body)))


def _scopes(body: bytes) -> Iterator[tuple[bytes, Any]]:
    """Each scope with its spans, and the resource above it.

    Raises DecodeError, Malformed and TooLarge.
    """
    size = Size()
    for tag, _, resource_spans in read_fields(memoryview(body)):
        size.envelope()
        if tag != _FIRST:
            continue
        resource = b""
        for inner, _, content in read_fields(resource_spans):
            size.envelope()
            if inner == _FIRST:
                resource = bytes(content)
        for inner, _, content in read_fields(resource_spans):
            if inner == _SECOND:
                scope_spans: Any = _parse_scope(bytes(content))
                size.spans(len(scope_spans.spans))
                yield resource, scope_spans


class Size:
    """How much a request holds, as far as it is read. Raises TooLarge beyond its limits."""

    def __init__(self) -> None:
        self._spans = self._envelopes = 0

    def spans(self, more: int = 1) -> None:
        """Count spans."""
        self._spans += more
        if self._spans > SPANS_MAX:
            raise TooLarge(f"over {SPANS_MAX} spans in one request")

    def envelope(self) -> None:
        """Count a resource or a scope, or what stands in its place, empty or not."""
        self._envelopes += 1
        if self._envelopes > ENVELOPES_MAX:
            raise TooLarge(f"over {ENVELOPES_MAX} resources and scopes in one request")


def _blocks(scopes: Iterator[tuple[bytes, Any]]) -> Iterator[Block]:
    block, room = Block(), _BLOCK_BYTES
    above: bytes | None = None
    for resource, scope_spans in scopes:
        if resource is not above:
            above, of_resource = resource, _resource(resource)
        origin = _scope(scope_spans.scope, of_resource)
        origin_bytes = 1 + len(resource) + len(scope_spans.scope)
        raws = scope_spans.spans
        at = 0
        while at < len(raws):
            most = min(_BLOCK_SPANS - len(block.raws), 1 + room // origin_bytes)
            taken = raws[at : at + most]
            block.raws.extend(taken)
            block.runs.append((origin, len(taken)))
            at += len(taken)
            room -= len(taken) * origin_bytes
            if len(block.raws) == _BLOCK_SPANS or room <= 0:
                yield block
                block, room = Block(), _BLOCK_BYTES
    if block.raws:
        yield block


def _span(raw: bytes, origin: Origin) -> Decoded:
    try:
        span = _fast_span(raw, origin)
    except DecodeError:
        return _slow_span(raw, origin)
    return _new(Decoded, (span, origin.fault, raw, origin))


def _slow_span(raw: bytes, origin: Origin) -> Decoded:
    span, fault = read_span(raw)
    if span is None:
        return Decoded(None, fault, raw, origin)
    resource, scope_name, scope_version, *_ = origin
    span = span._replace(resource=resource, scope_name=scope_name, scope_version=scope_version)
    return Decoded(span, fault or origin.fault, raw, origin)


def _fast_span(raw: bytes, origin: Origin) -> Span:
    """The span as the library reads it, its attributes as `attributes` does.

    Raises DecodeError. Runs for every span: locals, positional, no helpers.
    """
    message = _parse_span(raw)
    status = message.status
    events = message.events
    links = message.links
    resource, scope_name, scope_version, _, _ = origin
    return _new(
        Span,
        (
            message.trace_id,
            message.span_id,
            message.parent_span_id,
            message.name,
            message.kind,
            message.start_time_unix_nano,
            message.end_time_unix_nano,
            read_attributes(message.attributes),
            status.code,
            status.message,
            [_event(event) for event in events] if events else (),
            [_link(link) for link in links] if links else (),
            message.dropped_attributes_count,
            message.dropped_events_count,
            message.dropped_links_count,
            resource,
            scope_name,
            scope_version,
        ),
    )


def _event(event: Any) -> SpanEvent:
    return SpanEvent(event.name, message_pairs(event.attributes) if event.name == EXCEPTION else ())


def _link(link: Any) -> SpanLink:
    return SpanLink(link.trace_id, link.span_id, message_pairs(link.attributes))


def _resource(raw: bytes) -> Origin:
    """What the mapping reads of a resource; a fault only where that cannot be read."""
    pairs: list[Pair] = []
    kept: list[bytes] = []
    reader = LenientReader()
    try:
        for tag, _, content in read_fields(memoryview(raw)):
            pair = LenientReader().pair(content, "resource") if tag == 0x0A else None
            if pair is not None and pair[0] in names.RESOURCE_ATTRIBUTES:
                reader.pair(content, "resource")
                pairs.append(pair)
                kept.append(length_delimited(1, bytes(content)))
    except Malformed as error:
        fault = Fault("malformed", f"the resource cannot be read: {error}")
        return Origin(fault=fault, kept=Enclosure(raw).within())
    return Origin(tuple(pairs), fault=reader.fault, kept=Enclosure(b"".join(kept)).within())


def _scope(raw: bytes, of_resource: Origin) -> Origin:
    name = version = ""
    kept: list[bytes] = []
    reader = LenientReader()
    try:
        for tag, _, content in read_fields(raw):
            if tag == 0x0A:
                name = reader.text(content, "scope.name")
            elif tag == 0x12:
                version = reader.text(content, "scope.version")
            else:
                continue
            kept.append(length_delimited(tag >> 3, bytes(content)))
    except Malformed as error:
        reader.blame("malformed", f"the scope cannot be read: {error}")
        kept = [raw]
    return of_resource._replace(
        scope_name=name,
        scope_version=version,
        fault=of_resource.fault or reader.fault,
        kept=of_resource.kept._replace(scope=b"".join(kept)).within(),
    )


_parse_scope = message_factory.GetMessageClass(
    find_message(
        "intentproof.envelope",
        "ScopeSpans",
        {"ScopeSpans": [("scope", 1, BYTES), ("spans", 2, [BYTES])]},
    )
).FromString
