"""OTLP/JSON to spans, each on its own.

The protobuf library's JSON mapping is wrong for OTLP (it reads ids as base64 and takes enum names
and snake_case), so this is a reader of our own:
https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from intentproof_schemas import Span, SpanEvent, SpanLink, names

from .decode import Decoded, Origin, Request
from .enclosure import Enclosure
from .json_fields import (
    Unfit,
    as_integer,
    as_object,
    count_of,
    enum_of,
    id_of,
    list_of,
    pair_of,
    pairs_of,
    text_of,
)
from .json_split import Envelope, Resource, pruned, split
from .wire import EXCEPTION, LEVELS_MAX, Fault, Pair

_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # what surrogateescape makes of a byte
_U64_MAX = 2**64 - 1
_LONG_NUMBER = re.compile(rb"[0-9]{20}")
_DIGITS_MAX = 400  # a number of more is beyond any double, and slow to read
# Members of OTLP as protobuf writes them: a key, never a text (a quote in a text is escaped).
_SNAKE_CASE = re.compile(
    rb'"((?:resource|scope|instrumentation_library)_spans|(?:trace|span|parent_span)_id|'
    rb"(?:start_|end_)?time_unix_nano|dropped_(?:attributes|events|links)_count|"
    rb'(?:string|bool|int|double|array|kvlist|bytes)_value)"[ \t\n\r]*+:'
)


def decode_json(body: bytes) -> Request:
    """The spans of an OTLP/JSON request. Raises InvalidRequest if `body` is none.

    Names that are not ours are ignored, as the specification asks. Where something may hide
    behind them, the request has a warning.
    """
    envelope = split(body)
    return Request(_spans(body, envelope.resources), _warning(body, envelope))


def _warning(body: bytes, envelope: Envelope) -> str:
    if envelope.passed_over:
        return f"passed over, no span was recognised there: {envelope.passed_over}"
    snake = _SNAKE_CASE.search(body)
    if snake is not None:
        found = "ignored" if envelope.has_spans() else "ignored, and no span was recognised"
        return f"{snake[1].decode()}: snake_case names are {found}: names are lowerCamelCase"
    if envelope.names and "resourceSpans" not in envelope.names:
        return "no span was recognised: there is no resourceSpans"
    return ""


def parse(raw: bytes) -> tuple[Any, bool]:
    """A JSON value and whether it is UTF-8 (else bytes are lone surrogates). Raises ValueError.

    What is nested too deep to be looked at is null.
    """
    if _LONG_NUMBER.search(raw) is None:  # of which orjson would make a double
        try:
            return orjson.loads(raw), True
        except (ValueError, RecursionError):
            pass
    # Lone surrogates are JSON. A bare NaN is not, but must not cost a span.
    raw = pruned(raw)
    try:
        text, whole = raw.decode(), True
    except UnicodeDecodeError:
        text, whole = raw.decode(errors="surrogateescape"), False
    try:
        return json.loads(text, parse_int=_number), whole
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _number(digits: str) -> float:
    return int(digits) if len(digits) <= _DIGITS_MAX else math.inf


def _read(raw: bytes, field: str) -> tuple[dict[str, Any], bool]:
    """A message, and whether it is UTF-8. Raises Unfit."""
    if not raw:
        return {}, True
    try:
        value, whole = parse(raw)
    except ValueError as error:
        raise Unfit("malformed", field, "not JSON") from error
    return as_object(value, field), whole


def _spans(body: bytes, resources: Sequence[Resource]) -> Iterator[Decoded]:
    for resource in resources:
        of_resource = _resource(resource.resource)
        for spans in resource.scopes:
            origin = _scope(spans.scope, of_resource)
            places = spans.places
            for start, end in zip(places[::2], places[1::2], strict=True):
                yield _decode_span(body[start:end], origin)


def _resource(raw: bytes) -> Origin:
    """What the mapping reads of a resource; a fault only where that cannot be read."""
    pairs: list[Pair] = []
    kept: list[dict[str, Any]] = []
    try:
        members, whole = _read(raw, "resource")
        for item in list_of(members, "attributes"):
            attribute = as_object(item, "resource.attributes")
            if attribute.get("key") in names.RESOURCE_ATTRIBUTES:
                _check_utf8(attribute, "resource.attributes", whole=whole)
                pairs.extend(pair_of(attribute, "resource.attributes", LEVELS_MAX))
                kept.append({"key": attribute["key"], "value": attribute.get("value")})
    except Unfit as error:
        return Origin(fault=error.fault, kept=Enclosure(raw, b"", is_json=True).within())
    enclosure = Enclosure(_written({"attributes": kept} if kept else {}), b"", is_json=True)
    return Origin(tuple(pairs), kept=enclosure.within())


def _scope(raw: bytes, of_resource: Origin) -> Origin:
    try:
        members, whole = _read(raw, "scope")
        known = {key: text_of(members, key) for key in ("name", "version") if key in members}
        _check_utf8(known, "scope", whole=whole)
    except Unfit as error:
        fault, kept = of_resource.fault or error.fault, of_resource.kept._replace(scope=raw)
        return of_resource._replace(fault=fault, kept=kept.within())
    return of_resource._replace(
        scope_name=known.get("name", ""),
        scope_version=known.get("version", ""),
        kept=of_resource.kept._replace(scope=_written(known)).within(),
    )


def _check_utf8(value: Any, field: str, *, whole: bool) -> None:
    if not whole and _NOT_UTF8.search(json.dumps(value, ensure_ascii=False)):
        raise Unfit("invalid_utf8", field, "not UTF-8")


def _written(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _decode_span(raw: bytes, origin: Origin) -> Decoded:
    try:
        members, whole = _read(raw, "span")
        attributes, fault = _attributes(members)
    except Unfit as error:
        return Decoded(None, error.fault, raw, origin)
    if not whole:
        fault = fault or Fault("invalid_utf8", "the span's JSON is not UTF-8")
    try:
        return Decoded(_span(members, attributes, origin), fault or origin.fault, raw, origin)
    except Unfit as error:
        # Enough of the span to tell whether a rule takes it.
        return Decoded(Span(b"", b"", b"", "", 0, 0, 0, attributes), error.fault, raw, origin)


def _attributes(members: dict[str, Any]) -> tuple[list[Pair], Fault | None]:
    """A span's own attributes; a value nested too deep reads as None, as on the wire."""
    pairs: list[Pair] = []
    fault = None
    for item in list_of(members, "attributes"):
        attribute = as_object(item, "attributes")
        try:
            pairs.extend(pair_of(attribute, "attributes", LEVELS_MAX))
        except Unfit as error:
            if error.fault.reason != "nesting":
                raise
            fault = fault or error.fault
            pairs.append((text_of(attribute, "key"), None))
    return pairs, fault


def _span(members: dict[str, Any], attributes: list[Pair], origin: Origin) -> Span:
    status = as_object(members.get("status"), "status")
    return Span(
        trace_id=id_of(members, "traceId"),
        span_id=id_of(members, "spanId"),
        parent_span_id=id_of(members, "parentSpanId"),
        name=text_of(members, "name"),
        kind=enum_of(members, "kind"),
        start_ns=as_integer(members.get("startTimeUnixNano"), "startTimeUnixNano", 0, _U64_MAX),
        end_ns=as_integer(members.get("endTimeUnixNano"), "endTimeUnixNano", 0, _U64_MAX),
        attributes=attributes,
        status_code=enum_of(status, "code"),
        status_message=text_of(status, "message"),
        events=[_event(as_object(item, "events")) for item in list_of(members, "events")],
        links=[_link(as_object(item, "links")) for item in list_of(members, "links")],
        dropped_attributes_count=count_of(members, "droppedAttributesCount"),
        dropped_events_count=count_of(members, "droppedEventsCount"),
        dropped_links_count=count_of(members, "droppedLinksCount"),
        resource=origin.resource,
        scope_name=origin.scope_name,
        scope_version=origin.scope_version,
    )


def _event(event: dict[str, Any]) -> SpanEvent:
    name = text_of(event, "name")
    pairs = pairs_of(event, LEVELS_MAX)
    return SpanEvent(name, pairs if name == EXCEPTION else ())


def _link(link: dict[str, Any]) -> SpanLink:
    return SpanLink(id_of(link, "traceId"), id_of(link, "spanId"), pairs_of(link, LEVELS_MAX))
