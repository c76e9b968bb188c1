"""The one function behind both transports, without a network."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from google.rpc.status_pb2 import Status
from intentproof_receiver.client_certificates import MappingStore
from intentproof_receiver.credentials import Credentials
from intentproof_receiver.decode import Request, decode_protobuf
from intentproof_receiver.errors import (
    ANSWERS,
    InvalidRequest,
    MethodNotAllowed,
    ReceiverError,
    Unauthenticated,
    Unavailable,
    answer_to,
)
from intentproof_receiver.export import Exporter
from intentproof_receiver.inflight import Budget
from intentproof_receiver.key_commands import create_key
from intentproof_receiver.keys import KeyStore
from intentproof_receiver.outcome import Outcome
from intentproof_receiver.status import Encoding, failure, success
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from tests.receiver.support import (
    FakeLedger,
    attribute_bytes,
    field_bytes,
    json_request,
    json_span,
    nested_value,
    request_bytes,
    span_message,
    spans_of,
)

BAD_UTF8 = attribute_bytes(b"k", field_bytes(1, b"\xff"))
FLAGS = b"\x85\x01" + b"\xff" * 4  # all bits, of which most mean nothing yet
TAKEN = span_message().SerializeToString()
UNTAKEN = SpanMessage(trace_id=bytes(15), name="plain").SerializeToString()


class Harness:
    """An exporter over a ledger in memory, with a key."""

    def __init__(self, home: Path, **options: Any) -> None:
        self.ledger = FakeLedger()
        self.key = create_key(home, tenant="acme")[1]
        self._exporter = Exporter(
            keys=KeyStore(home), mappings=MappingStore(home), ledger=self.ledger, **options
        )

    def export(self, body: bytes, encoding: Encoding = Encoding.PROTOBUF) -> Outcome:
        return self._exporter.export(Credentials(self.key), body, encoding=encoding)

    def export_as(self, key: str, body: bytes) -> Outcome:
        return self._exporter.export(Credentials(key), body, encoding=Encoding.PROTOBUF)

    def stranger(self) -> None:
        self._exporter.export(Credentials("no"), b"", encoding=Encoding.JSON)


@pytest.fixture
def harness(home: Path) -> Harness:
    return Harness(home)


def test_spans_that_no_rule_takes(harness: Harness) -> None:
    """They are accepted, not kept, and do not touch the ledger, whatever their ids are."""
    outcome = harness.export(request_bytes(UNTAKEN, UNTAKEN))
    assert outcome == Outcome(received=2, not_kept=2)
    assert harness.ledger.calls == 0


@pytest.mark.parametrize(
    ("raw", "fate"),
    [
        (TAKEN, "stored"),
        (TAKEN + attribute_bytes(b"deep", nested_value(40)), "stored"),
        (TAKEN + attribute_bytes(b"deep", nested_value(64)), "stored"),
        (TAKEN + attribute_bytes(b"deep", nested_value(65)), "quarantined"),
        (UNTAKEN + attribute_bytes(b"deep", nested_value(65)), "not_kept"),
        (TAKEN + BAD_UTF8, "quarantined"),
        (UNTAKEN + BAD_UTF8, "not_kept"),
        (UNTAKEN + b"\x4a\x02\x0a\x05", "quarantined"),
        (span_message(intent=" ").SerializeToString(), "quarantined"),
        (span_message(sequence="1").SerializeToString(), "quarantined"),
        (TAKEN + field_bytes(1, bytes(range(15))), "quarantined"),
        (TAKEN + field_bytes(1, bytes(16)), "quarantined"),
        (TAKEN + field_bytes(1, b""), "quarantined"),
        (TAKEN + field_bytes(2, bytes(range(7))), "quarantined"),
        (TAKEN + field_bytes(2, bytes(8)), "quarantined"),
        (TAKEN + field_bytes(4, bytes(range(7))), "quarantined"),
        (TAKEN + field_bytes(4, bytes(8)), "stored"),
        (TAKEN + FLAGS, "stored"),
        (TAKEN + attribute_bytes(b"s", b"\x40\x05"), "stored"),
    ],
)
def test_fates(harness: Harness, raw: bytes, fate: str) -> None:
    """Each kind of span has its fate, and its neighbours are kept."""
    outcome = harness.export(request_bytes(span_message(8), raw, span_message(9)))
    expected = {"stored": 2, "quarantined": 0, "not_kept": 0}
    expected[fate] += 1
    assert {name: getattr(outcome, name) for name in expected} == expected
    assert outcome.rejected == outcome.quarantined
    if fate == "quarantined":
        (one,) = spans_of(decode_protobuf(harness.ledger.undecodable[0][1].raw))
        assert one.raw == raw


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"", Encoding.PROTOBUF),
        (field_bytes(1, b""), Encoding.PROTOBUF),
        (field_bytes(1, field_bytes(2, b"")), Encoding.PROTOBUF),
        (b"{}", Encoding.JSON),
        (b'{"resourceSpans":[]}', Encoding.JSON),
        (b'{"resourceSpans":[{}]}', Encoding.JSON),
        (
            b'{"resourceSpans":[{"resource":{},"scopeSpans":[{"scope":{},"spans":[]}]}]}',
            Encoding.JSON,
        ),
    ],
)
def test_empty_envelopes(harness: Harness, body: bytes, encoding: Encoding) -> None:
    """A request without spans, however its envelopes are, is a success with nothing to say."""
    assert harness.export(body, encoding) == Outcome()
    assert harness.ledger.calls == 0


def test_duplicate_keys_are_counted(harness: Harness) -> None:
    """Of attributes with one key the first is kept, and how many were not, in both encodings."""
    again = attribute_bytes(b"k", field_bytes(1, b"1")) + attribute_bytes(
        b"k", field_bytes(1, b"2")
    )
    pairs = [
        {"key": "intentproof.intent", "value": {"stringValue": "why"}},
        {"key": "k", "value": {"stringValue": "1"}},
        {"key": "k", "value": {"stringValue": "2"}},
    ]
    harness.export(request_bytes(TAKEN + again))
    harness.export(json_request(json_span(2, attributes=pairs)), Encoding.JSON)
    for _, event in harness.ledger.events:
        kept = json.loads(event.attributes)
        assert (kept["k"], kept["intentproof.duplicate_keys"]) == ("1", 1)
    assert len(harness.ledger.events) == 2


def test_dropped_counts_are_kept(harness: Harness) -> None:
    """What a client's SDK dropped is told in the event, in both encodings."""
    message = span_message()
    message.dropped_attributes_count = 1
    message.dropped_events_count = 2
    message.dropped_links_count = 3
    of_json = {
        f"dropped{name}Count": n for n, name in enumerate(("Attributes", "Events", "Links"), 1)
    }
    harness.export(request_bytes(message))
    harness.export(json_request(json_span(2, **of_json)), Encoding.JSON)
    for _, event in harness.ledger.events:
        dropped = (event.dropped_attributes_count, event.dropped_events_count)
        assert (*dropped, event.dropped_links_count) == (1, 2, 3)
    assert len(harness.ledger.events) == 2


def test_spans_under_a_damaged_resource(harness: Harness) -> None:
    """Under a damaged resource what a rule takes is quarantined, and nothing else."""
    resource = field_bytes(
        1, field_bytes(1, b"service.name") + field_bytes(2, field_bytes(1, b"\xff"))
    )
    outcome = harness.export(request_bytes(TAKEN, UNTAKEN, resource=resource))
    assert (outcome.quarantined, outcome.not_kept) == (1, 1)


def test_the_message_is_short(harness: Harness) -> None:
    """A client is told a few reasons, in less than 1 KiB."""
    spans: list[SpanMessage | bytes] = [
        span_message(1, intent=""),
        span_message(2, sequence="x"),
        span_message(3, action="x" * 999),
        span_message(4).SerializeToString() + BAD_UTF8,
        span_message(5).SerializeToString() + attribute_bytes(b"k" * 9000, nested_value(65)),
    ]
    outcome = harness.export(request_bytes(*spans))
    assert outcome.rejected == 5
    assert "and 2 other reasons" in outcome.message
    assert len(success(outcome, Encoding.PROTOBUF)) < 1200


def test_events_that_are_too_large(home: Path) -> None:
    """An event over its limit is quarantined."""
    harness = Harness(home, event_bytes_max=2000)
    assert harness.export(request_bytes(span_message(inputs="x" * 2100))).quarantined == 1


def test_json_quarantine_keeps_the_span(harness: Harness) -> None:
    """A JSON span in quarantine is its text as received, in a request of its own."""
    odd = b'{"kind" : "SERVER", "attributes":[{"key":"intentproof.intent"}] ,"x":1e0}'
    body = b'{"resourceSpans":[{"scopeSpans":[{"scope":{"name":"lib"},"spans":[{}, %b]}]}]}' % odd
    harness.export(body, Encoding.JSON)
    raw = harness.ledger.undecodable[0][1].raw
    assert raw == (
        b'{"resourceSpans":[{"resource":{},"scopeSpans":[{"scope":{"name":"lib"},"spans":[%b]}]}]}'
        % odd
    )


def test_a_warning_and_a_rejection_are_both_told(harness: Harness) -> None:
    """Where spans are rejected and names ignored, the client is told of both."""
    body = json_request(json_span(kind="SERVER") | {"trace_id": "1"})
    message = harness.export(body, Encoding.JSON).message
    assert "malformed" in message
    assert "trace_id: snake_case" in message


def test_a_warning_rejects_nothing(harness: Harness) -> None:
    """A body in snake_case is taken with a warning."""
    outcome = harness.export(b'{"resource_spans":[]}', Encoding.JSON)
    assert outcome.rejected == 0
    assert b'"rejectedSpans": "0"' in success(outcome, Encoding.JSON)


def test_strangers(harness: Harness) -> None:
    """A stranger is refused before anything is decoded."""
    with pytest.raises(Unauthenticated):
        harness.stranger()


def test_bugs_are_retryable(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug while decoding or mapping is Unavailable, and nothing is kept."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("intentproof_receiver.sorting.map_span", fail)
    with pytest.raises(Unavailable, match="nothing was kept"):
        harness.export(request_bytes(TAKEN))
    assert harness.ledger.calls == 0


def every(kind: type[ReceiverError]) -> "set[type[ReceiverError]]":
    return {kind}.union(*(every(one) for one in kind.__subclasses__()))


def test_one_tenant_does_not_hold_the_decoder(
    harness: Harness, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While all that a tenant may decode at a time is being decoded, another's request is taken."""
    calm = create_key(home, tenant="calm")[1]
    calm_body = request_bytes(span_message(2))
    released, decoding = threading.Event(), threading.Semaphore(0)

    def decode(body: bytes) -> Request:
        if body != calm_body:
            decoding.release()
            assert released.wait(20)
        return decode_protobuf(body)

    monkeypatch.setattr("intentproof_receiver.export.decode_protobuf", decode)
    busy = request_bytes(span_message(1))
    threads = [threading.Thread(target=harness.export, args=(busy,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        assert decoding.acquire(timeout=20)
    done = threading.Thread(target=harness.export_as, args=(calm, calm_body))
    done.start()
    done.join(20)
    assert [tenant for tenant, _ in harness.ledger.events] == ["calm"]
    released.set()
    for thread in threads:
        thread.join(20)


def test_the_table_of_answers() -> None:
    """Only what no retry can mend is permanent; everything else is 503, over a quota 429."""
    for kind in every(ReceiverError):
        error = kind.__new__(kind)
        Exception.__init__(error, "x")
        answer = answer_to(error)
        assert answer.retryable == (answer.http in (429, 503)) == (answer.code == 14)
    assert {answer.http for answer in ANSWERS.values()} == {
        *(400, 401, 403, 404, 405, 413, 415, 429, 503)
    }


@pytest.mark.parametrize("encoding", list(Encoding))
def test_bodies_are_small(encoding: Encoding) -> None:
    """No body is over 4 KiB, whatever a message quotes, and each can be read."""
    for quoted in ("x", "é", '"', "\\", "\x00", "\ud800", "\U0001f600"):
        text = quoted * 9999
        for error in (InvalidRequest("f", text), Unavailable(text), MethodNotAllowed(text)):
            body = failure(error, encoding)
            assert len(body) < 4096
            assert json.loads(body) if encoding is Encoding.JSON else Status.FromString(body)
        assert len(success(Outcome(rejected=10**18, message=text), encoding)) < 4096


def test_budget() -> None:
    """A lease that ended gives back what it held, once."""
    budget = Budget(bytes_max=10, requests_max=2)
    first = budget.lease("acme")
    first.grow(6)
    second = budget.lease("acme")
    with pytest.raises(Unavailable):
        second.grow(5)
    with pytest.raises(Unavailable):
        budget.lease("acme")
    first.release()
    first.release()
    second.grow(10)
    with pytest.raises(Unavailable):
        budget.lease("acme")
    second.release()
    assert budget.bytes_held == 0


def test_a_request_of_large_events_is_appended_in_parts(harness: Harness) -> None:
    """However often a large resource is repeated in events, few of them are in memory at a time."""
    pair = field_bytes(1, b"service.name") + field_bytes(2, field_bytes(1, b"s" * 200_000))
    spans = [span_message(number) for number in range(1, 401)]
    outcome = harness.export(request_bytes(*spans, resource=field_bytes(1, pair)))
    assert (outcome.received, outcome.taken, outcome.stored) == (400, 400, 400)
    assert harness.ledger.calls > 4
    assert [event.span_id for _, event in harness.ledger.events] == [
        f"{number:016x}" for number in range(1, 401)
    ]
