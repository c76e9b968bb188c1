"""The published vectors: that they are ours, and that they follow from the formats alone.

From the second line of dashes on nothing of ours is imported: what stands there is the second
verifier that the vectors are published for.
"""

import base64
import hashlib
import importlib.util
import json
import re
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from intentproof_receiver.decode import Decoded
from intentproof_receiver.otlp_json import decode_json
from intentproof_schemas import SpanRejected, event_text, is_taken, map_span

from tests.schemas.support import REPOSITORY

FOLDER = REPOSITORY / "schemas" / "vectors"


@cache
def generator() -> Any:
    spec = importlib.util.spec_from_file_location("vectors_generate", FOLDER / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cases(file: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / file).read_text().splitlines()]


EVENTS, REFUSED = cases("events.jsonl"), cases("refused.jsonl")
LOG = json.loads((FOLDER / "log.json").read_text())
a_case = pytest.mark.parametrize("case", EVENTS, ids=lambda case: str(case["name"]))
a_refused_case = pytest.mark.parametrize("case", REFUSED, ids=lambda case: str(case["name"]))

# ---- ours ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["events.jsonl", "refused.jsonl", "log.json"])
def test_the_generator_writes_what_is_committed(name: str) -> None:
    """The checked-in script makes the checked-in files, byte for byte."""
    assert generator().files()[name] == (FOLDER / name).read_text()


@a_case
def test_the_mapping(case: dict[str, Any]) -> None:
    """Each span maps to the event that is published for it."""
    event = map_span(generator().span_of(case))
    assert event is not None
    assert event_text(event).decode() == case["event_text"]
    assert (event.mapping_rule, event.provenance) == (case["mapping_rule"], case["provenance"])


@a_refused_case
def test_the_refusals(case: dict[str, Any]) -> None:
    """Each refused span is refused for the reason that is published, or not taken at all."""
    span = generator().span_of(case)
    if case["outcome"] == "not_kept":
        assert not is_taken(span)
        assert map_span(span) is None
        return
    with pytest.raises(SpanRejected) as caught:
        map_span(span)
    assert (caught.value.reason, caught.value.field) == (case["reason"], case["field"])


@a_case
def test_the_receiver_reads_the_same_span(case: dict[str, Any]) -> None:
    """Sent to the receiver as OTLP/JSON, a case's span makes the published event."""
    scope_spans = {"scope": case.get("scope", {}), "spans": [case["span"]]}
    body = {"resourceSpans": [{"resource": case.get("resource", {}), "scopeSpans": [scope_spans]}]}
    (decoded,) = decode_json(json.dumps(body).encode()).parts
    assert isinstance(decoded, Decoded)
    assert decoded.span is not None
    event = map_span(decoded.span)
    assert event is not None
    assert event_text(event).decode() == case["event_text"]


def test_every_rule_has_a_case() -> None:
    """All mapping rules, provenances, statuses and leaf kinds of version 1 that arise are shown."""
    rules = {"intentproof/1", "gen_ai/1", "mcp/1", "openinference/1", "openllmetry/1"}
    assert {case["mapping_rule"] for case in EVENTS} == rules
    assert {case["provenance"] for case in EVENTS} == {"declared", "observed"}
    assert {case["event"]["status"] for case in EVENTS} == {"ok", "error"}
    kinds = {"genesis", "event", "conflict", "numbered", "quarantine"}
    assert {leaf["kind"] for leaf in LOG["leaves"]} == kinds
    assert len({case["name"] for case in (*EVENTS, *REFUSED)}) == len(EVENTS) + len(REFUSED)


# ---- the second verifier: hashlib, json, base64, and an Ed25519 library -----------------------


def jcs(value: Any) -> str:
    """RFC 8785 of a JSON value."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(f"{jcs(key)}:{jcs(value[key])}" for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(jcs, value)) + "]"
    if isinstance(value, float):
        return number(value)
    return json.dumps(value, ensure_ascii=False)


def number(value: float) -> str:
    """A finite double as ECMAScript writes it (ECMA-262, Number::toString)."""
    if value == 0:
        return "0"
    sign, digits_of, exponent_of = Decimal(repr(value)).as_tuple()
    digits = "".join(map(str, digits_of))
    exponent = int(exponent_of) + len(digits)  # 0.digits times ten to this
    digits = digits.rstrip("0")
    if len(digits) <= exponent <= 21:
        text = digits.ljust(exponent, "0")
    elif 0 < exponent <= 21:
        text = f"{digits[:exponent]}.{digits[exponent:]}"
    elif -6 < exponent <= 0:
        text = "0." + "0" * -exponent + digits
    else:
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        text = f"{digits[0]}{fraction}e{exponent - 1:+d}"
    return "-" * sign + text


def sha256(*parts: bytes) -> str:
    return "sha256:" + hashlib.sha256(b"".join(parts)).hexdigest()


def committed(event: dict[str, Any], members: tuple[str, ...]) -> str:
    """The JCS text of some members of an event; attributes without the span's ids."""
    chosen = {name: event[name] for name in members if name in event}
    if "attributes" in chosen:
        hidden = ("intentproof.trace_id", "intentproof.span_id")
        kept = {key: value for key, value in chosen["attributes"].items() if key not in hidden}
        chosen.pop("attributes")
        chosen |= {"attributes": kept} if kept else {}
    return jcs(chosen)


def leaf_of(members: dict[str, str]) -> str:
    """JCS of what is neither empty nor an all-zero id or count."""
    always = {"v": "intentproof.leaf.v1", "tenant": LOG["tenant"], "writer": LOG["writer"]}
    return jcs(always | {key: value for key, value in members.items() if value})


def received_ns(log_index: int) -> str:
    return str(1_795_262_500_000_000_000 + log_index * 1_000_000)


def attribute(span: dict[str, Any], name: str) -> str:
    """An attribute of ours that stands in a leaf, trimmed; "" if it is not there."""
    for pair in span["attributes"]:
        if pair["key"] == f"intentproof.{name}":
            return str(next(iter(pair["value"].values()))).strip("\t\n\r ")
    return ""


def node(hashes: list[bytes]) -> bytes:
    """The root of RFC 6962 section 2.1, by its own recursion."""
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << ((len(hashes) - 1).bit_length() - 1)
    return hashlib.sha256(b"\x01" + node(hashes[:split]) + node(hashes[split:])).digest()


@a_case
def test_event_hash(case: dict[str, Any]) -> None:
    """The event's text is the JCS of its document, and its hash is that text's SHA-256."""
    assert jcs(case["event"]) == case["event_text"]
    assert sha256(case["event_text"].encode()) == case["event_hash"]


@a_case
@pytest.mark.parametrize(
    ("half", "members"),
    [
        ("context", ("attributes", "correlationId", "intent")),
        ("payload", ("error", "inputs", "output")),
    ],
)
def test_commitments(case: dict[str, Any], half: str, members: tuple[str, ...]) -> None:
    """Each half follows from the event document, and its commitment from domain, salt and text."""
    text, salt = case[half]["text"], bytes.fromhex(case[half]["salt"])
    assert committed(case["event"], members) == text
    assert len(salt) == 16
    domain = f"intentproof.{half}.v1\0".encode()
    assert sha256(domain, salt, text.encode()) == case[half]["commitment"]


@a_case
def test_event_leaf(case: dict[str, Any]) -> None:
    """A leaf follows from span, document and commitments: sorted keys, texts, nothing empty."""
    event, span = case["event"], case["span"]
    dropped = {
        f"dropped_{of}_count": str(span.get(f"dropped{of.title()}Count", ""))
        for of in ("attributes", "events", "links")
    }
    leaf = leaf_of(
        {
            "kind": case["kind"],
            "event_id": event["id"],
            "trace_id": span["traceId"],
            "span_id": span["spanId"],
            "parent_span_id": span.get("parentSpanId", ""),
            "action": event["action"],
            "status": event["status"],
            "started_ns": span["startTimeUnixNano"],
            "completed_ns": span["endTimeUnixNano"],
            "received_ns": received_ns(case["log_index"]),
            "provenance": case["provenance"],
            "mapping_rule": case["mapping_rule"],
            **{name: attribute(span, name) for name in ("run_id", "stage", "stream_id")},
            "sequence": attribute(span, "sequence"),
            **dropped,
            "context": case["context"]["commitment"],
            "payload": case["payload"]["commitment"],
        }
    )
    assert leaf == case["leaf"] == LOG["leaves"][case["log_index"]]["leaf"]


def test_default_event_id() -> None:
    """A span's own event id is the version-8 UUID of its ids' SHA-256."""
    case = EVENTS[0]
    raw = bytes.fromhex(case["span"]["traceId"] + case["span"]["spanId"])
    octets = bytearray(hashlib.sha256(raw).digest()[:16])
    octets[6] = octets[6] & 0x0F | 0x80
    octets[8] = octets[8] & 0x3F | 0x80
    text = octets.hex()
    own = f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
    assert own == case["event"]["id"]


def test_other_leaves() -> None:
    """Genesis, numbered and quarantine leaves have five members, and those that are theirs."""
    genesis, *_, numbered, quarantine = LOG["leaves"]
    detail = {"checkpoint_interval_ms": 60_000, "log_key": LOG["vkey"]}
    own = {"kind": "genesis", "received_ns": received_ns(0), "detail": jcs(detail)}
    assert leaf_of(own) == genesis["leaf"]

    first = EVENTS[0]
    own = {
        "kind": "numbered",
        "received_ns": received_ns(numbered["log_index"]),
        "event_id": first["event"]["id"],
        "trace_id": first["span"]["traceId"],
        "stream_id": "stream-2",
        "sequence": "41",
    }
    assert leaf_of(own) == numbered["leaf"]

    raw, salt = base64.b64decode(quarantine["raw"]), bytes.fromhex(quarantine["salt"])
    assert len(salt) == 32
    commitment = sha256(b"intentproof.quarantine.v1\0", salt, raw)
    detail = {"reason": REFUSED[0]["reason"], "size": len(raw), "sha256": commitment}
    at = received_ns(quarantine["log_index"])
    own = {"kind": "quarantine", "received_ns": at, "detail": jcs(detail)}
    assert leaf_of(own) == quarantine["leaf"]


def test_leaf_hashes_and_roots() -> None:
    """Leaf hashes, and the root at every size, are those of RFC 6962."""
    hashes = []
    for index, (leaf, root) in enumerate(zip(LOG["leaves"], LOG["roots"], strict=True)):
        assert leaf["log_index"] == index
        hashes.append(hashlib.sha256(b"\x00" + leaf["leaf"].encode()).digest())
        assert hashes[-1].hex() == leaf["leaf_hash"]
        assert node(hashes).hex() == root


def test_checkpoint() -> None:
    """The checkpoint says the log's size and root, and the key of the vkey signed it."""
    origin = LOG["origin"]
    assert origin == f"vectors.example/{LOG['tenant']}/{LOG['writer']}"
    root = base64.b64encode(bytes.fromhex(LOG["roots"][-1])).decode()
    text = f"{origin}\n{len(LOG['leaves'])}\n{root}\n"
    body, signature_line = LOG["checkpoint"].split("\n\n")
    assert body + "\n" == text

    name, key_id, encoded = LOG["vkey"].split("+", 2)
    typed = base64.b64decode(encoded, validate=True)
    assert (name, typed[0], len(typed)) == (origin, 1, 33)
    assert hashlib.sha256(name.encode() + b"\n" + typed).hexdigest()[:8] == key_id

    signed = re.fullmatch(r"\u2014 (\S+) (\S+)\n", signature_line)
    assert signed is not None
    assert signed[1] == origin
    raw = base64.b64decode(signed[2], validate=True)
    assert raw[:4].hex() == key_id
    key = Ed25519PublicKey.from_public_bytes(typed[1:])
    key.verify(raw[4:], text.encode())
    with pytest.raises(InvalidSignature):
        key.verify(raw[4:], text.encode() + b"x")
