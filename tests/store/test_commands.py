"""The commands that read, as the console script runs them."""

import json
from pathlib import Path
from typing import Any

import pytest
from intentproof_schemas import event_hash, event_text

from tests.store.reader_support import (
    CONTEXT,
    PAYLOAD,
    START_NS,
    Clock,
    Run,
    Site,
    append,
    commander,
    event,
)

ERROR = '{"message":"no","name":"E"}'


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def run(site: Site, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line; its exit code, stdout and stderr."""
    return commander(site, capsys)


def trace_of(number: int) -> str:
    return event(number).trace_id


def items(run: Run, *argv: str) -> list[dict[str, Any]]:
    code, out, _ = run(*argv, "--tenant", "acme", "--json")
    assert code == 0
    found: list[dict[str, Any]] = json.loads(out)["events"]
    return found


def test_trace_json_has_the_published_shape(site: Site, run: Run) -> None:
    """One document, with an item of the contract's members for each event, by start."""
    site.keep([event(2), event(1, parent_span_id="0" * 15 + "7")])
    code, out, err = run("trace", trace_of(1), "--tenant", "acme", "--json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert list(document) == ["tenant", "trace_id", "events"]
    assert (document["tenant"], document["trace_id"]) == ("acme", trace_of(1))
    writer = (site.home / "writer").read_text().strip()
    first = event(1)
    received_at = document["events"][0].pop("received_at")
    assert received_at.startswith("2026-11-21T12:00:00.0")
    assert document["events"][0] == {
        "event": json.loads(event_text(first)),
        "event_hash": event_hash(first),
        "kind": "event",
        "provenance": "declared",
        "mapping_rule": "intentproof/1",
        "trace_id": first.trace_id,
        "span_id": first.span_id,
        "parent_span_id": "0" * 15 + "7",
        "writer": writer,
        "log_index": 2,
        "disputed": False,
        "erased": False,
    }
    assert [each["event"]["id"] for each in document["events"]] == ["event-1", "event-2"]


@pytest.mark.parametrize("sealed", [True, False])
def test_event_is_spliced_byte_for_byte(site: Site, run: Run, sealed: bool) -> None:  # noqa: FBT001
    """The event in the answer is the text that its hash takes, sealed or hot."""
    odd = event(1, inputs='{"a":1e+21,"b":1e-7,"ü":"\\u0001"}', action='x"\\')
    with site.ledger() as ledger:
        append(ledger, [odd])
        if sealed:
            ledger.close()
        for form in ("--json", "--jsonl"):
            _, out, _ = run("trace", odd.trace_id, "--tenant", "acme", form)
            assert '{"event":' + event_text(odd).decode() + ',"event_hash"' in out


def test_jsonl_is_one_object_a_line(site: Site, run: Run) -> None:
    """With --jsonl each item is a line of its own."""
    site.keep([event(1), event(2)])
    _, out, _ = run("trace", trace_of(1), "--tenant", "acme", "--jsonl")
    assert [json.loads(line)["event"]["id"] for line in out.splitlines()] == ["event-1", "event-2"]


def test_trace_id_is_taken_as_people_paste_it(site: Site, run: Run) -> None:
    """Upper case and spaces around a trace id do not matter."""
    site.keep([event(1, trace_id="abcdef" + "0" * 26)])
    assert len(items(run, "trace", f" ABCDEF{'0' * 26} ")) == 1


@pytest.mark.parametrize("given", ["", "abc", "g" * 32, "0" * 32, "a" * 33])
def test_what_is_no_trace_id_is_invalid(site: Site, run: Run, given: str) -> None:
    """Anything but 32 hex digits, not all zero, is invalid input."""
    site.keep([event(1)])
    code, out, err = run("trace", given, "--tenant", "acme")
    assert (code, out) == (6, "")
    assert "is not a trace id" in err


@pytest.mark.parametrize("tenant", ["", "ACME", "../acme", "a" * 64, "acme/"])
def test_malformed_tenant_is_invalid(site: Site, run: Run, tenant: str) -> None:
    """A tenant id that the contract does not allow is invalid input, for every command."""
    site.keep([event(1)])
    for argv in (("trace", trace_of(1)), ("correlation", "x"), ("sql", "SELECT 1"), ("log", "key")):
        assert run(*argv, f"--tenant={tenant}")[0] == 6


def test_unknown_ids_are_an_empty_list(site: Site, run: Run) -> None:
    """Nothing known of an id is an answer, not an error."""
    site.keep([event(1)])
    assert items(run, "trace", "f" * 32) == []
    assert items(run, "correlation", "no such order") == []
    code, out, err = run("trace", "f" * 32, "--tenant", "acme")
    assert (code, out) == (0, "")
    assert "nothing is known" in err


def test_missing_store_is_invalid(run: Run) -> None:
    """Without a store every command says where it looked."""
    for argv in (
        ("trace", "f" * 32, "--tenant", "acme"),
        ("correlation", "x", "--tenant", "acme"),
        ("sql", "SELECT 1"),
        ("log", "list"),
    ):
        code, out, err = run(*argv)
        assert (code, out) == (6, "")
        assert "there is no store" in err


def test_correlation_finds_events_across_traces(site: Site, run: Run) -> None:
    """A correlation id may hold any characters and span several traces."""
    odd = "order '1' %_ \u202e"
    site.keep([event(1, correlation_id=odd), event(21, correlation_id=odd), event(3)])
    found = items(run, "correlation", odd)
    assert [each["event"]["id"] for each in found] == ["event-1", "event-21"]


def test_correlation_compares_with_other_writers(site: Site, run: Run) -> None:
    """By correlation id, too, another writer's equal event is shown once, a different one told."""
    second = Site(site.root, "home2")
    site.keep([event(1), event(2)], clock=Clock(START_NS))
    second.keep([event(1), event(2, output="2")], clock=Clock(START_NS + 10**9))
    site.trust(second)
    found = items(run, "correlation", "order-0")
    told = [(each["event"]["id"], each["kind"], each["disputed"]) for each in found]
    assert sorted(told) == [
        ("event-1", "event", False),
        ("event-2", "conflict", True),
        ("event-2", "event", True),
    ]


def test_conflicts_stand_beside_their_event(site: Site, run: Run) -> None:
    """A conflict is shown with its kind, and both it and its event are disputed."""
    site.keep([event(1), event(1, output="1")])
    found = items(run, "trace", trace_of(1))
    assert [(each["kind"], each["disputed"]) for each in found] == [
        ("event", True),
        ("conflict", True),
    ]


@pytest.mark.parametrize(
    ("columns", "left"),
    [
        (PAYLOAD, {"attributes", "correlationId", "intent"}),
        (CONTEXT, {"attributes", "error", "inputs", "output"}),
        (CONTEXT + PAYLOAD, {"attributes"}),
    ],
    ids=["payload", "context", "both"],
)
def test_erased_event_shows_what_is_left(
    site: Site, run: Run, columns: tuple[str, ...], left: set[str]
) -> None:
    """Of an erased event the leaf's members and the remaining half are shown, and no hash."""
    whole = event(1, inputs='{"intent":"","a":null}', output='{"inputs":null}', error=ERROR)
    site.keep([whole])
    site.erase(site.segments()[0], columns)
    found = items(run, "trace", whole.trace_id)[0]
    full = json.loads(event_text(whole))
    assert found["event_hash"] is None
    assert found["erased"] is True
    told = {"action", "completedAt", "durationMs", "id", "startedAt", "status"}
    assert found["event"].keys() == told | left
    for name, value in found["event"].items():
        if name == "attributes" and "intent" not in left:
            assert value.keys() == {"intentproof.span_id", "intentproof.trace_id"}
        else:
            assert value == full[name]


def test_people_see_a_tree(site: Site, run: Run) -> None:
    """For people, events stand below what caused them, with controls written out."""
    root, child = event(1, action="checkout"), event(0, action="charge\x1b[31m")
    child = child._replace(parent_span_id=root.span_id)
    site.keep([child, root, event(2, action="alone", parent_span_id="f" * 16)])
    _, out, _ = run("trace", trace_of(1), "--tenant", "acme")
    head, *lines = out.splitlines()
    at = head.index("ACTION")
    assert [line[at:].split("  Return")[0].rstrip() for line in lines] == [
        "checkout",
        "  charge\\u001b[31m",
        "alone",
    ]
    assert "1.500" in lines[0]


def test_spans_that_are_each_others_parents_are_shown_once(site: Site, run: Run) -> None:
    """Parents in a circle neither hang the command nor hide an event."""
    one, two = event(1), event(2)
    site.keep(
        [
            one._replace(parent_span_id=two.span_id),
            two._replace(parent_span_id=one.span_id),
            event(3, parent_span_id=event(3).span_id),
        ]
    )
    _, out, _ = run("trace", trace_of(1), "--tenant", "acme")
    assert len(out.splitlines()) == 4
