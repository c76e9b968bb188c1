"""What the tests of this room share: where vectors stand, and spans to begin with."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from intentproof_schemas import (
    ExecutionEvent,
    Pairs,
    Span,
    SpanRejected,
    event_text,
    map_span,
    schema,
)

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = REPOSITORY.parent / "shared"
TRACE_ID = bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e4736")
SPAN_ID = bytes.fromhex("00f067aa0ba902b7")
START_NS = 1_795_262_400_000_000_000  # 2026-11-21T12:00:00Z
OK, ERROR = 1, 2  # OTLP status codes; 0 is unset

BLANK = "\t\n\r "

# The texts of contract section 2 but the intent, and the field of an event that holds each.
TEXTS = {
    "intentproof.action": "action",
    "intentproof.correlation_id": "correlation_id",
    "intentproof.event_id": "event_id",
    "intentproof.stream_id": "stream_id",
    "intentproof.run_id": "run_id",
    "intentproof.stage": "stage",
}
OURS = (
    "intentproof.span_kind",
    "intentproof.scope.name",
    "intentproof.scope.version",
    "intentproof.links",
    "intentproof.other",
    "intentproof.duplicate_keys",
    "intentproof.trace_id",
    "intentproof.span_id",
)

# What marks a tool span, convention by convention.
GEN_AI = ("gen_ai.operation.name", "execute_tool")
MCP = ("mcp.method.name", "tools/call")
OPENINFERENCE = ("openinference.span.kind", "TOOL")
OPENLLMETRY = ("traceloop.span.kind", "tool")

BARE = Span(
    trace_id=TRACE_ID,
    span_id=SPAN_ID,
    parent_span_id=b"",
    name="refund",
    kind=0,
    start_ns=START_NS,
    end_ns=START_NS + 1_500_000,
    attributes=(),
)


def vectors(name: str) -> Path:
    """A file of the published vectors; skips the test where they are not at hand."""
    path = SHARED / "vectors" / name
    if not path.exists():
        pytest.skip(f"vectors are not at hand: {path}")
    return path


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(
        schema(name), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )


def declared(*attributes: tuple[str, Any], **fields: Any) -> Span:
    """An intent span with further attributes, and with other fields replaced."""
    pairs: Pairs = (("intentproof.intent", "Return captured funds"), *attributes)
    return BARE._replace(attributes=pairs, **fields)


def observed(*attributes: tuple[str, Any], **fields: Any) -> Span:
    """A span that the GenAI convention takes."""
    return BARE._replace(attributes=(GEN_AI, *attributes), **fields)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def mapped(span: Span) -> ExecutionEvent:
    event = map_span(span)
    assert event is not None
    return event


def refusal(span: Span) -> SpanRejected:
    with pytest.raises(SpanRejected) as caught:
        map_span(span)
    return caught.value


def kept(span: Span) -> dict[str, Any]:
    """The attributes that the span's event commits to."""
    text = mapped(span).attributes
    found: dict[str, Any] = json.loads(text) if text else {}
    return found


def shown(span: Span) -> dict[str, Any]:
    """The span's event as the outside sees it."""
    document: dict[str, Any] = json.loads(event_text(mapped(span)))
    return document
