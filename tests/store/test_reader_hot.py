"""Hot frames as a reader takes them: whole, authentic, in sequence."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intentproof_store.hotread import HotRows, unsealed
from intentproof_store.reader import Reader
from intentproof_store.rows import RowMaker

from tests.store.reader_support import (
    START_NS,
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


def test_forged_frame_is_left_out(site: Site) -> None:
    """With the hot key at hand, a frame that was written under another one is reported."""
    with site.ledger() as ledger:
        append(ledger, [event(1)])
        (site.home / "hot.key").write_bytes(b"k" * 32)
        with site.reader() as reader:
            assert {problem.code for problem in reader.problems} == {"frame_forged"}
            assert count(reader) == 0


def test_hot_is_read_without_keys(site: Site) -> None:
    """Without --home, frames are taken by their checksums."""
    with site.ledger() as ledger:
        append(ledger, [event(1)])
        with Reader(site.store, hot=site.hot) as reader:
            assert reader.problems == ()
            assert ids(reader) == ["event-1"]


def test_torn_last_frame_is_no_problem(site: Site) -> None:
    """A frame that is being written is passed over in silence, and read when it is whole."""
    with site.ledger() as ledger:
        append(ledger, [event(1)])
        append(ledger, [event(2)])
        aside = copy_hot(site)
    shutil.rmtree(site.events)
    path = next(aside.rglob("*.frames"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with Reader(site.store, hot=aside, home=site.home) as reader:
        assert reader.problems == ()
        assert ids(reader) == ["event-1"]
        path.write_bytes(whole)
        reader.refresh()
        assert ids(reader) == ["event-1", "event-2"]


def test_rows_behind_damage_are_left_out(site: Site) -> None:
    """A damaged frame and what does not continue the log behind it are reported, not shown."""
    with site.ledger() as ledger:
        for number in range(3):
            append(ledger, [event(number)])
        aside = copy_hot(site)
    shutil.rmtree(site.events)
    path = next(aside.rglob("*.frames"))
    raw = bytearray(path.read_bytes())
    raw[raw.rindex(b"IPF1", 0, raw.rindex(b"IPF1")) + 80] ^= 1
    path.write_bytes(raw)
    with Reader(site.store, hot=aside, home=site.home) as reader:
        assert [p.code for p in reader.problems] == ["frame_damaged", "frame_out_of_sequence"]
        assert ids(reader) == ["event-0"]


def test_file_cut_back_and_written_again_is_read_anew(site: Site) -> None:
    """What was refused and cut off is not remembered when other frames take its place."""
    with site.ledger() as ledger:
        append(ledger, [event(1)])
        path = next(site.hot.rglob("*.frames"))
        before = path.read_bytes()
        append(ledger, [event(2)])
        refused = path.read_bytes()
        aside = copy_hot(site)
    shutil.rmtree(site.events)
    path = next(aside.rglob("*.frames"))
    with Reader(site.store, hot=aside, home=site.home) as reader:
        assert ids(reader) == ["event-1", "event-2"]
        path.write_bytes(before)
        reader.refresh()
        assert ids(reader) == ["event-1"]
        path.write_bytes(refused)
        reader.refresh()
        assert ids(reader) == ["event-1", "event-2"]


@given(
    cuts=st.lists(st.integers(1, 4), min_size=1, max_size=8),
    sealed=st.sets(st.integers(0, 31)),
)
def test_every_unsealed_row_is_kept_once(cuts: list[int], sealed: set[int]) -> None:
    """However segments and frames are cut, each leaf is either sealed or kept, never both."""
    frames, first = [], 0
    for rows in cuts:
        maker = RowMaker("acme", "w-00000000", START_NS)
        for _ in range(rows):
            maker.add_detail("heartbeat", {})
        frames.append(HotRows(("acme", "w-00000000"), Path("f"), first, maker.batch(first)))
        first += rows
    ranges = {("acme", "w-00000000"): [(index, index) for index in sorted(sealed)]}
    kept, problems = unsealed(frames, ranges)
    indexes = [i for each in kept for i in each.batch.column("log_index").to_pylist()]
    assert indexes == [index for index in range(first) if index not in sealed]
    assert problems == []
