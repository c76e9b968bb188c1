"""The same event again (contract section 4): across restarts, dates, threads, in little memory."""

import itertools
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from intentproof_schemas import ExecutionEvent
from intentproof_store import Appended, Undecodable
from intentproof_store import clerk as clerk_module
from intentproof_store import idruns as idruns_module
from intentproof_store import sameness as sameness_module
from intentproof_store.hotlog import HotLog
from intentproof_store.identity import load_identity
from intentproof_store.layout import SegmentName
from intentproof_store.note import SegmentNote, sign_note
from intentproof_store.segments import read_segment_note, write_segment

from tests.store.support import (
    DAY_NS,
    NOON_NS,
    TENANT,
    Clock,
    Place,
    append,
    check_log,
    check_sealed,
    event,
    events,
    place,
    read_log,
    until,
    watched_logs,
)

NEW, DUPLICATE, CONFLICT = Appended(stored=1), Appended(duplicates=1), Appended(conflicts=1)


def other(one: ExecutionEvent, **changes: Any) -> ExecutionEvent:
    return one._replace(**(changes or {"inputs": '{"amount":9}'}))


def story(where: Place, *, seal_rows: int, clock: Clock, reopen: bool) -> list[Appended]:
    """One long exchange, with a restart between any two steps where `reopen` says so."""
    one, two = event(1), event(2, stream_id="w", sequence=1)
    steps: list[tuple[list[ExecutionEvent], list[Undecodable]]] = [
        ([one], []),
        ([one], []),
        ([other(one)], []),
        ([other(one)], []),
        ([one], []),
        ([two], []),
        ([two._replace(sequence=2)], []),
        ([two._replace(sequence=2)], []),
        ([two._replace(sequence=1)], []),
        ([two._replace(sequence=3, stream_id="x"), two._replace(inputs="{}")], []),
        ([two._replace(sequence=2)], []),
        (events(10, 20), []),
        (events(5, 25), []),
        ([], [Undecodable(b"raw", "bad"), Undecodable(b"raw", "bad"), Undecodable(b"war", "bad")]),
        ([], [Undecodable(b"raw", "bad")]),
        ([other(one), other(one, status="error"), one], []),
    ]
    results: list[Appended] = []
    while steps:
        with where.ledger(clock, seal_rows=seal_rows) as ledger:
            for _ in range(1 if reopen else len(steps)):
                new, undecodable = steps.pop(0)
                results.append(append(ledger, new, undecodable))
                if seal_rows == 1:
                    until(lambda: ledger.status().tenants[TENANT].hot_rows == 0)
    return results


TOLD = [
    NEW,
    DUPLICATE,
    CONFLICT,
    DUPLICATE,
    DUPLICATE,
    NEW,
    DUPLICATE,
    DUPLICATE,
    DUPLICATE,
    Appended(duplicates=1, conflicts=1),
    DUPLICATE,
    Appended(stored=10),
    Appended(stored=10, duplicates=10),
    Appended(quarantined=2),
    Appended(),
    Appended(duplicates=2, conflicts=1),
]


@pytest.mark.parametrize("reopen", [False, True], ids=["one process", "restarts"])
@pytest.mark.parametrize("seal_rows", [10**6, 1], ids=["hot", "sealed"])
@pytest.mark.parametrize("limits", [None, (0, 0), (0, 10**6), (3, 4)], ids=str)
def test_the_same_answers_however_it_is_remembered(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limits: tuple[int, int] | None,
    seal_rows: int,
    *,
    reopen: bool,
) -> None:
    """New, duplicate, numbered and conflict are told alike from memory, runs, a file and disk."""
    if limits is not None:
        monkeypatch.setattr(sameness_module, "RECENT_IDS_MAX", limits[0])
        monkeypatch.setattr(idruns_module, "HELD_IDS_MAX", limits[1])
    here = place(tmp_path)
    assert story(here, seal_rows=seal_rows, clock=Clock(), reopen=reopen) == TOLD
    log = check_sealed(here)
    assert len(log.ids()) == len(set(log.ids())) == 22
    assert len(log.ids("conflict")) == 3
    numbers = [
        (r["stream_id"], r["sequence"]) for r in log.rows.values() if r["kind"] == "numbered"
    ]
    assert sorted(numbers) == [("w", 2), ("x", 3)]
    assert log.kinds().count("quarantine") == 2


def test_a_numbered_leaf_has_the_number_and_nothing_else(tmp_path: Path) -> None:
    """A second stream number of an event is kept with its id, trace, stream and number."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        append(ledger, [event(1), event(1, stream_id="w", sequence=4)])
    (row,) = (row for row in check_sealed(here).rows.values() if row["kind"] == "numbered")
    assert (row["event_id"], row["trace_id"]) == (event(1).event_id, event(1).trace_id)
    assert (row["stream_id"], row["sequence"]) == ("w", 4)


@pytest.mark.parametrize(
    "changes",
    [{"mapping_rule": "rest/1"}, {"stream_id": "w"}, {"stream_id": "w", "sequence": 2}],
    ids=str,
)
def test_what_may_differ_makes_no_conflict(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Mapping rule, stream and number are of the telling, not of the event."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        assert append(ledger, [event(1)]) == NEW
        assert append(ledger, [event(1, **changes)]) == DUPLICATE


@pytest.mark.parametrize(
    "changes",
    [
        {"trace_id": "1" * 32},
        {"span_id": "1" * 16},
        {"parent_span_id": "1" * 16},
        {"action": "x"},
        {"status": "error"},
        {"started_ns": NOON_NS - 2_000_001},
        {"completed_ns": NOON_NS - 1_000_001},
        {"provenance": "observed"},
        {"run_id": "r"},
        {"stage": "s"},
        {"dropped_attributes_count": 1},
        {"dropped_events_count": 1},
        {"dropped_links_count": 1},
        {"intent": "x"},
        {"correlation_id": ""},
        {"attributes": ""},
        {"inputs": "{}"},
        {"output": None},
        {"output": "null"},
        {"error": "{}"},
    ],
    ids=str,
)
@pytest.mark.parametrize("seal_rows", [10**6, 1], ids=["hot", "sealed"])
def test_whatever_else_differs_is_a_conflict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], seal_rows: int
) -> None:
    """Any other key or committed member that differs makes the second telling a conflict, once."""
    monkeypatch.setattr(sameness_module, "RECENT_IDS_MAX", 0)
    here = place(tmp_path)
    with here.ledger(seal_rows=seal_rows) as ledger:
        assert append(ledger, [event(1)]) == NEW
        until(lambda: seal_rows > 1 or ledger.status().tenants[TENANT].sealed_rows)
        assert append(ledger, [event(1, **changes)]) == CONFLICT
        assert append(ledger, [event(1, **changes), event(1)]) == Appended(duplicates=2)


@pytest.mark.parametrize(
    "first", [other(event(1)), event(1, stream_id="w", sequence=5)], ids=["conflict", "numbered"]
)
def test_a_hot_second_telling_does_not_hide_the_sealed_first_after_a_kill(
    tmp_path: Path, first: ExecutionEvent
) -> None:
    """Event sealed, its conflict or number still hot, kill: the event sent again is a duplicate."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        append(ledger, [event(1)])
    with here.ledger() as ledger:
        append(ledger, [first])
        crashed = here.crash_image()
    with crashed.ledger() as ledger:
        assert append(ledger, [event(1)]) == DUPLICATE
        assert append(ledger, [first]) == DUPLICATE
    check_sealed(crashed)


def test_a_second_telling_after_midnight_does_not_hide_the_first_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Event hot from yesterday, its conflict hot from today, kill: still a duplicate."""
    here, clock = place(tmp_path), Clock()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with here.ledger(clock) as ledger:
        append(ledger, [event(1)])
        with monkeypatch.context() as patched:
            patched.setattr(clerk_module, "write_segment", refuse)
            clock.now_ns += DAY_NS
            assert append(ledger, [other(event(1))]) == CONFLICT
            crashed = here.crash_image()
    assert not read_log(crashed).segments
    with crashed.ledger(clock) as ledger:
        assert append(ledger, [event(1), other(event(1))]) == Appended(duplicates=2)


@pytest.mark.parametrize("limits", [None, (0, 0)], ids=str)
@pytest.mark.parametrize("completed_days", [-20_000, -400, -1, 0, 1, 3, 400, 30_000])
def test_events_of_any_completion_are_known_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    completed_days: int,
    limits: tuple[int, int] | None,
) -> None:
    """However far in the past or future it completed, an event is known again on later days."""
    if limits is not None:
        monkeypatch.setattr(sameness_module, "RECENT_IDS_MAX", limits[0])
        monkeypatch.setattr(idruns_module, "HELD_IDS_MAX", limits[1])
    here, clock = place(tmp_path), Clock()
    at = NOON_NS + completed_days * DAY_NS
    one = event(1, started_ns=at, completed_ns=at)
    with here.ledger(clock, seal_rows=1) as ledger:
        assert append(ledger, [one]) == NEW
        clock.now_ns += DAY_NS
        assert append(ledger, [one, event(2)]) == Appended(stored=1, duplicates=1)
    for days in (2, 5, 401):
        clock.now_ns = NOON_NS + days * DAY_NS
        with here.ledger(clock) as ledger:
            assert append(ledger, [one]) == DUPLICATE
            assert append(ledger, [one._replace(stage="other")]) == (
                CONFLICT if days == 2 else DUPLICATE
            )
    assert check_log(here).ids().count(one.event_id) == 1


def test_an_event_is_known_although_the_clock_was_ahead(tmp_path: Path) -> None:
    """An event received by a clock that was two days ahead is known when the clock is right."""
    here, clock = place(tmp_path), Clock(NOON_NS + 2 * DAY_NS)
    with here.ledger(clock) as ledger:
        append(ledger, [event(1)])
    with here.ledger(Clock()) as ledger:
        assert append(ledger, [event(1)]) == DUPLICATE


def test_the_same_id_in_another_tenant_is_another_event(tmp_path: Path) -> None:
    """Tenants know nothing of each other's ids."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        assert append(ledger, [event(1)]) == NEW
        assert append(ledger, [event(1)], tenant="beta") == NEW
        assert append(ledger, [other(event(1))], tenant="beta") == CONFLICT
    check_sealed(here)
    check_sealed(here, "beta")


def test_duplicates_within_one_batch_are_told_apart(tmp_path: Path) -> None:
    """Within one batch the first telling is the event, equal ones duplicates, others conflicts."""
    here = place(tmp_path)
    one = event(1)
    with here.ledger() as ledger:
        assert append(ledger, [one, one, other(one), one, other(one)]) == Appended(1, 3, 1, 0)
    assert check_sealed(here).kinds() == ["genesis", "event", "conflict"]


def test_the_same_events_from_many_threads_are_stored_once(tmp_path: Path) -> None:
    """Eight threads that send the same events at the same time store each of them once."""
    here = place(tmp_path)
    batches = [events(first, first + 20) for first in range(0, 200, 20)]
    results: list[Appended] = []
    with here.ledger(seal_rows=50) as ledger:
        start = threading.Barrier(8)

        def send() -> None:
            start.wait()
            futures = [ledger.append(TENANT, batch) for batch in batches]
            results.extend(future.result(20) for future in futures)

        threads = [threading.Thread(target=send) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(result.stored for result in results) == 200
    assert sum(result.duplicates for result in results) == 200 * 7
    assert sorted(check_sealed(here).ids()) == sorted(one.event_id for one in events(0, 200))


def test_memory_of_ids_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past both limits neither recent ids nor runs hold more than they may, and all are known."""
    monkeypatch.setattr(sameness_module, "RECENT_IDS_MAX", 30)
    monkeypatch.setattr(idruns_module, "HELD_IDS_MAX", 60)
    here, clock = place(tmp_path), Clock()
    with watched_logs() as logs, here.ledger(clock, seal_rows=20) as ledger:
        for day, first in itertools.product(range(4), (0, 20, 40)):
            clock.now_ns = NOON_NS + day * DAY_NS
            at = NOON_NS + day * DAY_NS
            new = [
                e._replace(started_ns=at, completed_ns=at)
                for e in events(first + 100 * day, first + 100 * day + 20)
            ]
            assert append(ledger, new).stored == 20
            until(lambda: ledger.status().tenants[TENANT].hot_rows == 0)
        until(lambda: ledger.status().sealed_segments >= 12)
        knows = logs[TENANT].sameness
        recent = sum(map(len, knows._older)) + len(knows._open)
        assert recent <= 30
        assert len(knows._runs) <= 60
        for day in range(4):
            at = NOON_NS + day * DAY_NS
            old = [
                e._replace(started_ns=at, completed_ns=at)
                for e in events(100 * day, 100 * day + 60)
            ]
            assert append(ledger, old) == Appended(duplicates=60)


def test_what_was_refused_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event whose group the disk refused is new when it is sent again."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        append(ledger, [event(0)])

        def refuse(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(HotLog, "append", refuse)
            future = ledger.append(TENANT, [event(1)], [Undecodable(b"x", "bad")])
            assert future.exception(20) is not None
        assert append(ledger, [event(1)], [Undecodable(b"x", "bad")]) == Appended(1, 0, 0, 1)
    check_sealed(here)


def erase(where: Place, members: list[str]) -> None:
    """Publish the next revision of the log's only segment without these columns."""
    (segment,) = read_log(where).segments
    table = pq.read_table(segment.path, partitioning=None).sort_by("log_index")
    for name in members:
        at = table.schema.get_field_index(name)
        field = table.schema.field(at)
        table = table.set_column(at, field, pa.nulls(len(table), field.type))
    revised = SegmentName(segment.name.writer, segment.name.first, segment.name.last, 1)
    path = segment.path.with_name(revised.file())
    size, digest = write_segment(table.combine_chunks().to_batches(), path)
    identity = load_identity(where.home, "intentproof.local")
    origin = identity.origin(TENANT)
    note = SegmentNote(origin, revised.first, revised.last, revised.rev, size, digest)
    raw = sign_note(note.text(), name=origin, key=identity.signing_key)
    (where.log() / revised.note()).write_bytes(raw)
    assert read_segment_note(raw, [identity.verifier_key(TENANT)]) == note


CONTEXT = ["intent", "correlation_id", "attributes", "service_name", "context_salt"]
PAYLOAD = ["inputs", "output", "error", "payload_salt"]


@pytest.mark.parametrize(
    ("erased", "changes", "verdict"),
    [
        (PAYLOAD, {"inputs": "{}"}, DUPLICATE),
        (PAYLOAD, {"status": "error", "intent": "x"}, DUPLICATE),
        (CONTEXT, {"intent": "x"}, DUPLICATE),
        (CONTEXT, {"inputs": "{}"}, CONFLICT),
        (CONTEXT + PAYLOAD, {"inputs": "{}", "intent": "x"}, DUPLICATE),
    ],
    ids=["payload", "payload, all differs", "context", "context, payload differs", "both"],
)
def test_erased_members_are_not_compared(
    tmp_path: Path, erased: list[str], changes: dict[str, Any], verdict: Appended
) -> None:
    """With its payload erased, whatever has an event's id is a duplicate, and is not stored."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        append(ledger, [event(1)])
    erase(here, erased)
    with here.ledger() as ledger:
        assert append(ledger, [event(1, **changes)]) == verdict
        assert append(ledger, [event(1)]) == DUPLICATE
    check_sealed(here)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(0, 2)), max_size=25),
    st.data(),
)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_exchange_is_answered_as_by_a_simple_model(
    tmp_path_factory: pytest.TempPathFactory, told: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    """Against any sequence of tellings, seals and restarts, the answers are the model's."""
    here = place(tmp_path_factory.mktemp("model"))
    contents: dict[int, set[int]] = {}
    numbers: dict[int, set[int]] = {}
    while told:
        count = data.draw(st.integers(1, len(told)))
        with here.ledger(seal_rows=data.draw(st.sampled_from([1, 10**6]))) as ledger:
            for which, content, number in told[:count]:
                one = event(
                    which,
                    inputs=f'{{"n":{content}}}',
                    sequence=number,
                    stream_id="w" if number else "",
                )
                expected = DUPLICATE
                if which not in contents:
                    expected = NEW
                elif content not in contents[which]:
                    expected = CONFLICT
                contents.setdefault(which, set()).add(content)
                numbers.setdefault(which, set()).add(number)
                assert append(ledger, [one]) == expected
        told = told[count:]
    if contents:
        log = check_sealed(here)
        assert len(log.ids()) == len(contents)
        assert len(log.ids("conflict")) == sum(len(c) - 1 for c in contents.values())
        kept = {(r["event_id"], r["sequence"]) for r in log.rows.values() if r["sequence"]}
        assert kept == {(event(w).event_id, n) for w, many in numbers.items() for n in many if n}
