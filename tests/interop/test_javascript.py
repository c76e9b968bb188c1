"""OpenTelemetry's JavaScript SDK delivers over each of its three exporters, field by field."""

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.collector.processes import Receiver, clean_environment

_PROGRAM = Path(__file__).with_name("export.cjs")
TRANSPORTS = ["http", "proto", "grpc"]  # http is OTLP/JSON, proto is protobuf over HTTP

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),  # the first test may have to install the packages
    pytest.mark.parametrize("transport", TRANSPORTS),
]

STARTED_NS, COMPLETED_NS = 1763632800123456789, 1763632801987654321

# As export.cjs gives them, after the contract: 64-bit integers beyond a double as decimal text,
# arrays and maps as JCS text, bytes as base64.
SCALARS = {
    "app.text": "é \0 \u202e 👩\u200d👩\u200d👧",
    "app.empty": "",
    "app.true": True,
    "app.false": False,
    "app.zero": 0,
    "app.negative": -7,
    "app.safe": 2**53 - 1,
    "app.smallest": str(-(2**63)),
    "app.fraction": 0.1,
    "app.tiny": 1e-7,
    "app.bytes": "AAH+/w==",
}
ARRAYS = {
    "app.texts": '["a","β"]',
    "app.numbers": "[1,2.5,-3]",
    "app.flags": "[true,false]",
    "app.nothing": "[]",
    "app.hole": '["a",null]',
    "app.nested": '[[1,[2,"three"]],{"four":[5.5,null]}]',
    "app.map": '{"city":"Zürich","none":{},"point":{"x":1,"y":-2.5}}',
}
LINKS = [
    {
        "attributes": {"link.number": 2, "link.reason": "retry"},
        "span_id": "fedcba9876543210",
        "trace_id": "abcdef0123456789abcdef0123456789",
    },
    {"span_id": "0000000000000002", "trace_id": "00000000000000000000000000000001"},
]
ORIGIN = {
    "service.name": "refunds",
    "service.version": "1.2.3",
    "intentproof.scope.name": "story",
    "intentproof.scope.version": "4.5.6",
}


@dataclass(frozen=True)
class Sent:
    """What the program says about its export."""

    success: bool
    error: str | None
    warnings: list[str]
    spans: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """A running receiver with a key."""
    receiver = Receiver(tmp_path_factory.mktemp("receiver"))
    receiver.create_key()
    with receiver.serving():
        yield receiver


@pytest.fixture
def export(node_modules: Path, receiver: Receiver, transport: str) -> Callable[..., Sent]:
    """Runs one scenario of the program over the test's transport."""
    urls = {"grpc": receiver.grpc.url, "http": f"{receiver.http.url}/v1/traces"}
    url = urls.get(transport, urls["http"])

    def run(scenario: str, *, api_key: str | None = None) -> Sent:
        key = api_key or receiver.key_file.read_text().strip()
        done = subprocess.run(
            ["node", str(_PROGRAM), transport, url, key, scenario],
            env=clean_environment() | {"NODE_PATH": str(node_modules)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        return Sent(**told | {"spans": {span["name"]: span for span in told["spans"]}})

    return run


def stored(receiver: Receiver, span: dict[str, str]) -> dict[str, Any]:
    """The one event of a span, its JSON columns read."""
    where = f"trace_id = '{span['traceId']}' AND span_id = '{span['spanId']}'"
    (row,) = receiver.sql(f"SELECT * FROM events WHERE {where}")
    texts = ("inputs", "output", "error", "attributes")
    return row | {name: json.loads(row[name]) for name in texts if row[name] is not None}


def picked(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names}


def big_number(transport: str) -> str:
    """2^60 as it travels: JavaScript writes it into JSON in the fewest digits that are unique."""
    return "1152921504606847000" if transport == "http" else str(2**60)


def test_every_field_of_a_declared_span_arrives(
    export: Callable[..., Sent], receiver: Receiver, transport: str
) -> None:
    """Identity, times, status, error, every type of attribute and links are what was sent."""
    sent = export("every-field")
    span = sent.spans["refund"]
    row = stored(receiver, span)
    links = json.loads(row["attributes"].pop("intentproof.links"))

    assert (sent.success, sent.warnings) == (True, [])
    assert (span["started"], span["completed"]) == (str(STARTED_NS), str(COMPLETED_NS))
    assert picked(row, "parent_span_id", "started_ns", "completed_ns", "status") == {
        "parent_span_id": sent.spans["request"]["spanId"],
        "started_ns": STARTED_NS,
        "completed_ns": COMPLETED_NS,
        "status": "error",
    }
    assert picked(row, "provenance", "intent", "action", "correlation_id", "service_name") == {
        "provenance": "declared",
        "intent": "Return captured funds — 退款 👍",
        "action": "stripe.refund.create",
        "correlation_id": "order-42",
        "service_name": "refunds",
    }
    assert row["inputs"] == {
        "charge": "ch_1",
        "amount": big_number(transport),
        "lines": [{"sku": "ä-1"}],
    }
    assert row["output"] == {"id": "re_1", "ok": True}
    assert row["error"] == {"name": "CardError", "message": "déclined", "stack": "at refund"}
    assert row["attributes"] == {
        **SCALARS,
        **ARRAYS,
        **ORIGIN,
        "app.big": big_number(transport),
        "intentproof.span_kind": "client",
    }
    assert links == LINKS


def test_tool_spans_are_observed_and_others_are_not_kept(
    export: Callable[..., Sent], receiver: Receiver, transport: str
) -> None:
    """A GenAI tool span is an event without any attribute of ours; its parent is none."""
    sent = export("every-field")
    row = stored(receiver, sent.spans["execute_tool lookup_order"])
    trace_id = sent.spans["request"]["traceId"]
    (kept,) = receiver.sql(f"SELECT count(*) AS n FROM events WHERE trace_id = '{trace_id}'")

    assert picked(row, "provenance", "mapping_rule", "action", "inputs", "status") == {
        "provenance": "observed",
        "mapping_rule": "gen_ai/1",
        "action": "lookup_order",
        "inputs": {"order": "o-17"},
        "status": "ok",
    }
    assert row["attributes"] == {
        **ORIGIN,
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "lookup_order",
        "intentproof.span_kind": "internal",
    }
    assert kept == {"n": 2}


def test_numbers_that_only_a_double_holds_arrive(
    export: Callable[..., Sent], receiver: Receiver, transport: str
) -> None:
    """What JavaScript's JSON calls an integer and int64 cannot hold is a double, not a refusal."""
    sent = export("only-doubles")
    attributes = stored(receiver, sent.spans["call"])["attributes"]
    # JSON has no such numbers, and the exporter leaves nothing of them.
    not_finite = (None, None) if transport == "http" else ("NaN", "-Infinity")

    assert sent.warnings == []
    assert attributes == {
        **ORIGIN,
        "app.googol": 1e100,
        "app.past-int64": 9223372036854776000,  # how JCS writes the double 2^63
        "app.least-int64": str(-(2**63)),
        "app.nan": not_finite[0],
        "app.infinity": not_finite[1],
        "app.surrogate": "x\ufffdy",
        "intentproof.span_kind": "internal",
    }


def test_partial_success_is_seen_by_the_client(
    export: Callable[..., Sent], receiver: Receiver, transport: str
) -> None:
    """Of a damaged span and a good one the good one is stored, and the client logs how many not."""
    sent = export("one-damaged")
    (warning,) = sent.warnings
    told = json.loads(warning.partition("Received Partial Success response: ")[2])
    row = stored(receiver, sent.spans["call"])

    assert sent.success
    assert int(told["rejectedSpans"]) == 1
    assert "blank_intent" in told["errorMessage"]
    assert row["intent"] == "Tell the customer"


def test_refusal_is_seen_by_the_client(export: Callable[..., Sent], transport: str) -> None:
    """With a key that is not valid the export fails, and says so."""
    sent = export("every-field", api_key="not-a-key")

    assert not sent.success
    assert sent.error is not None
    assert ("UNAUTHENTICATED" if transport == "grpc" else "Unauthorized") in sent.error


def test_log_of_what_javascript_sent_verifies(
    export: Callable[..., Sent], receiver: Receiver, transport: str
) -> None:
    """After an export the store verifies."""
    assert export("every-field").success
    assert receiver.verify() == 0
