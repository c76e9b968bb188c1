"""Retention and legal hold: what is old goes, what is held stays, and what was proved is proved."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from intentproof_store import Undecodable
from intentproof_store.proving import Places, extension_of, receipt_of
from intentproof_store.reader import Reader
from intentproof_store.receipt import verify_receipt
from intentproof_store.verify import Outcome

from tests.store.erasing import (
    REASON,
    claims,
    codes,
    finish,
    holding,
    judged,
    plain_disk,
    run,
    segments_of,
)
from tests.store.support import (
    DAY_NS,
    NOON_NS,
    REPOSITORY,
    TENANT,
    Clock,
    Place,
    append,
    event,
    events,
    place,
    read_log,
    verified,
)

MARK = b"PAYLOAD-MARK"
DAYS = ("2026-11-19", "2026-11-20", "2026-11-21")
WHOLE = ("--drop", "segments")


@pytest.fixture
def here(tmp_path: Path) -> Place:
    """Three days of ten events; the payloads of the first two days are marked."""
    where = place(tmp_path)
    with plain_disk():
        for day in range(3):
            clock = Clock(NOON_NS - (2 - day) * DAY_NS)
            mark = {} if day == 2 else {"inputs": '{"iban":"PAYLOAD-MARK"}'}
            bad = [Undecodable(b"%d raw PAYLOAD-MARK" % day, "blank_intent")] if day == 0 else []
            with where.ledger(clock) as ledger:
                append(ledger, [event(day * 10 + n, **mark) for n in range(10)], bad)
    return where


def retain(where: Place, *argv: str, before: str = DAYS[2]) -> tuple[int, str]:
    tenant = ("--tenant", TENANT, "--before", before, *REASON, "--yes")
    code, _, err = run(where, "retain", *tenant, *argv)
    return code, err


def sealed_before(where: Place, day: str) -> int:
    """How many leaves the segments of earlier days have."""
    segments = read_log(where).segments
    return sum(segment.name.rows for segment in segments if segment.day < day)


def hold(where: Place, *argv: str) -> str:
    code, out, err = run(where, "hold", "--tenant", TENANT, *REASON, "--yes", *argv)
    assert code == 0, err
    return out.strip()


def test_old_payloads_go_and_everything_holds(here: Place) -> None:
    """Of the days before, inputs, output, error and quarantined bytes are gone, by a named leaf."""
    with plain_disk():
        code, err = retain(here, "--drop", "payloads")
    assert (code, holding(here, MARK)) == (0, [])
    assert "20 events of acme and 1 in quarantine, received" in err
    assert verified(here).logs[0].erased == {"payload": 20, "context": 0}
    (claim,) = claims(here, "retention")
    assert (claim["members"], claim["reason"]) == ("payload", "request 17")
    assert "dropped" not in claim
    assert codes(judged(here)) == set()
    assert "nothing of acme" in retain(here, "--drop", "payloads")[1]


def test_whole_segments_go_and_what_was_proved_stays_proved(here: Place) -> None:
    """Their hashes stay: `verify` passes, says so, and an old receipt and old growth still hold."""
    places = Places(store=here.layout.root, hot=here.hot, home=here.home)
    old = receipt_of(places, TENANT, event(3).event_id)
    size = verify_receipt(old, keys=()).checkpoint.size
    going = sealed_before(here, DAYS[2])
    with plain_disk():
        code, err = retain(here, *WHOLE)
    assert (code, holding(here, MARK)) == (0, [])
    assert f"2 segments of acme with {going} leaves" in err
    report = verified(here)
    assert (report.logs[0].hash_only, codes(report)) == (going, set())
    assert report.events_verified == 10
    assert f"kept as hashes only, as the log says: {going} leaves" in run(here, "verify")[1]
    assert verify_receipt(old, keys=()).payload is not None
    extension = extension_of(places, TENANT, here.writer, old_size=size)
    assert extension.old_size == size
    with Reader(here.layout.root, hot=here.hot) as reader:
        assert reader.rows("SELECT count(*) AS n FROM events") == [{"n": 10}]
    assert not (here.layout.tenant_events(TENANT) / f"date={DAYS[0]}").exists()


def test_a_store_with_dropped_segments_is_written_on(here: Place) -> None:
    """The next starts take events, seal and sign, and drop more, from where it begins now."""
    first, both = sealed_before(here, DAYS[1]), sealed_before(here, DAYS[2])
    assert retain(here, *WHOLE, before=DAYS[1])[0] == 0
    with here.ledger() as ledger:
        append(ledger, events(40, 50))
        assert append(ledger, [event(25)]).duplicates == 1
    assert verified(here).logs[0].hash_only == first
    assert retain(here, *WHOLE)[0] == 0
    report = verified(here)
    assert (report.logs[0].hash_only, codes(report)) == (both, set())


def test_a_segment_that_no_leaf_names_is_missing(here: Place) -> None:
    """Whoever deletes another segment after a retention is told on: incomplete."""
    dropped = sealed_before(here, DAYS[1])
    assert retain(here, *WHOLE, before=DAYS[1])[0] == 0
    next(path for path in segments_of(here) if DAYS[1] in str(path)).unlink()
    report = judged(here)
    assert (report.outcome, codes(report)) == (Outcome.INCOMPLETE, {"leaves_missing"})
    assert report.logs[0].hash_only == dropped


def test_dropping_payloads_excuses_no_missing_segment(here: Place) -> None:
    """A leaf that names halves does not say that leaves were dropped."""
    assert retain(here, "--drop", "payloads")[0] == 0
    shutil.rmtree(here.layout.tenant_events(TENANT) / f"date={DAYS[0]}")
    assert codes(judged(here)) == {"leaves_missing"}


def test_after_dropping_the_tiles_are_evidence(here: Place) -> None:
    """A hash that was altered in a tile no longer makes the roots that were signed."""
    assert retain(here, *WHOLE)[0] == 0
    for tile in (here.log() / "tile" / "0" / "000.p").iterdir():
        raw = bytearray(tile.read_bytes())
        raw[3] ^= 1
        tile.write_bytes(raw)
    assert judged(here).outcome is Outcome.TAMPERED


def test_segments_whose_tiles_prove_nothing_are_kept(here: Place) -> None:
    """Tiles that were altered before are found, and the segment is not dropped."""
    for tile in (here.log() / "tile" / "0" / "000.p").iterdir():
        raw = bytearray(tile.read_bytes())
        raw[3] ^= 1
        tile.write_bytes(raw)
    code, err = retain(here, *WHOLE)
    assert (code, "do not make the root that was signed" in err) == (1, True)
    assert any(DAYS[0] in str(path) for path in segments_of(here))


@pytest.mark.parametrize("drop", ["payloads", "segments"])
def test_a_dry_run_tells_and_changes_nothing(here: Place, drop: str) -> None:
    """Counts on stderr, and the files as before."""
    before = {path: path.read_bytes() for path in here.root.rglob("*") if path.is_file()}
    code, err = retain(here, "--drop", drop, "--dry-run")
    assert (code, before) == (
        0,
        {path: path.read_bytes() for path in here.root.rglob("*") if path.is_file()},
    )
    assert "of acme" in err


@pytest.mark.parametrize("before", ["2026-13-01", "20261121", "tomorrow", "2999-01-01", ""])
def test_a_day_that_is_none_or_has_not_begun_is_refused(here: Place, before: str) -> None:
    """Exit code 6, and nothing is dropped."""
    code, err = retain(here, *WHOLE, before=before)
    assert code == 6
    assert before in err


HOLDS = [
    ("--all",),
    ("--event", event(3).event_id),
    ("--correlation", "order-3"),
    ("--period", f"{DAYS[0]}..{DAYS[1]}"),
]
GOING = [
    ("erase", "--event", event(3).event_id),
    ("erase", "--attribute", "service.name=refunds"),
    ("retain", "--before", DAYS[1], "--drop", "payloads"),
    ("retain", "--before", DAYS[1], "--drop", "segments"),
]


@pytest.mark.parametrize("held", HOLDS, ids=lambda each: str(each[0]))
def test_what_is_held_stays_until_it_is_released(here: Place, held: tuple[str, ...]) -> None:
    """Erasing and retaining are refused with the hold's name; after its release they go on."""
    hold_id = hold(here, *held)
    assert hold_id in run(here, "hold", "list", "--tenant", TENANT)[1]
    for command, *more in GOING:
        tenant = (command, "--tenant", TENANT, *REASON, "--yes")
        code, _, err = run(here, *tenant, *more)
        assert (code, hold_id in err) == (8, True), (command, more, err)
    assert not claims(here, "erasure")
    assert not claims(here, "retention")
    hold(here, "release", hold_id)
    assert run(here, "hold", "list", "--tenant", TENANT)[1] == ""
    for command, *more in (GOING[0], GOING[2]):
        tenant = (command, "--tenant", TENANT, *REASON, "--yes")
        assert run(here, *tenant, *more)[0] == 0
    verified(here)


def test_what_is_not_held_may_go(here: Place) -> None:
    """A hold of one event or day keeps no other."""
    hold(here, "--event", event(3).event_id)
    hold(here, "--period", f"{DAYS[1]}..{DAYS[2]}")
    assert (
        run(*(here, "erase", "--tenant", TENANT, "--event", event(4).event_id, *REASON, "--yes"))[0]
        == 0
    )
    tenant = (here, "erase", "--tenant", TENANT, *REASON, "--yes")
    assert run(*tenant, "--event", event(13).event_id)[0] == 8
    assert run(*tenant, "--event", event(23).event_id)[0] == 0


def test_a_hold_is_not_dropped_with_the_segment_that_places_it(tmp_path: Path) -> None:
    """Its leaf would go, and with it the hold of what is newer: refused, and named."""
    where = place(tmp_path)
    with where.ledger(Clock(NOON_NS - 2 * DAY_NS)) as ledger:
        append(ledger, events(0, 5))
        hold_id = hold(where, "--period", "2027-01-01..2027-01-31")
    with where.ledger(Clock(NOON_NS)) as ledger:
        append(ledger, events(5, 10))
    code, err = retain(where, *WHOLE)
    assert (code, hold_id in err) == (8, True)
    assert retain(where, "--drop", "payloads")[0] == 0
    hold(where, "release", hold_id)
    assert retain(where, *WHOLE)[0] == 0
    assert verified(where).logs[0].hash_only


def test_a_hold_placed_while_a_receiver_runs_is_there_at_once(here: Place) -> None:
    """Hot as its leaf is, the receiver itself refuses what it covers."""
    with here.ledger() as ledger:
        append(ledger, [event(90)])
        hold_id = hold(here, "--event", event(90).event_id)
        code, _, err = run(
            *(here, "erase", "--tenant", TENANT, "--event", event(90).event_id, *REASON, "--yes")
        )
        assert (code, hold_id in err) == (8, True)


def test_the_list_of_holds_is_json_too(here: Place) -> None:
    """One document, with the members of each hold."""
    hold_id = hold(here, "--period", f"{DAYS[0]}..{DAYS[2]}")
    document = json.loads(run(here, "hold", "list", "--tenant", TENANT, "--json")[1])
    (found,) = document["holds"]
    assert (found["hold_id"], found["reason"]) == (hold_id, "request 17")
    assert int(found["to_ns"]) - int(found["from_ns"]) == 2 * DAY_NS


@pytest.mark.parametrize(
    "argv",
    [
        ("release",),
        ("release", "hold-00000000"),
        ("release", "x", "--all"),
        ("list", "hold-00000000"),
        ("list", "--all"),
        (),
        ("--period", "2026-01-02"),
        ("--period", "2026-01-02..2026-01-01"),
    ],
)
def test_a_hold_that_makes_no_sense_is_refused(here: Place, argv: tuple[str, ...]) -> None:
    """Exit code 6, and the log is as it was."""
    code, _, err = run(here, "hold", "--tenant", TENANT, *REASON, "--yes", *argv)
    assert (code, bool(err.strip())) == (6, True)
    assert not claims(here, "hold")


DROPS_AND_KILLS_ITSELF = """
import importlib, os, signal, sys
from pathlib import Path
from tests.store.erasing import run
from tests.store.support import Place
from intentproof_store import fulfilment
here, name, when, count = Place(Path(sys.argv[1])), sys.argv[2], sys.argv[3], int(sys.argv[4])
real, calls = getattr(fulfilment.Fulfilment, name), []

def step(*args, **kwargs):
    calls.append(1)
    if when == "before" and len(calls) == count:
        os.kill(os.getpid(), signal.SIGKILL)
    done = real(*args, **kwargs)
    if len(calls) == count:
        os.kill(os.getpid(), signal.SIGKILL)
    return done

setattr(fulfilment.Fulfilment, name, step)
order = ["--before", "2026-11-21", "--drop", "segments", "--reason", "request 17", "--yes"]
print(run(here, "retain", "--tenant", "acme", *order))
"""


@pytest.mark.parametrize(
    ("name", "when", "count"),
    [
        ("_append", "before", 1),
        ("_append", "after", 1),
        ("_find", "before", 1),
        ("_delete", "before", 1),
        ("_delete", "after", 1),
        ("_delete", "after", 2),
        ("_settle", "after", 1),
    ],
)
def test_a_kill_between_the_steps_of_dropping(
    here: Place, name: str, when: str, count: int
) -> None:
    """`verify` passes after it, and the next start drops the rest, claiming once."""
    going = sealed_before(here, DAYS[2])
    code = [sys.executable, "-W", "ignore", "-c", DROPS_AND_KILLS_ITSELF]
    killed = subprocess.run(
        [*code, str(here.root), name, when, str(count)], cwd=REPOSITORY, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert judged(here).outcome is Outcome.VERIFIED, codes(judged(here))
    finish(here)
    report = verified(here)
    assert (report.logs[0].hash_only, codes(report)) == (going, set())
    assert len(claims(here, "retention")) == 1
