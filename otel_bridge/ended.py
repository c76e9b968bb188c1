"""An ended span on its way out: numbered, with the attributes that the span's limit evicted.

What is cheap is done on the thread that ended the span; the copy for the wire and the mapping
are made when an exporter asks, which for the sender is on its own thread.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from intentproof_schemas import ExecutionEvent, Span, SpanEvent, SpanLink, SpanRejected, map_span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, Status

from .values import mapping_value, plain_attributes, whole_text, wire_attributes

_BASE_BYTES = 512  # ids, times, names: what a span weighs without its texts


class WireSpan(ReadableSpan):
    """A copy of an ended span that the encoder takes whole. It keeps what its original dropped."""

    def __init__(self, span: ReadableSpan, attributes: Mapping[str, Any], *, restored: int) -> None:
        description = span.status.description
        super().__init__(
            name=whole_text(span.name),
            context=span.get_span_context(),
            parent=span.parent,
            resource=_wire_resource(span.resource),
            attributes=wire_attributes(attributes),
            events=[_wire_event(event) for event in span.events],
            links=[_wire_link(link) for link in span.links],
            kind=span.kind,
            status=Status(span.status.status_code, description and whole_text(description)),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=_wire_scope(span.instrumentation_scope),
        )
        self._dropped = (
            max(0, span.dropped_attributes - restored),
            span.dropped_events,
            span.dropped_links,
        )

    @property
    def dropped_attributes(self) -> int:
        """Attributes that the span's limit evicted for good."""
        return self._dropped[0]

    @property
    def dropped_events(self) -> int:
        """Span events that the span's limit evicted."""
        return self._dropped[1]

    @property
    def dropped_links(self) -> int:
        """Links that the span's limit evicted."""
        return self._dropped[2]


class EndedSpan:
    """One event on its way out. Immutable; made by the processor, read by one exporter."""

    __slots__ = ("_attributes", "_restored", "_span")

    def __init__(
        self, span: ReadableSpan, attributes: Mapping[str, Any], *, restored: int = 0
    ) -> None:
        self._span = span
        self._attributes = attributes
        self._restored = restored

    def wire_span(self) -> WireSpan:
        """The copy to encode. Costs time with the size of the span; may run on any thread."""
        return WireSpan(self._span, self._attributes, restored=self._restored)

    def bytes_estimate(self) -> int:
        """About how many bytes the span weighs: what its texts hold. Cheap."""
        size = _BASE_BYTES + _text_bytes(self._attributes)
        for event in self._span.events:
            size += _text_bytes(event.attributes or {})
        return size


def map_ended(span: ReadableSpan) -> ExecutionEvent | SpanRejected | None:
    """What the receiver will make of a span: the same pure function on the same values."""
    try:
        return map_span(read_span(span))
    except SpanRejected as rejected:
        return rejected


def read_span(span: ReadableSpan) -> Span:
    """An SDK span as the mapping reads it. Pure."""
    context = span.get_span_context()
    scope = span.instrumentation_scope
    return Span(
        trace_id=context.trace_id.to_bytes(16, "big") if context else b"",
        span_id=context.span_id.to_bytes(8, "big") if context else b"",
        parent_span_id=span.parent.span_id.to_bytes(8, "big") if span.parent else b"",
        name=span.name,
        kind=span.kind.value + 1,  # OTLP's numbers begin with "unspecified"
        start_ns=span.start_time or 0,
        end_ns=span.end_time or 0,
        attributes=_pairs(span.attributes),
        status_code=span.status.status_code.value,
        status_message=span.status.description or "",
        events=[SpanEvent(event.name, _pairs(event.attributes)) for event in span.events],
        links=[_read_link(link) for link in span.links],
        dropped_attributes_count=span.dropped_attributes,
        dropped_events_count=span.dropped_events,
        dropped_links_count=span.dropped_links,
        resource=_pairs(span.resource.attributes),
        scope_name=scope.name if scope else "",
        scope_version=(scope.version or "") if scope else "",
    )


def _read_link(link: Link) -> SpanLink:
    return SpanLink(
        link.context.trace_id.to_bytes(16, "big"),
        link.context.span_id.to_bytes(8, "big"),
        _pairs(link.attributes),
    )


def _pairs(attributes: Mapping[str, Any] | None) -> Sequence[tuple[str, Any]]:
    return [(key, mapping_value(value)) for key, value in plain_attributes(attributes).items()]


def _text_bytes(attributes: Mapping[str, Any]) -> int:
    size = 0
    for key, value in attributes.items():
        # A nested value's text costs a walk to weigh; its printed form is near enough.
        kind = type(value)
        if kind is str or kind is bytes:
            size += len(value)
        elif kind is dict or kind is tuple:
            size += len(str(value))
        size += len(key) + 16
    return size


def _wire_event(event: Event) -> Event:
    return Event(whole_text(event.name), wire_attributes(event.attributes or {}), event.timestamp)


def _wire_link(link: Link) -> Link:
    return Link(link.context, wire_attributes(link.attributes or {}))


def _wire_resource(resource: Resource) -> Resource:
    """The resource itself where it needs no mending, so that spans of one resource stay one."""
    attributes = plain_attributes(resource.attributes)
    wired = wire_attributes(attributes)
    return resource if wired == attributes else Resource(wired, resource.schema_url)


def _wire_scope(scope: InstrumentationScope | None) -> InstrumentationScope | None:
    if scope is None or scope.name.isascii():
        return scope
    return InstrumentationScope(
        whole_text(scope.name), scope.version, scope.schema_url, scope.attributes
    )
