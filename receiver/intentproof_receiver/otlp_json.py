"""OTLP/JSON to spans, each on its own.

The protobuf library's JSON mapping is wrong for OTLP (it reads ids as base64 and takes enum names
and snake_case), so this is a reader of our own:
https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson
from intentproof_schemas import Span, SpanEvent, SpanLink, names

from .decode import Decoded, Origin, Request, counted
from .errors import InvalidRequest
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
from .wire import EXCEPTION, LEVELS_MAX, Fault, Pair

_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # what surrogateescape makes of a byte
_U64_MAX = 2**64 - 1
_SNAKE_NAMES = ("resource_spans", "scope_spans")


class JsonText:
    """A parsed JSON value; `bytes()` writes it, which only quarantine asks for."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __bytes__(self) -> bytes:
        """The value as ASCII JSON. Raises InvalidRequest where it is nested too deep for that."""
        try:
            return json.dumps(self._value, separators=(",", ":")).encode()
        except RecursionError as error:
            raise InvalidRequest("body", "nested too deep") from error


def decode_json(body: bytes) -> Request:
    """The spans of an OTLP/JSON request. Raises InvalidRequest if `body` is none.

    Names that are not ours are ignored, as the specification asks. Where a body's spans hide
    behind snake_case names, the request has a warning.
    """
    try:
        text, whole = body.decode(), True
    except UnicodeDecodeError:
        text, whole = body.decode(errors="surrogateescape"), False
    envelope = _parse(text)
    if not isinstance(envelope, dict):
        raise InvalidRequest("body", "must be a JSON object")
    warning = ""
    if _is_snake_case(envelope):
        warning = "no span was recognised under a snake_case name: names are lowerCamelCase"
    return Request(_spans(envelope, whole=whole), warning)


def _parse(text: str) -> Any:
    try:
        return orjson.loads(text)
    except (ValueError, RecursionError):
        # Lone surrogates are JSON. A bare NaN is not, but must not cost a whole batch.
        pass
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("body", f"not JSON: {type(error).__name__}") from error


def _is_snake_case(envelope: dict[str, Any]) -> bool:
    inner = envelope.get("resourceSpans")
    levels = [envelope, *(inner if isinstance(inner, list) else ())]
    return any(
        name in level for level in levels if isinstance(level, dict) for name in _SNAKE_NAMES
    )


def _spans(envelope: dict[str, Any], *, whole: bool) -> Iterator[Decoded]:
    count = 0
    for resource_spans in _objects(envelope, "resourceSpans"):
        of_resource = _resource(resource_spans.get("resource"))
        for scope_spans in _objects(resource_spans, "scopeSpans"):
            origin = _scope(scope_spans.get("scope"), of_resource)
            raws = scope_spans.get("spans")
            if raws is None:
                continue
            if not isinstance(raws, list):
                raise InvalidRequest("spans", "must be an array")
            count = counted(count, len(raws))
            for raw in raws:
                yield _decode_span(raw, origin, whole=whole)


def _objects(parent: dict[str, Any], name: str) -> list[dict[str, Any]]:
    items = parent.get(name)
    if items is None:
        return []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InvalidRequest(name, "must be an array of objects")
    return items


def _resource(resource: Any) -> Origin:
    """What the mapping reads of a resource; a fault only where that cannot be read."""
    kept: list[Pair] = []
    try:
        for item in list_of(as_object(resource, "resource"), "attributes"):
            attribute = as_object(item, "resource.attributes")
            if attribute.get("key") in names.RESOURCE_ATTRIBUTES:
                kept.extend(pair_of(attribute, "resource.attributes", LEVELS_MAX))
    except Unfit as error:
        return Origin(fault=error.fault)
    return Origin(tuple(kept))


def _scope(scope: Any, of_resource: Origin) -> Origin:
    try:
        members = as_object(scope, "scope")
        name, version = text_of(members, "name"), text_of(members, "version")
    except Unfit as error:
        return of_resource._replace(fault=of_resource.fault or error.fault)
    return of_resource._replace(scope_name=name, scope_version=version)


def _decode_span(raw: Any, origin: Origin, *, whole: bool) -> Decoded:
    source = JsonText(raw)
    try:
        members = as_object(raw, "span")
        attributes, fault = _attributes(members)
    except Unfit as error:
        return Decoded(None, error.fault, source)
    if not whole and _NOT_UTF8.search(json.dumps(raw, ensure_ascii=False)):
        fault = fault or Fault("invalid_utf8", "the span's JSON is not UTF-8")
    try:
        return Decoded(_span(members, attributes, origin), fault or origin.fault, source)
    except Unfit as error:
        # Enough of the span to tell whether a rule takes it.
        return Decoded(Span(b"", b"", b"", "", 0, 0, 0, attributes), error.fault, source)


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
