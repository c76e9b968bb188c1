"""`verify` on what is gone, against an attacker who holds the disk and, here, the log's key."""

from pathlib import Path
from typing import Any

import pytest
from intentproof_store.hotlog import HotLog, NewFrame
from intentproof_store.identity import load_identity
from intentproof_store.layout import date_of
from intentproof_store.ranges import Ranges
from intentproof_store.revision import erase_in, superseded_by
from intentproof_store.rows import RowMaker
from intentproof_store.segments import find_segments
from intentproof_store.verify import Outcome, VerifyRequest, verify_store

from tests.store.erasing import codes, erase, judged
from tests.store.support import NOON_NS, TENANT, Place, append, event, events, place, read_log

EVENTS = 12


@pytest.fixture
def here(tmp_path: Path) -> Place:
    where = place(tmp_path)
    with where.ledger() as ledger:
        append(ledger, events(0, EVENTS))
    return where


def quietly_erase(where: Place, index: int, members: str = "payload") -> None:
    """Erase with the log's key, and say nothing of it."""
    identity = load_identity(where.home, "intentproof.local")
    segment = find_segments(where.layout, TENANT)[0][0]
    made = erase_in(where.layout, identity, TENANT, segment, Ranges.of_indexes([index]), members)
    assert made.rows == 1
    for path in superseded_by(made.path):
        path.unlink()


def frame(where: Place, kind: str, detail: dict[str, Any]) -> None:
    """An authentic hot frame with one leaf behind the others."""
    identity = load_identity(where.home, "intentproof.local")
    maker = RowMaker(TENANT, identity.writer, NOON_NS)
    maker.add_detail(kind, detail)
    hot = HotLog(where.hot, identity.writer, key=identity.hot_key, next_number=50)
    hot.append([NewFrame(TENANT, maker.batch(read_log(where).size), date_of(NOON_NS))])


@pytest.mark.parametrize("members", ["payload", "context", "all"])
def test_a_half_without_a_leaf_is_tampered(here: Place, members: str) -> None:
    """Whoever holds the log's key can take a half away, and not without being told on."""
    quietly_erase(here, 4, members)
    report = judged(here)
    assert (report.outcome, codes(report)) == (Outcome.TAMPERED, {"erased_without_leaf"})


@pytest.mark.parametrize(
    ("claim", "excused"),
    [
        ({"log_indexes": [4], "members": "payload"}, True),
        ({"log_indexes": [[0, 9]], "members": "all"}, True),
        ({"log_indexes": [[4, 2**53 - 1]], "members": "payload"}, True),
        ({"log_indexes": [5], "members": "payload"}, False),
        ({"log_indexes": [4], "members": "context"}, False),
        ({"log_indexes": ["4"], "members": "payload"}, False),
        ({"log_indexes": 4, "members": "payload"}, False),
        ({"members": "payload"}, False),
    ],
)
@pytest.mark.parametrize("kind", ["erasure", "retention"])
def test_only_a_leaf_that_names_it_excuses(
    here: Place, kind: str, claim: dict[str, Any], *, excused: bool
) -> None:
    """By its log index and by the half, in an erasure or a retention leaf."""
    quietly_erase(here, 4)
    frame(here, kind, claim)
    with here.ledger():
        pass
    assert ("erased_without_leaf" not in codes(judged(here))) is excused


def test_a_claim_that_is_not_signed_excuses_nothing(here: Place) -> None:
    """A hot leaf above every checkpoint may be anybody's."""
    quietly_erase(here, 4)
    frame(here, "erasure", {"log_indexes": [4], "members": "payload"})
    assert "erased_without_leaf" in codes(judged(here))
    (here.home / "hot.key").unlink()
    assert "erased_without_leaf" in codes(judged(here))


def test_nothing_is_excused_in_advance(here: Place) -> None:
    """A leaf that names what comes after it excuses none of it."""
    size = read_log(here).size
    frame(here, "erasure", {"log_indexes": [[0, 2**53 - 1]], "members": "all"})
    with here.ledger() as ledger:
        append(ledger, events(20, 30))
    identity = load_identity(here.home, "intentproof.local")
    segment = find_segments(here.layout, TENANT)[0][-1]
    at = Ranges.of_indexes([size + 3])
    made = erase_in(here.layout, identity, TENANT, segment, at, "payload")
    assert made.rows == 1
    assert "erased_without_leaf" in codes(judged(here))


def test_a_store_is_judged_as_of_one_moment_while_it_is_erased(tmp_path: Path) -> None:
    """Erased behind the back of a verifier that has read half of it, it looks not tampered."""
    where = place(tmp_path)
    for first in (0, 10, 20):
        with where.ledger() as ledger:
            append(ledger, events(first, first + 10))
    erasing = [
        ("--event", event(15).event_id),  # of the segment that is read next
        ("--event", event(3).event_id, "--all"),
    ]

    def progress(_done: int, _total: int) -> None:
        if erasing:
            erase(where, *erasing.pop())

    request = VerifyRequest(store=where.layout.root, hot=where.hot, home=where.home)
    report = verify_store(request, progress)
    assert (report.outcome, codes(report)) == (Outcome.VERIFIED, set())
    assert report.logs[0].erased == {"payload": 2, "context": 1}


def test_a_claim_whose_bytes_are_there_is_told_and_no_tampering(here: Place) -> None:
    """So a crash between the claim and the deed leaves it."""
    frame(here, "erasure", {"log_indexes": [4, 5], "members": "payload"})
    with here.ledger():
        pass
    report = judged(here)
    assert (report.outcome, codes(report)) == (Outcome.VERIFIED, {"erasure_unfinished"})
    assert report.events_verified == EVENTS


@pytest.mark.parametrize(
    ("kind", "claim"),
    [
        ("erasure", {"log_indexes": [[0, 12]], "members": "all", "dropped": "leaves"}),
        ("retention", {"log_indexes": [[0, 12]], "members": "all"}),
        ("retention", {"log_indexes": [[0, 11]], "members": "all", "dropped": "leaves"}),
        ("retention", {"log_indexes": [[1, 12]], "members": "all", "dropped": "leaves"}),
    ],
)
def test_a_missing_segment_needs_a_retention_leaf_that_names_all_of_it(
    here: Place, kind: str, claim: dict[str, Any]
) -> None:
    """Another kind, a claim of halves, or a range that is too short: leaves are missing."""
    frame(here, kind, claim)
    with here.ledger():
        pass
    find_segments(here.layout, TENANT)[0][0].path.unlink()
    report = judged(here)
    assert (report.outcome, codes(report)) == (Outcome.INCOMPLETE, {"leaves_missing"})


def test_a_retention_leaf_that_is_not_signed_hides_nothing(here: Place) -> None:
    """A dropped segment with a claim above every checkpoint is a missing segment."""
    claim = {"log_indexes": [[0, 12]], "members": "all", "dropped": "leaves"}
    frame(here, "retention", claim)
    find_segments(here.layout, TENANT)[0][0].path.unlink()
    assert "leaves_missing" in codes(judged(here))


@pytest.fixture
def brought_back(here: Place) -> Path:
    """The revision before an erasure, as a copy of a backup over the store brings it back."""
    (segment,) = read_log(here).segments
    raw, path = segment.path.read_bytes(), segment.path
    erase(here, "--event", event(1).event_id)
    assert not path.exists()
    path.write_bytes(raw)
    return path


def test_an_earlier_revision_that_came_back_is_told(here: Place, brought_back: Path) -> None:
    """What was erased can be read in it again: a remark names the file."""
    report = judged(here)
    assert report.outcome is Outcome.VERIFIED
    told = [each for log in report.logs for each in log.problems]
    assert [(each.code, each.file) for each in told] == [("erasure_unfinished", brought_back.name)]


def test_the_next_start_deletes_it(here: Place, brought_back: Path) -> None:
    """Its writer removes what a later revision replaced."""
    with here.ledger():
        assert not brought_back.exists()
    assert codes(judged(here)) == set()


def test_other_bytes_in_the_place_of_an_earlier_revision_are_tampering(
    here: Place, brought_back: Path
) -> None:
    """Its note is still there, and vouches for its own bytes only."""
    raw = bytearray(brought_back.read_bytes())
    raw[len(raw) // 3] ^= 1
    brought_back.write_bytes(raw)
    report = judged(here)
    assert report.outcome is Outcome.TAMPERED
    assert codes(report) == {"sha256_differs"}


def test_an_earlier_revision_under_another_date_is_tampering(
    here: Place, brought_back: Path
) -> None:
    """Readers of a date would take its rows for that day's."""
    moved = brought_back.parent.with_name("date=2020-01-01") / brought_back.name
    moved.parent.mkdir()
    brought_back.rename(moved)
    report = judged(here)
    assert (report.outcome, codes(report)) == (Outcome.TAMPERED, {"wrong_date"})
