"""One event by its id: the same row that SQL over all segments and hot frames gives."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from intentproof_store import Reader, StoreMissing, TenantInvalid, finding
from intentproof_store.columns import COLUMNS
from intentproof_store.finding import EventFinder
from intentproof_store.segments import find_segments

from tests.store.support import TENANT, Place, append, event, events, place

WANTED = ", ".join(name for name in COLUMNS if not name.endswith("_at"))


@pytest.fixture
def here(tmp_path: Path) -> Place:
    """A store with several segments, closed."""
    where = place(tmp_path)
    for first in range(0, 300, 100):
        with where.ledger() as ledger:
            append(ledger, events(first, first + 100))
    return where


@pytest.fixture
def finder(here: Place) -> Iterator[EventFinder]:
    with closing(EventFinder(here.layout.root, hot=here.hot, home=here.home)) as made:
        yield made


def by_sql(here: Place, event_id: str) -> dict[str, Any] | None:
    with Reader(here.layout.root, hot=here.hot, home=here.home, tenant=TENANT) as reader:
        rows = reader.rows(
            f"SELECT {WANTED} FROM events WHERE event_id = ? "
            "ORDER BY received_ns, writer, log_index LIMIT 1",
            [event_id],
        )
    return rows[0] if rows else None


def test_a_sealed_event_is_found_as_sql_finds_it(here: Place, finder: EventFinder) -> None:
    """Of every segment, the first and the last event."""
    for number in (0, 99, 100, 199, 200, 299):
        wanted = by_sql(here, event(number).event_id)
        assert wanted is not None
        assert finder.row(TENANT, event(number).event_id) == wanted


def test_what_came_later_is_found_too(here: Place, finder: EventFinder) -> None:
    """A finder that remembers segments finds hot events, and those sealed since."""
    assert finder.row(TENANT, event(300).event_id) is None
    with here.ledger() as ledger:
        append(ledger, events(300, 310))
        found = finder.row(TENANT, event(300).event_id)
        assert found == by_sql(here, event(300).event_id)
        assert found is not None
    assert finder.row(TENANT, event(300).event_id) == found


def test_the_first_told_is_the_event(here: Place, finder: EventFinder) -> None:
    """Of an event and its conflicts, the event; another content does not take its place."""
    with here.ledger() as ledger:
        append(ledger, [event(5, intent="something else")])
    found = finder.row(TENANT, event(5).event_id)
    assert found == by_sql(here, event(5).event_id)
    assert found is not None
    assert found["intent"] == event(5).intent


def test_of_two_writers_the_earlier_telling_is_the_event(tmp_path: Path) -> None:
    """What two receivers were told of is shown as the one that was told first has it."""
    one = place(tmp_path)
    for home in ("other", "home"):
        with one.ledger(home=tmp_path / home) as ledger:
            append(ledger, events(0, 3))
    with closing(EventFinder(one.layout.root, hot=one.hot)) as finder:
        for number in range(3):
            with Reader(one.layout.root, hot=one.hot, tenant=TENANT) as reader:
                (wanted,) = reader.rows(
                    "SELECT writer, log_index FROM events WHERE event_id = ?",
                    [event(number).event_id],
                )
            found = finder.row(TENANT, event(number).event_id)
            assert found is not None
            assert wanted == {name: found[name] for name in ("writer", "log_index")}


def test_a_segment_that_another_revision_replaced_is_looked_up_anew(
    here: Place, finder: EventFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that went since the folder was listed is no error: its successor is read."""
    event_id = event(250).event_id
    wanted = finder.row(TENANT, event_id)
    find = find_segments
    asked: list[None] = []

    def gone_at_first(*args: Any, **options: Any) -> Any:
        segments, problems = find(*args, **options)
        asked.append(None)
        if len(asked) == 1:
            lost = [replace(each, path=each.path.with_name("gone")) for each in segments]
            return lost, problems
        return segments, problems

    monkeypatch.setattr(finding, "find_segments", gone_at_first)
    assert finder.row(TENANT, event_id) == wanted


def test_what_is_not_there_is_told(here: Place, finder: EventFinder, tmp_path: Path) -> None:
    """No such event is None; no such store or tenant id is an error."""
    assert finder.row(TENANT, "no such event") is None
    assert finder.row("nobody", event(1).event_id) is None
    with pytest.raises(TenantInvalid):
        finder.row("../x", event(1).event_id)
    with closing(EventFinder(tmp_path / "nowhere")) as nowhere, pytest.raises(StoreMissing):
        nowhere.row(TENANT, "x")
