"""`GET /v1/events/{event_id}/receipt` of a receiver that runs."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi import Request
from intentproof_receiver import receipts_http
from intentproof_receiver.errors import NotFound, Unavailable
from intentproof_receiver.key_commands import create_key
from intentproof_receiver.keys import Principal
from intentproof_receiver.receipts_http import Receipts
from intentproof_store import EventUnknown, Places
from intentproof_store.identity import trusted_keys
from intentproof_store.receipt import Receipt, decode_receipt, verify_receipt
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from tests.receiver.serving import Served, served, until
from tests.receiver.support import request_bytes, span_message

AWKWARD = "order/7?x=ü #1/receipt"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("receipts") / "home"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def service(home: Path) -> Iterator[Served]:
    """A receiver that signs often, with an event under a checkpoint."""
    config = home.parent / "config.yaml"
    config.write_text("checkpoint_seconds: 1\n")
    with served(home.parent, "--config", str(config)) as running:
        yield running


@pytest.fixture(scope="module")
def key(home: Path, service: Served) -> str:
    """A key of tenant acme that may ingest and read, after an event came in with it."""
    key = create_key(home, tenant="acme", roles=("ingest", "read"))[1]
    assert service.post(request_bytes(span_of(1, AWKWARD)), key) == 200
    until(lambda: receipt(service, key, AWKWARD)[0] == 200, what="receipt")
    return key


def span_of(number: int, event_id: str) -> SpanMessage:
    return span_message(number, event_id=event_id)


def receipt(service: Served, key: str, event_id: str) -> tuple[int, str, dict[str, str]]:
    return service.call(f"/v1/events/{quote(event_id, safe='')}/receipt", x_api_key=key)


def test_a_receipt_over_http_is_the_proof_itself(service: Served, home: Path, key: str) -> None:
    """Its bytes verify offline, whatever characters the id has."""
    status, body, headers = receipt(service, key, AWKWARD)
    assert (status, headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert headers["content-disposition"].startswith("attachment; filename*=UTF-8''order%2F7")
    proved = verify_receipt(decode_receipt(body.encode()), keys=trusted_keys(home))
    assert proved.leaf["event_id"] == AWKWARD


def test_an_unknown_event_is_not_found(service: Served, key: str) -> None:
    """404 in the envelope, with the id that was asked for."""
    status, body, _ = receipt(service, key, "nope")
    assert (status, json.loads(body)["code"]) == (404, "not_found")
    assert "nope" in json.loads(body)["message"]


def test_another_tenant_finds_nothing(service: Served, home: Path, key: str) -> None:
    """The tenant is that of the key: the same id of another tenant does not exist."""
    other = create_key(home, tenant="other", roles=("read",))[1]
    assert receipt(service, key, AWKWARD)[0] == 200
    assert receipt(service, other, AWKWARD)[0] == 404


def test_reading_needs_a_key_with_the_role(service: Served, home: Path, key: str) -> None:
    """Without a key 401 and how to authenticate, with one that only ingests 403."""
    status, body, headers = receipt(service, "", AWKWARD)
    assert (status, json.loads(body)["code"]) == (401, "unauthenticated")
    assert headers["www-authenticate"] == "Bearer"
    writer = create_key(home, tenant="acme", roles=("ingest",))[1]
    status, body, _ = receipt(service, writer, AWKWARD)
    assert (status, json.loads(body)["code"]) == (403, "forbidden")
    assert receipt(service, key, AWKWARD)[0] == 200


def test_before_the_next_checkpoint_the_answer_is_to_come_again(tmp_path: Path) -> None:
    """503 with Retry-After until a checkpoint covers the event."""
    home = tmp_path / "home"
    home.mkdir()
    key = create_key(home, tenant="acme", roles=("ingest", "read"))[1]
    config = tmp_path / "config.yaml"
    config.write_text("checkpoint_seconds: 3600\n")
    with served(tmp_path, "--config", str(config)) as running:
        assert running.post(request_bytes(span_of(1, "early")), key) == 200
        status, body, headers = receipt(running, key, "early")
    assert (status, json.loads(body)["code"], headers["retry-after"]) == (503, "not_yet", "3600")


def test_readers_beyond_a_few_are_told_to_come_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one receipt is made sixteen may wait; one more has 503, and the others their answer."""
    made = threading.Event()

    def slow(*_: object, **__: object) -> Receipt:
        assert made.wait(20)
        raise EventUnknown("x")

    monkeypatch.setattr(receipts_http, "receipt_of", slow)
    principal = Principal("acme", ("read",))
    receipts = Receipts(Places(store=home), lambda _: principal, checkpoint_seconds=1)
    request = Request({"type": "http", "headers": []})

    async def ask() -> None:
        waiting = [asyncio.create_task(receipts.get(request, "x")) for _ in range(16)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="too many"):
            await receipts.get(request, "x")
        made.set()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(each) for each in answers] == [NotFound] * 16
        with pytest.raises(NotFound):
            await receipts.get(request, "x")

    asyncio.run(ask())


def test_other_methods_are_told_which_one_it_is(service: Served, key: str) -> None:
    """405 with Allow."""
    path = f"/v1/events/{quote(AWKWARD, safe='')}/receipt"
    status, body, headers = service.call(path, b"", method="POST", x_api_key=key)
    assert (status, headers["allow"]) == (405, "GET")
    assert json.loads(body)["code"] == "method_not_allowed"
