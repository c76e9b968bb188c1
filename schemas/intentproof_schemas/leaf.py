"""The leaf: the exact bytes that the log hashes (contract §4).

A leaf is the JCS text of one flat object whose values are strings. What may name a person stands
in it only as two salted commitments, so that it can be erased while the log still verifies.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import orjson

from .canonical import canonical
from .errors import LeafInvalid
from .event import ExecutionEvent

VERSION = "intentproof.leaf.v1"
LEAF_BYTES_MAX = 32 * 1024
SALT_BYTES = 16
EVENT_KINDS = ("event", "conflict")
CONTEXT_DOMAIN = b"intentproof.context.v1\0"
PAYLOAD_DOMAIN = b"intentproof.payload.v1\0"
QUARANTINE_DOMAIN = b"intentproof.quarantine.v1\0"
QUARANTINE_SALT_BYTES = 32
TENANT = re.compile(r"(?:[a-z][a-z0-9-]{0,62}|_system)")
WRITER = re.compile(r"[a-z][a-z0-9-]{0,39}-[0-9a-f]{8}")

# Leaf keys of an event or conflict in canonical order, and whether each such leaf has the key.
EVENT_MEMBERS = (
    ("action", True),
    ("completed_ns", True),
    ("context", True),
    ("dropped_attributes_count", False),
    ("dropped_events_count", False),
    ("dropped_links_count", False),
    ("event_id", True),
    ("kind", True),
    ("mapping_rule", True),
    ("parent_span_id", False),
    ("payload", True),
    ("provenance", True),
    ("received_ns", True),
    ("run_id", False),
    ("sequence", False),
    ("span_id", False),
    ("stage", False),
    ("started_ns", True),
    ("status", True),
    ("stream_id", False),
    ("tenant", True),
    ("trace_id", False),
    ("v", True),
    ("writer", True),
)
# Leaf keys that two tellings of one event may differ in (contract §4, "The same event again").
TELLING_KEYS = frozenset(
    ("writer", "received_ns", "context", "payload", "mapping_rule", "stream_id", "sequence")
)


def commitment(domain: bytes, salt: bytes, content: bytes) -> str:
    """`sha256:` and the hex SHA-256 of domain, salt and content."""
    return "sha256:" + hashlib.sha256(domain + salt + content).hexdigest()


def event_leaf(
    event: ExecutionEvent,
    *,
    kind: str,
    tenant: str,
    writer: str,
    received_ns: int,
    context: str,
    payload: str,
) -> bytes:
    """The leaf of an event or a conflict; `context` and `payload` are its commitments."""
    members: dict[str, str] = {
        "action": event.action,
        "completed_ns": str(event.completed_ns),
        "context": context,
        "event_id": event.event_id,
        "kind": kind,
        "mapping_rule": event.mapping_rule,
        "payload": payload,
        "provenance": event.provenance,
        "received_ns": str(received_ns),
        "started_ns": str(event.started_ns),
        "status": event.status,
        "tenant": tenant,
        "v": VERSION,
        "writer": writer,
    }
    # One `if` a member: this runs for every event, and a loop over names costs three times as much.
    if event.trace_id.strip("0"):  # neither absent nor all zero
        members["trace_id"] = event.trace_id
    if event.span_id.strip("0"):
        members["span_id"] = event.span_id
    if event.parent_span_id.strip("0"):
        members["parent_span_id"] = event.parent_span_id
    if event.run_id:
        members["run_id"] = event.run_id
    if event.stage:
        members["stage"] = event.stage
    if event.stream_id:
        members["stream_id"] = event.stream_id
    if event.sequence:
        members["sequence"] = str(event.sequence)
    if event.dropped_attributes_count:
        members["dropped_attributes_count"] = str(event.dropped_attributes_count)
    if event.dropped_events_count:
        members["dropped_events_count"] = str(event.dropped_events_count)
    if event.dropped_links_count:
        members["dropped_links_count"] = str(event.dropped_links_count)
    return leaf_bytes(members)


def numbered_leaf(event: ExecutionEvent, *, tenant: str, writer: str, received_ns: int) -> bytes:
    """The leaf that keeps one more stream number of an event that is already in the log."""
    members = {
        "event_id": event.event_id,
        "kind": "numbered",
        "received_ns": str(received_ns),
        "sequence": str(event.sequence),
        "stream_id": event.stream_id,
        "tenant": tenant,
        "trace_id": event.trace_id if event.trace_id.strip("0") else "",
        "v": VERSION,
        "writer": writer,
    }
    return leaf_bytes({key: value for key, value in members.items() if value})


def detail_leaf(
    kind: str, detail: Mapping[str, Any], *, tenant: str, writer: str, received_ns: int
) -> bytes:
    """The leaf of a kind that has only a `detail`, an object whose schema is in `schemas/`."""
    return leaf_bytes(
        {
            "detail": canonical(dict(detail)).decode(),
            "kind": kind,
            "received_ns": str(received_ns),
            "tenant": tenant,
            "v": VERSION,
            "writer": writer,
        }
    )


def leaf_bytes(members: Mapping[str, str]) -> bytes:
    """JCS of a flat object of strings with ASCII keys. Raises LeafInvalid over 32 KiB."""
    try:
        raw = orjson.dumps(members, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise LeafInvalid(f"a leaf that UTF-8 cannot write: {error}") from error
    if len(raw) > LEAF_BYTES_MAX:
        raise LeafInvalid(f"a leaf of {len(raw)} bytes, the limit is {LEAF_BYTES_MAX}")
    return raw


def read_leaf(raw: bytes) -> dict[str, str]:
    """A leaf's members, of any version and kind.

    Raises LeafInvalid unless the bytes are the canonical form of a flat object of strings that
    has the five members of every leaf.
    """
    if len(raw) > LEAF_BYTES_MAX:
        raise LeafInvalid(f"a leaf of {len(raw)} bytes, the limit is {LEAF_BYTES_MAX}")
    try:
        members = orjson.loads(raw)
    except ValueError as error:
        raise LeafInvalid(f"a leaf is not JSON: {error}") from error
    if not isinstance(members, dict) or not all(type(v) is str for v in members.values()):
        raise LeafInvalid("a leaf is not a flat object of strings")
    if canonical(members) != raw:
        raise LeafInvalid("a leaf is not in canonical form")
    missing = {"v", "kind", "tenant", "writer", "received_ns"} - members.keys()
    if missing:
        raise LeafInvalid(f"a leaf lacks {', '.join(sorted(missing))}")
    return members
