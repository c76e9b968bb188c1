"""The views: their columns, and what they make of duplicates, conflicts and holes."""

import json
from pathlib import Path

import pytest
from intentproof_store import Undecodable
from intentproof_store.reader import Reader

from tests.store.reader_support import (
    CONTEXT,
    PAYLOAD,
    START_NS,
    Clock,
    Site,
    append,
    count,
    event,
    ids,
)

_VIEWS = json.loads((Path(__file__).parents[2] / "schemas" / "views.json").read_text())["views"]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Site, Site]:
    """Two receivers over one store; the first reads, and trusts the second."""
    return Site(tmp_path), Site(tmp_path, "home2")


def read_pair(pair: tuple[Site, Site]) -> Reader:
    pair[0].trust(pair[1])
    return pair[0].reader()


def described(reader: Reader) -> dict[str, list[tuple[str, str]]]:
    return {
        view: [(row["column_name"], row["column_type"]) for row in reader.rows(f"DESCRIBE {view}")]
        for view in _VIEWS
    }


def published() -> dict[str, list[tuple[str, str]]]:
    return {
        view: [(column["name"], column["type"]) for column in entry["columns"]]
        for view, entry in _VIEWS.items()
    }


def test_columns_are_as_published_in_an_empty_store(site: Site) -> None:
    """Without a row the views have the columns and types of views.json."""
    site.store.mkdir()
    with site.reader() as reader:
        assert described(reader) == published()


def test_columns_are_as_published_hot_and_sealed(site: Site) -> None:
    """Hot, sealed or both, the views have the columns and types of views.json."""
    with site.ledger() as ledger:
        append(ledger, [event(1)])
        with site.reader() as reader:
            assert described(reader) == published()
    with site.reader() as reader:
        assert described(reader) == published()


def test_columns_are_as_published_with_two_writers(pair: tuple[Site, Site]) -> None:
    """Rows of several writers do not change the columns of the views."""
    pair[0].keep([event(1)])
    pair[1].keep([event(1), event(2, output="1")])
    with read_pair(pair) as reader:
        assert described(reader) == published()


def test_conflict_within_a_log_disputes_the_event(site: Site) -> None:
    """The first content stays the event, the other is a conflict, and the event says so."""
    site.keep([event(1), event(2)])
    site.keep([event(1, output='"other"')])
    with site.reader() as reader:
        rows = reader.rows("SELECT event_id, output, disputed FROM events ORDER BY 1")
        assert [(row["event_id"], row["disputed"]) for row in rows] == [
            ("event-1", True),
            ("event-2", False),
        ]
        assert rows[0]["output"] == '{"id":"re_1"}'
        assert reader.rows("SELECT output FROM conflicts") == [{"output": '"other"'}]


def test_conflict_in_another_trace_disputes_the_event(site: Site) -> None:
    """A second content under one id disputes the event even where it names another trace."""
    site.keep([event(1), event(1, trace_id="f" * 32)])
    with site.reader() as reader:
        assert reader.rows("SELECT disputed FROM events") == [{"disputed": True}]
        assert count(reader, "conflicts") == 1


def test_hot_conflict_disputes_a_sealed_event(site: Site) -> None:
    """A conflict counts as soon as it was acknowledged, and after a refresh."""
    site.keep([event(1)])
    with site.ledger() as ledger, site.reader() as reader:
        append(ledger, [event(1, status="error", error="{}")])
        assert reader.rows("SELECT disputed FROM events") == [{"disputed": False}]
        reader.refresh()
        assert reader.rows("SELECT disputed FROM events") == [{"disputed": True}]


def test_equal_events_of_two_writers_are_one(pair: tuple[Site, Site]) -> None:
    """An event that two receivers took is shown once, as the first received it."""
    first, second = pair
    second.keep([event(1, stream_id="s", sequence=1)], clock=Clock(START_NS))
    first.keep([event(1), event(2)], clock=Clock(START_NS + 10**9))
    with read_pair(pair) as reader:
        assert ids(reader) == ["event-1", "event-2"]
        assert count(reader, "conflicts") == 0
        rows = reader.rows("SELECT stream_id, disputed FROM events WHERE event_id = 'event-1'")
        assert rows == [{"stream_id": "s", "disputed": False}]
        assert count(reader, "leaves") == 5


def test_different_events_of_two_writers_conflict(pair: tuple[Site, Site]) -> None:
    """Of different contents the first received is the event, the other a conflict."""
    first, second = pair
    first.keep([event(1)], clock=Clock(START_NS))
    second.keep([event(1, inputs='{"amount":9}')], clock=Clock(START_NS + 10**9))
    with read_pair(pair) as reader:
        assert reader.rows("SELECT inputs, disputed FROM events") == [
            {"inputs": '{"amount":1}', "disputed": True}
        ]
        assert reader.rows("SELECT inputs, kind FROM conflicts") == [
            {"inputs": '{"amount":9}', "kind": "event"}
        ]


def test_one_id_in_two_traces_of_two_writers_is_two_events(pair: tuple[Site, Site]) -> None:
    """Across writers events are compared within one trace id."""
    pair[0].keep([event(1)])
    pair[1].keep([event(1, trace_id="f" * 32)])
    with read_pair(pair) as reader:
        assert count(reader) == 2
        assert count(reader, "conflicts") == 0


def test_events_without_a_trace_are_compared_too(pair: tuple[Site, Site]) -> None:
    """No trace id is a trace id of its own for the comparison."""
    pair[0].keep([event(1, trace_id="", span_id="")])
    pair[1].keep([event(1, trace_id="", span_id="")])
    with read_pair(pair) as reader:
        assert count(reader) == 1


def test_conflict_of_one_writer_equal_to_the_event_is_a_duplicate(
    pair: tuple[Site, Site],
) -> None:
    """What the second writer took for a conflict is none where it equals the first received."""
    first, second = pair
    first.keep([event(1, output="1")], clock=Clock(START_NS))
    second.keep([event(1, output="2"), event(1, output="1")], clock=Clock(START_NS + 10**9))
    with read_pair(pair) as reader:
        assert reader.rows("SELECT output, disputed FROM events") == [
            {"output": "1", "disputed": True}
        ]
        assert reader.rows("SELECT output FROM conflicts") == [{"output": "2"}]


@pytest.mark.parametrize(
    ("columns", "change"),
    [(PAYLOAD, {"inputs": "{}"}), (CONTEXT, {"intent": "another"})],
    ids=["payload", "context"],
)
def test_erased_members_are_not_compared(
    pair: tuple[Site, Site], columns: tuple[str, ...], change: dict[str, str]
) -> None:
    """What differs only in what one of two writers erased does not contradict it."""
    first, second = pair
    first.keep([event(1)], clock=Clock(START_NS))
    first.erase(first.segments()[0], columns)
    second.keep([event(1, **change)], clock=Clock(START_NS + 10**9))
    with read_pair(pair) as reader:
        assert reader.rows("SELECT erased, disputed FROM events") == [
            {"erased": True, "disputed": False}
        ]


def test_one_tenant_with_two_writers_beside_one_with_one(pair: tuple[Site, Site]) -> None:
    """Tenants are judged apart: one with several writers changes nothing for another."""
    pair[0].keep([event(1)], tenant="acme")
    pair[1].keep([event(1)], tenant="acme")
    pair[1].keep([event(1), event(1, output="1")], tenant="globex")
    pair[0].trust(pair[1])
    with pair[0].reader(None) as reader:
        rows = reader.rows("SELECT tenant, disputed FROM events ORDER BY tenant")
        assert [tuple(row.values()) for row in rows] == [("acme", False), ("globex", True)]
        assert count(reader, "conflicts") == 1


def test_traces_sum_up_their_events(site: Site) -> None:
    """A trace has its first start, last completion, counts and services."""
    site.keep(
        [
            event(1),
            event(2, status="error", output=None, error='{"message":"","name":"Error"}'),
            event(3, attributes='{"service.name":"billing"}'),
            event(4, attributes=""),
            event(1, output="1"),
        ]
    )
    with site.reader() as reader:
        rows = reader.rows(
            'SELECT trace_id, epoch_us("first") f, epoch_us("last") l, events, errors, services '
            "FROM traces"
        )
    assert rows == [
        {
            "trace_id": f"{1:032x}",
            "f": (START_NS + 1_000_000) // 1000,
            "l": (START_NS + 5_500_000) // 1000,
            "events": 4,
            "errors": 1,
            "services": ["billing", "refunds"],
        }
    ]


def test_holes_in_a_stream_are_gaps(site: Site) -> None:
    """Numbers that a producer gave and nobody received are gaps; resent numbers are not."""
    numbers = {1: 2, 2: 3, 3: 7}
    site.keep([event(n, stream_id="s", sequence=at) for n, at in numbers.items()])
    site.keep([event(1, stream_id="s", sequence=5)])  # the same event under one more number
    with site.reader() as reader:
        rows = reader.rows(
            "SELECT stream_id, first_missing, last_missing FROM gaps WHERE source = 'stream' "
            "ORDER BY 2"
        )
    assert [tuple(row.values()) for row in rows] == [("s", 1, 1), ("s", 4, 4), ("s", 6, 6)]


def test_gap_leaves_are_gaps(site: Site) -> None:
    """A step back of the clock is a gap of the log, with its reason."""
    clock = Clock(START_NS)
    with site.ledger(clock) as ledger:
        append(ledger, [event(1)])
        clock.now_ns -= 5 * 10**9
        append(ledger, [event(2)])
        with site.reader() as reader:
            rows = reader.rows("SELECT source, reason, log_index FROM gaps")
    assert [(row["source"], row["reason"]) for row in rows] == [("log", "clock_step_back")]


def test_quarantine_shows_what_could_not_be_taken(site: Site) -> None:
    """Quarantined bytes have a row with their reason, size and file."""
    site.keep([event(1)], [Undecodable(b"abc", "bad_span", "it is bad")])
    with site.reader() as reader:
        row = reader.rows("SELECT reason, size, file FROM quarantine")[0]
    assert (row["reason"], row["size"]) == ("bad_span", 3)
    assert (site.store / "quarantine" / "acme" / row["file"]).exists()


def test_numbered_leaves_stand_in_leaves_only(site: Site) -> None:
    """One more number of an event is a leaf, and no event."""
    site.keep([event(1, stream_id="s", sequence=1)])
    site.keep([event(1, stream_id="s", sequence=2)])
    with site.reader() as reader:
        assert count(reader) == 1
        kinds = reader.rows("SELECT kind FROM leaves ORDER BY log_index")
    assert [row["kind"] for row in kinds] == ["genesis", "event", "numbered"]


@pytest.mark.parametrize("writers", [1, 2])
def test_a_trace_is_looked_up_in_its_row_group(pair: tuple[Site, Site], writers: int) -> None:
    """A filter on the trace id reaches the Parquet scan through the view."""
    for site in pair[:writers]:
        site.keep([event(n) for n in range(20)])
    with read_pair(pair) if writers == 2 else pair[0].reader() as reader, reader.cursor() as con:
        con.execute(f"EXPLAIN SELECT * FROM events WHERE trace_id = '{2:032x}'")
        plan = "".join(con.fetchall()[0][1].split())
        scan = plan[plan.index("READ_PARQUET") :]
        assert f"trace_id='{2:032x}'" in scan.replace("│", "")
