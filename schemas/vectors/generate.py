"""Writes the published test vectors: `python schemas/vectors/generate.py`.

Nothing here is random and nothing reads a clock: the same code writes the same bytes. The key is
a PUBLIC TEST KEY; whoever trusts it trusts everybody.
"""

import base64
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from intentproof_schemas import (
    CONTEXT_DOMAIN,
    PAYLOAD_DOMAIN,
    QUARANTINE_DOMAIN,
    ExecutionEvent,
    KeyValues,
    Pairs,
    Span,
    SpanEvent,
    SpanLink,
    SpanRejected,
    Value,
    commitment,
    context_text,
    detail_leaf,
    event_hash,
    event_leaf,
    event_text,
    map_span,
    numbered_leaf,
    payload_text,
)
from intentproof_store.merkle import leaf_hash, root_of
from intentproof_store.note import Checkpoint, VerifierKey, sign_note

FOLDER = Path(__file__).resolve().parent
TENANT, WRITER = "acme", "vectors-00000001"
ORIGIN = f"vectors.example/{TENANT}/{WRITER}"
TEST_SEED = hashlib.sha256(b"intentproof public test key, never trust it").digest()
RECEIVED_NS = 1_795_262_500_000_000_000  # of the first leaf; each next one a millisecond later
STEP_NS = 1_000_000


def span_of(case: dict[str, Any]) -> Span:
    """The neutral span of a case's OTLP/JSON `resource`, `scope` and `span`."""
    span, scope = case["span"], case.get("scope", {})
    status = span.get("status", {})
    return Span(
        trace_id=bytes.fromhex(span.get("traceId", "")),
        span_id=bytes.fromhex(span.get("spanId", "")),
        parent_span_id=bytes.fromhex(span.get("parentSpanId", "")),
        name=span.get("name", ""),
        kind=span.get("kind", 0),
        start_ns=int(span.get("startTimeUnixNano", 0)),
        end_ns=int(span.get("endTimeUnixNano", 0)),
        attributes=_pairs(span),
        status_code=status.get("code", 0),
        status_message=status.get("message", ""),
        events=[SpanEvent(one["name"], _pairs(one)) for one in span.get("events", ())],
        links=[
            SpanLink(bytes.fromhex(one["traceId"]), bytes.fromhex(one["spanId"]), _pairs(one))
            for one in span.get("links", ())
        ],
        dropped_attributes_count=span.get("droppedAttributesCount", 0),
        dropped_events_count=span.get("droppedEventsCount", 0),
        dropped_links_count=span.get("droppedLinksCount", 0),
        resource=_pairs(case.get("resource", {})),
        scope_name=scope.get("name", ""),
        scope_version=scope.get("version", ""),
    )


def _pairs(holder: dict[str, Any]) -> Pairs:
    return tuple((one["key"], _value(one["value"])) for one in holder.get("attributes", ()))


def _value(value: dict[str, Any]) -> Value:
    """An OTLP AnyValue; an empty one is null."""
    pair: tuple[str, Any] = next(iter(value.items()), ("", None))
    kind, content = pair
    if kind == "intValue":
        return int(content)
    if kind == "doubleValue":
        return float(content)  # also of "NaN", "Infinity" and "-Infinity"
    if kind == "bytesValue":
        return base64.b64decode(content)
    if kind == "arrayValue":
        return [_value(one) for one in content.get("values", ())]
    if kind == "kvlistValue":
        pairs = ((one["key"], _value(one["value"])) for one in content.get("values", ()))
        return KeyValues(pairs)
    result: str | bool | None = content
    return result


@dataclass
class Log:
    """A log that grows leaf by leaf, each at its own fixed time."""

    leaves: list[dict[str, Any]] = field(default_factory=list)

    @property
    def next_place(self) -> dict[str, Any]:
        """What a leaf says of where and when it stands."""
        received_ns = RECEIVED_NS + len(self.leaves) * STEP_NS
        return {"tenant": TENANT, "writer": WRITER, "received_ns": received_ns}

    def add(self, leaf: bytes, **about: Any) -> dict[str, Any]:
        """Append a leaf, with whatever else a reader needs to remake it."""
        entry = {
            "log_index": len(self.leaves),
            **about,
            "leaf": leaf.decode(),
            "leaf_hash": leaf_hash(leaf).hex(),
        }
        self.leaves.append(entry)
        return entry


def salt(of: str, size: int = 16) -> bytes:
    """A salt anyone can remake. Real ones are random: a salt that can be guessed hides nothing."""
    return hashlib.sha256(f"vectors salt {of}".encode()).digest()[:size]


def half(domain: bytes, name: str, text: bytes) -> dict[str, str]:
    """One committed half of an event: its salt, its text, and the commitment."""
    salted = salt(f"{domain.decode()}{name}")
    return {
        "salt": salted.hex(),
        "text": text.decode(),
        "commitment": commitment(domain, salted, text),
    }


def event_case(case: dict[str, Any], event: ExecutionEvent, log: Log) -> dict[str, Any]:
    """All that follows from one span, and its leaf appended to the log."""
    context = half(CONTEXT_DOMAIN, case["name"], context_text(event))
    payload = half(PAYLOAD_DOMAIN, case["name"], payload_text(event))
    kind = case.get("kind", "event")
    leaf = event_leaf(
        event,
        kind=kind,
        context=context["commitment"],
        payload=payload["commitment"],
        **log.next_place,
    )
    entry = log.add(leaf, kind=kind, case=case["name"])
    text = event_text(event)
    return {
        **case,
        "kind": kind,
        "mapping_rule": event.mapping_rule,
        "provenance": event.provenance,
        "event": json.loads(text),
        "event_text": text.decode(),
        "event_hash": event_hash(event),
        "context": context,
        "payload": payload,
        "log_index": entry["log_index"],
        "leaf": entry["leaf"],
        "leaf_hash": entry["leaf_hash"],
    }


def refused_case(case: dict[str, Any]) -> dict[str, Any]:
    """What becomes of a span that makes no event."""
    try:
        event = map_span(span_of(case))
    except SpanRejected as error:
        return {**case, "outcome": "quarantined", "reason": error.reason, "field": error.field}
    if event is not None:
        raise AssertionError(f"{case['name']} makes an event")
    return {**case, "outcome": "not_kept"}


def add_genesis(log: Log, key: VerifierKey) -> None:
    """The first leaf of every log."""
    detail = {"checkpoint_interval_ms": 60_000, "log_key": key.vkey()}
    log.add(detail_leaf("genesis", detail, **log.next_place), kind="genesis")


def add_numbered(log: Log, case: dict[str, Any]) -> None:
    """The same event came again, under another number of its stream."""
    event = map_span(span_of(case))
    if event is None:
        raise AssertionError("no event")
    again = event._replace(stream_id="stream-2", sequence=41)
    log.add(numbered_leaf(again, **log.next_place), kind="numbered", case=case["name"])


def add_quarantine(log: Log, case: dict[str, Any]) -> None:
    """Bytes that could not be taken: here, a refused span's own JSON as it came."""
    raw = json.dumps(case["span"], separators=(",", ":")).encode()
    salted = salt(f"quarantine {case['name']}", 32)
    detail = {
        "reason": case["reason"],
        "size": len(raw),
        "sha256": commitment(QUARANTINE_DOMAIN, salted, raw),
    }
    leaf = detail_leaf("quarantine", detail, **log.next_place)
    raw_base64 = base64.b64encode(raw).decode()
    log.add(leaf, kind="quarantine", case=case["name"], salt=salted.hex(), raw=raw_base64)


def files() -> dict[str, str]:
    """Every generated file's name and content."""
    key = Ed25519PrivateKey.from_private_bytes(TEST_SEED)
    verifier = VerifierKey(ORIGIN, key.public_key().public_bytes_raw())
    cases = json.loads((FOLDER / "spans.json").read_text())
    log = Log()
    add_genesis(log, verifier)
    events, refused = [], []
    for case in cases["events"]:
        event = map_span(span_of(case))
        if event is None:
            raise AssertionError(f"{case['name']} makes no event")
        events.append(event_case(case, event, log))
    refused = [refused_case(case) for case in cases["refused"]]
    add_numbered(log, cases["events"][0])
    add_quarantine(log, refused[0])
    hashes = [bytes.fromhex(entry["leaf_hash"]) for entry in log.leaves]
    checkpoint = Checkpoint(ORIGIN, len(hashes), root_of(hashes))
    whole = {
        "tenant": TENANT,
        "writer": WRITER,
        "origin": ORIGIN,
        "public_test_seed": TEST_SEED.hex(),
        "vkey": verifier.vkey(),
        "leaves": log.leaves,
        "roots": [root_of(hashes[: size + 1]).hex() for size in range(len(hashes))],
        "checkpoint": sign_note(checkpoint.text(), name=ORIGIN, key=key).decode(),
    }
    return {
        "events.jsonl": "".join(_lines(events)),
        "refused.jsonl": "".join(_lines(refused)),
        "log.json": json.dumps(whole, indent=1) + "\n",
    }


def _lines(cases: list[dict[str, Any]]) -> Iterator[str]:
    """ASCII only: a lone surrogate, which JSON can carry and UTF-8 cannot, is one of the cases."""
    return (json.dumps(case) + "\n" for case in cases)


def main() -> int:
    """Write the files beside this script."""
    for name, content in files().items():
        (FOLDER / name).write_text(content, encoding="ascii")
        sys.stdout.write(f"{name}: {len(content)} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
