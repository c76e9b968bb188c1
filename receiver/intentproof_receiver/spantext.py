"""A span as JSON for those who look at one, as far as it can be read. Pure."""

import base64
import math
from typing import Any

from intentproof_schemas import KeyValues, Pairs, Value

from .decode import Decoded


def span_members(one: Decoded | None) -> dict[str, Any] | None:
    """What could be read of a span, with its resource and scope; None where nothing could."""
    if one is None or one.span is None:
        return None
    span = one.span
    return {
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent_span_id": span.parent_span_id.hex(),
        "name": span.name,
        "kind": span.kind,
        "start_time_unix_nano": span.start_ns,
        "end_time_unix_nano": span.end_ns,
        "status": {"code": span.status_code, "message": span.status_message},
        "attributes": _pairs(span.attributes),
        "events": [
            {"name": each.name, "attributes": _pairs(each.attributes)} for each in span.events
        ],
        "links": [
            {"trace_id": each.trace_id.hex(), "span_id": each.span_id.hex()} for each in span.links
        ],
        "resource": _pairs(span.resource),
        "scope": {"name": span.scope_name, "version": span.scope_version},
    }


def _pairs(pairs: Pairs) -> list[list[Any]]:
    """In order, duplicate keys included."""
    return [[key, _plain(value)] for key, value in pairs]


def _plain(value: Value) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, KeyValues):
        return _pairs(value)
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
