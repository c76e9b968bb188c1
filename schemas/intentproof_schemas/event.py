"""The ExecutionEvent: what IntentProof keeps of a span (contract §3).

The parts that JSON texts make up are held as RFC 8785 text from the moment they are read, and
spliced from then on: never parsed and written again.
"""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from . import names
from .canonical import canonical, text

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MEMBER = re.compile(r'"((?:[^"\\]|\\.)*)":(?:"(?:[^"\\]|\\.)*"|[^,}]*)')


class ExecutionEvent(NamedTuple):
    """One event. Ids are lower-case hex or text, "" where there is none; times are Unix ns.

    `attributes`, `inputs`, `output` and `error` are RFC 8785 texts; `attributes` is "" where the
    event has none, `output` and `error` are None where the event has no such member. The last
    three are as the event's leaf and committed members need them; nothing else is kept.
    """

    event_id: str
    trace_id: str
    span_id: str
    parent_span_id: str
    action: str
    status: str
    started_ns: int
    completed_ns: int
    provenance: str
    mapping_rule: str
    intent: str
    correlation_id: str
    attributes: str
    inputs: str
    output: str | None
    error: str | None
    run_id: str = ""
    stage: str = ""
    stream_id: str = ""
    sequence: int = 0
    dropped_attributes_count: int = 0
    dropped_events_count: int = 0
    dropped_links_count: int = 0


def microseconds(ns: int) -> int:
    """Unix microseconds of Unix nanoseconds: the floor, also before 1970."""
    return ns // 1000


def completed_us(started_ns: int, completed_ns: int) -> int:
    """When an event counts as completed, in Unix microseconds: never before it started."""
    return max(microseconds(started_ns), microseconds(completed_ns))


def duration_ms(started_ns: int, completed_ns: int) -> float:
    """An event's duration in milliseconds, never negative."""
    return (completed_us(started_ns, completed_ns) - microseconds(started_ns)) / 1000


def timestamp(us: int) -> str:
    """Unix microseconds as RFC 3339 UTC with six fraction digits and `Z`."""
    moment = EPOCH + timedelta(microseconds=us)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond:06d}Z"


def context_text(event: ExecutionEvent) -> bytes:
    """JCS of {attributes, correlationId, intent}, each present iff the event has it."""
    attributes = f'"attributes":{event.attributes},' if event.attributes else ""
    correlation = ""
    if event.correlation_id:
        correlation = f'"correlationId":{_quoted(event.correlation_id)},'
    return f'{{{attributes}{correlation}"intent":{_quoted_again(event.intent)}}}'.encode()


def payload_text(event: ExecutionEvent) -> bytes:
    """JCS of {error, inputs, output}, each present iff the event has it."""
    error = "" if event.error is None else f'"error":{event.error},'
    output = "" if event.output is None else f',"output":{event.output}'
    return f'{{{error}"inputs":{event.inputs}{output}}}'.encode()


def _quoted(value: str) -> str:
    return text(value).decode()


# What is meant is said in a few ways only.
_quoted_again = lru_cache(maxsize=1024)(_quoted)


def shown_attributes(attributes: str, *, trace_id: str, span_id: str) -> str:
    """Stored attributes with the span's ids spliced in, as the outside sees them.

    Attribute keys are ASCII and the object is flat (contract §3), so that each member is found
    by its text and the order of keys is the order of their bytes.
    """
    added = {names.SPAN_ID: span_id, names.TRACE_ID: trace_id}
    members = [(match[1], match[0]) for match in _MEMBER.finditer(attributes)]
    members += [(key, f'"{key}":"{value}"') for key, value in added.items() if value]
    return "{" + ",".join(member for _, member in sorted(members)) + "}" if members else ""


def event_text(event: ExecutionEvent) -> bytes:
    """The RFC 8785 text of the event as shown to the outside."""
    attributes = shown_attributes(
        event.attributes, trace_id=event.trace_id, span_id=event.span_id
    ).encode()
    completed = completed_us(event.started_ns, event.completed_ns)
    members: list[tuple[bytes, bytes | None]] = [
        (b"action", text(event.action)),
        (b"attributes", attributes or None),
        (b"completedAt", text(timestamp(completed))),
        (b"correlationId", text(event.correlation_id) if event.correlation_id else None),
        (b"durationMs", canonical(duration_ms(event.started_ns, event.completed_ns))),
        (b"error", None if event.error is None else event.error.encode()),
        (b"id", text(event.event_id)),
        (b"inputs", event.inputs.encode()),
        (b"intent", text(event.intent)),
        (b"output", None if event.output is None else event.output.encode()),
        (b"startedAt", text(timestamp(microseconds(event.started_ns)))),
        (b"status", text(event.status)),
    ]
    shown = (b'"' + name + b'":' + value for name, value in members if value is not None)
    return b"{" + b",".join(shown) + b"}"


def event_hash(event: ExecutionEvent) -> str:
    """`sha256:` and the hex SHA-256 of the event as shown. Made when asked for, never stored."""
    return "sha256:" + hashlib.sha256(event_text(event)).hexdigest()
