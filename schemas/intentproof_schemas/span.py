"""The span as the mapping reads it: what OTLP and the SDK have in common, and nothing of either.

The receiver builds it from OTLP, the bridge from a `ReadableSpan`. Tuples, because a span is
built for every span received and a tuple is the cheapest immutable thing that Python has.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias


class KeyValues(tuple[tuple[str, "Value"], ...]):
    """An OTLP key-value list: pairs in order of arrival, duplicate keys included."""

    __slots__ = ()


Value: TypeAlias = "bool | int | float | str | bytes | Sequence[Value] | KeyValues | None"
Pairs: TypeAlias = Sequence[tuple[str, Value]]


class SpanEvent(NamedTuple):
    """A span event, such as `exception`."""

    name: str
    attributes: Pairs


class SpanLink(NamedTuple):
    """A link to another span; ids as raw bytes."""

    trace_id: bytes
    span_id: bytes
    attributes: Pairs


class Span(NamedTuple):
    """One ended span with its resource and scope; ids as raw bytes, times in Unix nanoseconds.

    `kind` and `status_code` are OTLP's numbers (0 unspecified or unset).
    """

    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: Pairs
    status_code: int = 0
    status_message: str = ""
    events: Sequence[SpanEvent] = ()
    links: Sequence[SpanLink] = ()
    dropped_attributes_count: int = 0
    dropped_events_count: int = 0
    dropped_links_count: int = 0
    resource: Pairs = ()
    scope_name: str = ""
    scope_version: str = ""
