"""Sealed segments and hot frames, read as one."""

import shutil
from pathlib import Path

import pandas as pd  # type: ignore[import-untyped]
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from intentproof_store import TenantInvalid
from intentproof_store.errors import StoreMissing
from intentproof_store.reader import Reader

from tests.store.reader_support import (
    PAYLOAD,
    START_NS,
    Clock,
    Site,
    append,
    copy_hot,
    count,
    event,
    ids,
)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_acknowledged_is_seen_before_it_is_sealed(site: Site) -> None:
    """An event can be queried as soon as it was acknowledged."""
    with site.ledger() as ledger:
        append(ledger, [event(1)])
        with site.reader() as reader:
            assert ids(reader) == ["event-1"]
            assert reader.paths == ()


def test_sealed_is_seen_without_hot(site: Site) -> None:
    """A sealed event is seen where no hot row is left."""
    site.keep([event(1)])
    with site.reader() as reader:
        assert ids(reader) == ["event-1"]
        assert len(reader.paths) == 1


def test_sealed_and_hot_are_seen_together(site: Site) -> None:
    """Sealed and hot events stand in one view."""
    site.keep([event(1)])
    with site.ledger() as ledger:
        append(ledger, [event(2)])
        with site.reader() as reader:
            assert ids(reader) == ["event-1", "event-2"]


def test_hot_rows_of_a_segment_are_dropped(site: Site) -> None:
    """What is sealed and still hot is seen once."""
    with site.ledger() as ledger:
        append(ledger, [event(1), event(2)])
        aside = copy_hot(site)
    shutil.rmtree(site.hot)
    aside.rename(site.hot)
    with site.reader() as reader:
        assert len(reader.paths) == 1
        assert ids(reader) == ["event-1", "event-2"]
        assert count(reader, "leaves") == 3  # with the genesis


def test_hot_rows_stay_where_their_segment_is_not_taken(site: Site) -> None:
    """A segment that is left out does not hide the hot rows that it would cover."""
    with site.ledger() as ledger:
        append(ledger, [event(1)])
        aside = copy_hot(site)
    shutil.rmtree(site.hot)
    aside.rename(site.hot)
    with site.segments()[0].open("ab") as file:
        file.write(b"x")
    with site.reader() as reader:
        assert [problem.code for problem in reader.problems] == ["wrong_length"]
        assert ids(reader) == ["event-1"]


def test_refresh_sees_what_came_since(site: Site) -> None:
    """A reader shows the moment of its opening until it is refreshed."""
    with site.ledger() as ledger:
        append(ledger, [event(1)])
        with site.reader() as reader:
            append(ledger, [event(2)])
            assert ids(reader) == ["event-1"]
            reader.refresh()
            assert ids(reader) == ["event-1", "event-2"]
            ledger.close()
            reader.refresh()
            assert ids(reader) == ["event-1", "event-2"]
            assert len(reader.paths) == 1


def test_unsigned_file_is_not_read(site: Site) -> None:
    """A file that no note covers is left out and reported."""
    site.keep([event(1)])
    sealed = site.segments()[0]
    name = sealed.name.replace("00000000000000000000-00000000000000000001", f"{5:020d}-{6:020d}")
    shutil.copy(sealed, sealed.with_name(name))
    with site.reader() as reader:
        assert [problem.code for problem in reader.problems] == ["unsigned_file"]
        assert ids(reader) == ["event-1"]


def test_next_revision_replaces_the_first(site: Site) -> None:
    """Of two revisions the later one is read, even while both are there."""
    site.keep([event(1)])
    later = site.erase(site.segments()[0], PAYLOAD)
    with site.reader() as reader:
        assert reader.paths == (later,)
        row = reader.rows("SELECT erased, inputs, intent FROM events")[0]
        assert row == {"erased": True, "inputs": None, "intent": "Return captured funds"}


def test_query_survives_a_file_that_was_superseded(site: Site) -> None:
    """A query of ours is asked again where a file went after the reader was opened."""
    site.keep([event(1)])
    with site.reader() as reader:
        first = site.segments()[0]
        site.erase(first, PAYLOAD)
        first.unlink()
        assert reader.rows("SELECT inputs, event_id FROM events") == [
            {"inputs": None, "event_id": "event-1"}
        ]


def test_two_tenants_never_see_each_other(site: Site) -> None:
    """A reader of one tenant shows nothing of another, sealed or hot."""
    site.keep([event(1)], tenant="acme")
    site.keep([event(2)], tenant="globex")
    with site.ledger() as ledger:
        append(ledger, [event(3)], tenant="acme")
        append(ledger, [event(4)], tenant="globex")
        for tenant, seen in (("acme", ["event-1", "event-3"]), ("globex", ["event-2", "event-4"])):
            with site.reader(tenant) as reader:
                assert ids(reader) == seen
                assert reader.rows("SELECT DISTINCT tenant FROM leaves") == [{"tenant": tenant}]
        with site.reader(None) as reader:
            assert count(reader) == 4


def test_unknown_tenant_has_empty_views(site: Site) -> None:
    """A tenant that never sent anything has views without rows."""
    site.keep([event(1)])
    with site.reader("nobody") as reader:
        assert [count(reader, view) for view in ("events", "traces", "gaps")] == [0, 0, 0]


def test_malformed_tenant_is_refused(site: Site) -> None:
    """A tenant id becomes a folder's name, so that only well-formed ones are taken."""
    site.keep([event(1)])
    with pytest.raises(TenantInvalid):
        site.reader("../acme")


def test_missing_store_is_named(tmp_path: Path) -> None:
    """Where there is no store, the error says where it was looked for."""
    with pytest.raises(StoreMissing, match="nowhere"):
        Reader(tmp_path / "nowhere")


def test_path_with_glob_characters_is_read(tmp_path: Path) -> None:
    """A store's path is a path, not a pattern."""
    site = Site(tmp_path / "it's [all] *here*?")
    site.root.mkdir()
    site.keep([event(1)])
    with site.reader() as reader:
        assert ids(reader) == ["event-1"]


def test_date_is_that_of_receipt(site: Site) -> None:
    """Sealed and hot rows carry the UTC date of receipt."""
    midnight = START_NS + 12 * 3600 * 10**9
    site.keep([event(1)], clock=Clock(midnight - 10**9))
    with site.ledger(Clock(midnight)) as ledger:
        append(ledger, [event(2)])
        with site.reader() as reader:
            dates = [row["day"] for row in reader.rows("SELECT date::VARCHAR AS day FROM events")]
    assert sorted(dates) == ["2026-11-21", "2026-11-22"]


def test_others_read_the_folder_as_hive_parquet(site: Site) -> None:
    """Both pandas and pyarrow read sealed segments with no software of ours."""
    site.keep([event(1)], tenant="acme")
    site.keep([event(2)], tenant="globex")
    frame = pd.read_parquet(site.events)
    assert set(frame["tenant"]) == {"acme", "globex"}
    table = ds.dataset(site.events, partitioning="hive").to_table()
    assert sorted(table["event_id"].drop_null().to_pylist()) == ["event-1", "event-2"]
    assert pq.read_table(site.segments()[0], partitioning=None).num_columns == 36


def test_nothing_is_missed_or_doubled_while_segments_are_sealed(site: Site) -> None:
    """After every acknowledgement a refreshed reader shows each event exactly once."""
    site.store.mkdir()
    with site.ledger(seal_rows=20) as ledger, site.reader() as reader:
        for number in range(0, 200, 5):
            append(ledger, [event(at) for at in range(number, number + 5)])
            reader.refresh()
            assert count(reader) == count(reader, "(SELECT DISTINCT event_id FROM events)")
            assert count(reader) == number + 5
            assert reader.problems == ()
        ledger.close()
        reader.refresh()
        assert count(reader) == 200
        assert len(reader.paths) > 3
