"""`quarantine list|show|retry`: what was set aside comes into the log later, and only once."""

import io
import json
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from intentproof_receiver.cli import main
from intentproof_receiver.decode import decode_protobuf
from intentproof_receiver.key_commands import create_key
from intentproof_receiver.otlp_json import decode_json
from intentproof_receiver.reopened import request_of
from intentproof_receiver.sorting import SortedSpans
from intentproof_receiver.status import Encoding
from intentproof_store import Ledger, LedgerSettings, Reader, Undecodable

from tests.receiver.support import (
    JSON,
    TRACE_ID,
    field_bytes,
    json_request,
    json_span,
    request_bytes,
    span_message,
)
from tests.receiver.test_serve import Process, process
from tests.receiver.tls_support import Pki

RESOURCE = field_bytes(1, field_bytes(1, b"service.name") + field_bytes(2, field_bytes(1, b"shop")))
SCOPE = field_bytes(1, b"lib")
LARGE = span_message(1, inputs="x" * 3000)
BLANK = span_message(2, intent=" ")
LOW, HIGH = "2000", "9000"  # limits between which LARGE is


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    raw: bytes
    stderr: str

    @property
    def stdout(self) -> str:
        return self.raw.decode()


@dataclass
class Place:
    """A store on disk, and the commands on it."""

    root: Path

    @property
    def folders(self) -> list[str]:
        return ["--store", str(self.root / "store"), "--home", str(self.root / "home")]

    def receive(self, *bodies: bytes, event_bytes_max: int = int(LOW)) -> None:
        """Take requests as the receiver does: JSON where they begin with a bracket."""
        with self.ledger() as ledger:
            for body in bodies:
                decode = decode_json if body.startswith(b"{") else decode_protobuf
                found = SortedSpans(event_bytes_max=event_bytes_max)
                assert not found.take(decode(body).parts)
                ledger.append("acme", *found.drain()).result()

    def ledger(self) -> Ledger:
        return Ledger.open(
            LedgerSettings(
                store=self.root / "store", home=self.root / "home", hot=self.root / "store" / "hot"
            )
        )

    def set_aside(self, *raws: bytes) -> None:
        """Bytes as an older version kept them: the span's alone."""
        with self.ledger() as ledger:
            items = [Undecodable(raw, "malformed") for raw in raws]
            ledger.append("acme", [], items).result()

    def run(self, *words: str, event_bytes_max: str = LOW) -> "Done":
        """The command as the console script runs it, in this process: it loads libraries once."""
        raw, err = io.BytesIO(), io.StringIO()
        out = io.TextIOWrapper(raw, encoding="utf-8")
        folders = [] if "--home" in words else self.folders
        with (
            mock.patch.dict(os.environ, INTENTPROOF_EVENT_BYTES_MAX=event_bytes_max),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            code = main(["quarantine", *words, *folders])
        return Done(code, raw.getvalue(), err.getvalue())

    def told(self, *words: str, code: int = 0, event_bytes_max: str = LOW) -> Any:
        """The JSON document of a command that ends with `code`."""
        done = self.run(*words, "--json", event_bytes_max=event_bytes_max)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    def listed(self, event_bytes_max: str = LOW) -> dict[str, dict[str, Any]]:
        """What is in quarantine, by reason."""
        found = self.told("list", event_bytes_max=event_bytes_max)["quarantine"]
        return {one["reason"]: one for one in found}

    def results(self, *words: str, code: int = 0, event_bytes_max: str = HIGH) -> list[str]:
        told = self.told(
            "retry", "--tenant", "acme", *words, code=code, event_bytes_max=event_bytes_max
        )
        return [one["result"] for one in told["retried"]]

    def events(self) -> "Sequence[dict[str, Any]]":
        store, home = self.root / "store", self.root / "home"
        with Reader(store, home=home) as reader:
            return reader.rows(
                "SELECT kind, event_id, span_id, service_name, attributes, writer FROM leaves "
                "WHERE kind IN ('event', 'conflict', 'quarantine') ORDER BY log_index"
            )

    def kinds(self) -> list[str]:
        return [row["kind"] for row in self.events()]

    def verify(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["verify", *self.folders]) == 0, capsys.readouterr().out


@pytest.fixture
def place(tmp_path: Path) -> Place:
    create_key(tmp_path / "home", tenant="acme")
    return Place(tmp_path)


def both(encoding: Encoding) -> bytes:
    """A request of a span over LOW bytes and of one that nothing mends."""
    if encoding is Encoding.PROTOBUF:
        return request_bytes(LARGE, BLANK, resource=RESOURCE, scope=SCOPE)
    name = {"key": "service.name", "value": {"stringValue": "shop"}}
    intent = {"key": "intentproof.intent", "value": {"stringValue": "x"}}
    inputs = {"key": "intentproof.inputs", "value": {"stringValue": "x" * 3000}}
    spans = (json_span(1, attributes=[intent, inputs]), json_span(2, kind="SERVER"))
    return json_request(*spans, resource={"attributes": [name]})


@pytest.mark.parametrize("encoding", list(Encoding))
def test_a_retried_span_gives_the_event_that_it_would_have_given(
    place: Place, encoding: Encoding, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a limit raised it is taken; sent again by its client, or retried, it is a duplicate."""
    place.receive(both(encoding))
    assert place.kinds() == ["quarantine", "quarantine"]
    assert place.results("--all", code=3) == ["stored", "refused"]
    assert place.results("--all", code=3) == ["duplicate", "refused"]
    place.receive(both(encoding), event_bytes_max=int(HIGH))
    assert place.kinds() == ["quarantine", "quarantine", "event"]
    event = place.events()[-1]
    assert event["service_name"] == "shop"
    assert '"intentproof.scope.name":"lib"' in event["attributes"]
    place.verify(capsys)


def test_the_other_way_round(place: Place) -> None:
    """What a client has sent again meanwhile is there already."""
    place.receive(request_bytes(LARGE))
    place.receive(request_bytes(LARGE), event_bytes_max=int(HIGH))
    assert place.results("--all") == ["duplicate"]
    assert place.kinds() == ["quarantine", "event"]


def test_another_event_of_its_id(place: Place) -> None:
    """Where the log has another event of its id, it is kept as a conflict, as a resend would be."""
    place.receive(request_bytes(LARGE), request_bytes(span_message(1)))
    assert place.listed(HIGH)["too_large"]["state"] == "conflict"
    assert place.results("--all") == ["conflict"]
    assert place.results("--all") == ["duplicate"]
    assert place.kinds() == ["quarantine", "event", "conflict"]


def test_list(place: Place) -> None:
    """Each has its id, tenant, time, reason, size and place, and what would become of it now."""
    place.receive(both(Encoding.PROTOBUF))
    for limit, states in ((LOW, ["refused", "refused"]), (HIGH, ["ready", "refused"])):
        listed = place.listed(limit)
        assert list(listed) == ["too_large", "blank_intent"]
        assert [one["state"] for one in listed.values()] == states
    one = listed["too_large"]
    (path,) = (place.root / "store" / "quarantine" / "acme").glob(one["id"])
    assert one["size"] == path.stat().st_size - 32
    assert (one["tenant"], one["log_index"]) == ("acme", 1)
    assert "blank" in listed["blank_intent"]["why"]
    place.results(one["id"][:9])
    listed = place.listed(HIGH)
    assert listed["too_large"]["state"] == "in_log"
    assert listed["too_large"]["event_id"] == place.events()[-1]["event_id"]


def test_list_for_people(place: Place) -> None:
    """A table has a line for each; an empty quarantine is said on stderr."""
    with place.ledger() as ledger:
        ledger.append("acme", [], []).result()
    empty = place.run("list")
    assert (empty.returncode, empty.stdout) == (0, "")
    assert "nothing is in quarantine" in empty.stderr
    place.receive(both(Encoding.JSON))
    head, *rows = place.run("list", "--tenant", "acme").stdout.splitlines()
    assert head.startswith("ID")
    assert [("too_large" in row, "malformed" in row) for row in rows] == [
        (True, False),
        (False, True),
    ]
    assert place.run("list", "--tenant", "Acme").returncode == 6
    assert json.loads(place.run("list", "--tenant", "beta", "--json").stdout) == {"quarantine": []}


def test_show(place: Place) -> None:
    """A person sees why a span is refused and what is in it, and nothing that a terminal obeys."""
    place.receive(request_bytes(span_message(2, intent=" ", note="\x1b[31m"), resource=RESOURCE))
    one = place.listed()["blank_intent"]
    text = place.run("show", one["id"][:8], "--tenant", "acme").stdout
    assert "must not be blank" in text
    assert "\\u001b[31m" in text
    assert "\x1b" not in text
    told = place.told("show", "sha256:" + one["id"], "--tenant", "acme")
    assert told["why"] == "intentproof.intent: must not be blank"
    assert told["span"]["trace_id"] == TRACE_ID.hex()
    assert told["span"]["resource"] == [["service.name", "shop"]]


def test_show_raw(place: Place) -> None:
    """The bytes are those that are kept: a request that ends with the span as received."""
    raw = BLANK.SerializeToString()
    place.receive(request_bytes(raw))
    one = place.listed()["blank_intent"]
    kept = place.run("show", one["id"], "--raw", "--tenant", "acme").raw
    assert kept.endswith(raw)
    assert request_of(kept) == (kept, Encoding.PROTOBUF)


def test_show_what_cannot_be_read(place: Place) -> None:
    """Of bytes that are no span there is a reason, and no span."""
    place.receive(request_bytes(b"\x4a\x02\x0a\x05"))
    (one,) = place.listed().values()
    told = place.told("show", one["id"], "--tenant", "acme")
    assert told["span"] is None
    assert "cannot be read" in told["why"]


def test_ids(place: Place) -> None:
    """An id that names nothing, or more than one, ends with 6; so does a retry of nothing."""
    place.receive(both(Encoding.PROTOBUF))
    for words in (
        ["show", "abc-", "--tenant", "acme"],
        ["show", "", "--tenant", "acme"],
        ["retry", "feed" * 16, "--tenant", "acme"],
        ["retry", "--tenant", "acme"],
        ["retry", "ab", "--all", "--tenant", "acme"],
        ["show", "a"],
    ):
        assert place.run(*words).returncode == 6, words
    place.receive(request_bytes(*[span_message(10 + number, intent="") for number in range(17)]))
    digits = Counter(one["id"][0] for one in place.told("list")["quarantine"])
    ambiguous, _ = digits.most_common(1)[0]  # there are 16 digits
    assert "say more of it" in place.run("show", ambiguous, "--tenant", "acme").stderr


@pytest.mark.parametrize("damage", ["altered", "missing"])
def test_bytes_that_are_not_what_was_logged_are_never_taken(place: Place, damage: str) -> None:
    """A file that is not what its leaf commits to is told, and nothing of it is taken."""
    place.receive(request_bytes(LARGE))
    (path,) = (place.root / "store" / "quarantine" / "acme").iterdir()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes().replace(b"refund", b"payout"))
    assert place.listed(HIGH)["too_large"]["state"] == "damaged"
    assert place.results("--all", code=3) == ["refused"]
    assert place.run("show", path.name, "--raw", "--tenant", "acme").returncode == 6
    assert place.kinds() == ["quarantine"]


OLD = [
    LARGE.SerializeToString(),
    json.dumps(json_span(1), separators=(",", ":")).encode(),
]


@pytest.mark.parametrize("old", OLD)
def test_spans_that_an_older_version_kept(
    place: Place, old: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file with a span's bytes alone is taken too, without what was not kept, and says so."""
    place.set_aside(old)
    (one,) = place.listed(HIGH).values()
    assert one["state"] == "ready"
    assert "without its resource" in one["why"]
    assert place.results(one["id"]) == ["stored"]
    assert place.results(one["id"]) == ["duplicate"]
    assert place.kinds() == ["quarantine", "event"]
    place.verify(capsys)


def test_old_bytes_are_told_from_new_ones() -> None:
    """Bytes that are no request of one span are a span's, whatever they are."""
    for raw in (b"", b"{", b"{}x", b"\x0a\xff", LARGE.SerializeToString(), b"5", b"\x7b\x0a\x00"):
        body, encoding = request_of(raw)
        assert encoding is Encoding.PROTOBUF
        assert body != raw
        assert body.endswith(raw)
    assert request_of(b'{"kind":1}')[1] is Encoding.JSON


def test_a_resource_that_was_not_kept(place: Place) -> None:
    """A span whose resource was too large to be kept is never taken without it."""
    name = field_bytes(1, b"service.name") + field_bytes(2, field_bytes(1, b"s" * 5000))
    place.receive(request_bytes(span_message(), resource=field_bytes(1, name)))
    (one,) = place.listed(HIGH).values()
    assert (one["state"], "too large to be kept" in one["why"]) == ("refused", True)


def sent(place: Place, running: Process, key_file: Path, *words: str, code: int = 0) -> list[str]:
    endpoint = ["--endpoint", f"http://{running.http}", "--key-file", str(key_file)]
    return place.results("--all", *endpoint, *words, code=code)


@pytest.mark.parametrize("encoding", list(Encoding))
def test_a_receiver_that_runs_is_sent_it(
    tmp_path: Path, encoding: Encoding, capsys: pytest.CaptureFixture[str]
) -> None:
    """It takes what it takes now, once, also after a restart; without --endpoint that is said."""
    place = Place(tmp_path)
    key_file = tmp_path / "key"
    key_file.write_text(create_key(tmp_path / "home", tenant="acme")[1] + "\n")
    settings = tmp_path / "receiver.yaml"
    settings.write_text(f"event_bytes_max: {LOW}\n")
    headers = JSON if encoding is Encoding.JSON else encoding.value
    with process(tmp_path, "--config", str(settings)) as running:
        assert post(running, both(encoding), key_file.read_text().strip(), headers) == 200
        done = place.run("retry", "--all", "--tenant", "acme", event_bytes_max=HIGH)
        assert done.returncode == 6
        assert "--endpoint URL" in done.stderr
        assert str(running.pid) in done.stderr
        # Its own limit still refuses both, and sets nothing aside a second time.
        assert sent(place, running, key_file, code=3) == ["refused", "refused"]
        assert running.stop() == 0
    settings.write_text(f"event_bytes_max: {HIGH}\n")
    for results in (["stored", "refused"], ["duplicate", "refused"]):
        with process(tmp_path, "--config", str(settings)) as running:
            assert sent(place, running, key_file, code=3) == results
            assert sent(place, running, key_file, code=3) == ["duplicate", "refused"]
            assert post(running, both(encoding), key_file.read_text().strip(), headers) == 200
            assert running.stop() == 0
    assert place.kinds() == ["quarantine", "quarantine", "event"]
    assert place.events()[-1]["service_name"] == "shop"
    place.verify(capsys)


def test_a_receiver_with_mutual_tls_is_sent_it(tmp_path: Path) -> None:
    """It is reached with its authority and a client certificate, and not without them."""
    place, pki = Place(tmp_path), Pki(tmp_path)
    key_file = tmp_path / "key"
    key_file.write_text(create_key(tmp_path / "home", tenant="acme")[1])
    place.receive(request_bytes(LARGE))
    server_ca, client = tmp_path / "server.pem", tmp_path / "client.pem"
    server_ca.write_bytes(pki.server_ca.cert_pem.bytes())
    client.write_bytes(pki.client_ca.issue_cert("collector").private_key_and_cert_chain_pem.bytes())
    with process(tmp_path, *pki.flags(mutual=True)) as running:
        endpoint = ["--endpoint", f"https://{running.http}", "--key-file", str(key_file)]
        trusting = [*endpoint, "--ca-file", str(server_ca)]
        for words in (endpoint, trusting):
            done = place.run("retry", "--all", "--tenant", "acme", *words, event_bytes_max=HIGH)
            assert done.returncode == 6
        assert place.results("--all", *trusting, "--certificate", str(client)) == ["stored"]
        assert running.stop() == 0
    assert place.kinds() == ["quarantine", "event"]


def post(running: Process, body: bytes, key: str, content_type: str) -> int:
    connection = HTTPConnection(running.http, timeout=20)
    try:
        headers = {"content-type": content_type, "x-api-key": key}
        connection.request("POST", "/v1/traces", body=body, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_an_endpoint_that_cannot_be_used(place: Place) -> None:
    """A key of another tenant, no key, or nobody there: one sentence, exit code 6, nothing sent."""
    place.receive(request_bytes(LARGE))
    good, other = place.root / "good", place.root / "other"
    good.write_text(create_key(place.root / "home", tenant="acme")[1])
    other.write_text(create_key(place.root / "home", tenant="beta")[1])
    dead = ["--endpoint", "http://127.0.0.1:1"]
    for words, why in (
        ([*dead], "needs --key-file"),
        ([*dead, "--key-file", str(place.root / "none")], "cannot be read"),
        ([*dead, "--key-file", str(other)], "a key of beta"),
        ([*dead, "--key-file", str(good)], "refused"),
        (["--endpoint", "ftp://x", "--key-file", str(good)], "must be http"),
        (["--endpoint", "http://192.0.2.1:1", "--key-file", str(good)], "in clear: use https"),
        (["--endpoint", "https://127.0.0.1:1", "--key-file", str(good)], "refused"),
    ):
        done = place.run("retry", "--all", "--tenant", "acme", *words, event_bytes_max=HIGH)
        assert done.returncode == 6, words
        assert why in done.stderr
    assert place.kinds() == ["quarantine"]


def test_a_home_that_no_receiver_wrote_with(place: Place) -> None:
    """A wrong --home is told, and no writer is made in it."""
    place.receive(request_bytes(LARGE))
    other = place.root / "elsewhere"
    folders = ["--store", str(place.root / "store"), "--home", str(other)]
    done = place.run("retry", "--all", "--tenant", "acme", *folders, event_bytes_max=HIGH)
    assert done.returncode == 6
    assert not other.exists()


def test_nothing_is_there(tmp_path: Path) -> None:
    """Without a store the commands end with 6."""
    assert main(["quarantine", "list", "--store", str(tmp_path / "none")]) == 6
