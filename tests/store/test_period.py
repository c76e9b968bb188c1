"""`verify --period`: a log that was cut, or was silent, does not pass for one that is whole."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_store import Ledger
from intentproof_store.layout import parse_checkpoint, parse_segment_note
from intentproof_store.period import Period
from intentproof_store.rounds import Rounds
from intentproof_store.verify import LogReport, Outcome, Report, VerifyRequest, verify_store
from intentproof_store.verify.life import SILENCE_NS, runs_of
from intentproof_store.verify.period import check_period, told

from tests.examples import examples
from tests.store.support import (
    NOON_NS,
    SECOND_NS,
    Clock,
    Place,
    append,
    check_sealed,
    event,
    place,
    read_log,
    until,
)

HOUR_NS = 3_600 * SECOND_NS


def hours(first: float, end: float) -> Period:
    """From so many hours after noon to so many."""
    return Period(NOON_NS + int(first * HOUR_NS), NOON_NS + int(end * HOUR_NS))


def judged(here: Place, period: Period | None, **changes: Any) -> Report:
    """What an auditor finds who holds the key of the log and nothing else of the operator's."""
    vkeys = here.root / "vkeys"
    shutil.copy(here.home / "trusted.vkeys", vkeys)
    request = VerifyRequest(
        store=here.layout.root, hot=here.hot, keys=vkeys, period=period, **changes
    )
    return verify_store(request)


def codes(report: Report) -> list[str]:
    return [problem.code for log in report.logs for problem in log.problems]


def lives(here: Place, first: int, end: int, **overrides: Any) -> None:
    """A receiver that runs for those hours after noon, with an event in each."""
    clock = Clock(NOON_NS + first * HOUR_NS)
    with here.ledger(clock, heartbeat_seconds=3600.0, **overrides) as ledger:
        for hour in range(first, end):
            clock.now_ns = NOON_NS + hour * HOUR_NS
            append(ledger, [event(hour)])


def cut_tail(here: Place) -> None:
    """Delete the last segment, its note and every checkpoint over it, as who holds the disk can."""
    segments = read_log(here).segments
    last = segments[-1]
    last.path.unlink()
    for path in here.log().iterdir():
        size, name = parse_checkpoint(path.name), parse_segment_note(path.name, here.writer)
        if (size or 0) > last.name.first or (name is not None and name.first == last.name.first):
            path.unlink()
    newest = max(parse_checkpoint(path.name) or 0 for path in here.log().glob("checkpoint.*"))
    shutil.copy(here.log() / f"checkpoint.{newest}", here.log() / "checkpoint")
    shutil.rmtree(here.log() / "tile")


def test_a_log_that_shows_the_whole_period_is_verified(tmp_path: Path) -> None:
    """Signs of life within each interval, and a signed one after the end: the period is covered."""
    here = place(tmp_path)
    lives(here, 0, 11)
    report = judged(here, hours(1, 9.5))
    assert (report.outcome, codes(report)) == (Outcome.VERIFIED, [])
    assert report.document()["period"] == {
        "from": "2026-11-21T13:00:00Z",
        "to": "2026-11-21T21:30:00Z",
    }


def test_a_truncated_log_is_caught_by_its_period_alone(tmp_path: Path) -> None:
    """Without its tail and the checkpoints over it a log is valid, and ends before the period."""
    here = place(tmp_path)
    lives(here, 0, 5)
    lives(here, 5, 10)
    assert judged(here, hours(0, 9)).outcome is Outcome.VERIFIED
    cut_tail(here)
    assert judged(here, None).outcome is Outcome.VERIFIED
    report = judged(here, hours(0, 9))
    assert (report.outcome, codes(report)) == (Outcome.INCOMPLETE, ["period_not_covered"])
    (problem,) = report.logs[0].problems
    assert told(NOON_NS + 4 * HOUR_NS) in problem.message
    assert told(NOON_NS + 9 * HOUR_NS) in problem.message


def test_hot_leaves_above_every_checkpoint_cover_nothing(tmp_path: Path) -> None:
    """Only what is signed counts as shown."""
    here, clock = place(tmp_path), Clock()
    with here.ledger(clock, heartbeat_seconds=3600.0) as ledger:
        append(ledger, [event(1)])
        clock.now_ns += HOUR_NS
        append(ledger, [event(2)])
        crashed = here.crash_image()
    assert "period_not_covered" in codes(judged(crashed, hours(0, 0.5)))
    assert codes(judged(here, hours(0, 0.5))) == []


def test_heartbeats_cover_a_period_in_which_nothing_happened(tmp_path: Path) -> None:
    """A log that only says that nothing happened shows the period."""
    here, clock = place(tmp_path), Clock()
    with here.ledger(clock, heartbeat_seconds=3600.0) as ledger:
        append(ledger, [event(1)])
        for beat in range(1, 5):
            clock.now_ns = NOON_NS + beat * HOUR_NS
            until(partial(_has_size, ledger, 2 + beat))
    assert check_sealed(here).kinds() == ["genesis", "event"] + ["heartbeat"] * 4
    report = judged(here, hours(0, 4))
    assert (report.outcome, codes(report)) == (Outcome.VERIFIED, [])


def test_a_silence_that_nothing_explains_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a receiver ran and said nothing for longer than it promised, the period has a hole."""
    here, clock = place(tmp_path), Clock()
    with here.ledger(clock, heartbeat_seconds=3600.0) as ledger:
        append(ledger, [event(1)])
        monkeypatch.setattr(Rounds, "make", _says_nothing)
        clock.now_ns += 5 * HOUR_NS
        append(ledger, [event(2)])
    report = judged(here, hours(0, 4))
    assert (report.outcome, codes(report)) == (Outcome.INCOMPLETE, ["heartbeat_missing"])
    assert report.logs[0].problems[0].log_index == 2
    assert judged(here, None).outcome is Outcome.VERIFIED
    assert codes(judged(here, hours(0, 1))) == []


def _has_size(ledger: Ledger, size: int) -> bool:
    return ledger.status().tenants["acme"].size == size


def _says_nothing(*_: object, **__: object) -> None:
    pass


def test_a_restart_explains_a_silence_and_is_told(tmp_path: Path) -> None:
    """A receiver that was down tells it in its log: no hole, and nobody overlooks it."""
    here = place(tmp_path)
    lives(here, 0, 3)
    lives(here, 8, 12)
    report = judged(here, hours(0, 11))
    assert (report.outcome, codes(report)) == (Outcome.VERIFIED, ["silence_explained"])
    message = report.logs[0].problems[0].message
    assert "stopped" in message
    assert told(NOON_NS + 2 * HOUR_NS) in message
    assert codes(judged(here, hours(9, 11))) == []


def test_a_log_that_begins_within_the_period_says_so(tmp_path: Path) -> None:
    """Before its genesis a log can show nothing; the reader is told where it begins."""
    here = place(tmp_path)
    lives(here, 0, 4)
    report = judged(here, hours(-3, 2))
    assert (report.outcome, codes(report)) == (Outcome.VERIFIED, ["begins_within_period"])
    assert codes(judged(here, hours(-5, -3))) == []


def test_a_witness_decides_when_a_checkpoint_stood(tmp_path: Path) -> None:
    """Where cosignatures are at hand, their times count and not those that the log claims."""
    here = place(tmp_path)
    lives(here, 0, 6)
    (log,) = judged(here, hours(0, 5)).logs
    size = log.checkpoint_size
    assert said(log, hours(0, 5), {size: NOON_NS + 6 * HOUR_NS}) == []
    early = {1: NOON_NS, size: NOON_NS + 3 * HOUR_NS}
    assert said(log, hours(0, 5), early) == ["period_not_covered"]
    assert said(log, hours(0, 5), {}) == ["period_not_covered"]
    assert said(log, hours(0, 8), {size: NOON_NS + 9 * HOUR_NS}) == ["heartbeat_missing"]


def said(log: LogReport, period: Period, witnessed_ns: dict[int, int]) -> list[str]:
    """What is wrong with a log whose checkpoints witnesses cosigned at these times."""
    log.problems.clear()
    log.life = replace(log.life, witnessed_ns=witnessed_ns)
    check_period(log, period, None)
    return [problem.code for problem in log.problems]


def test_the_command_tells_in_words_and_as_json(tmp_path: Path) -> None:
    """Exit 0 and a line for people where the period is covered; 2 and a code where it is not."""
    here = place(tmp_path)
    lives(here, 0, 5)
    shutil.copy(here.home / "trusted.vkeys", here.root / "vkeys")
    program = str(Path(sys.executable).with_name("intentproof-otel"))
    command = [program, "verify", str(here.layout.root), "--key", str(here.root / "vkeys")]

    def run(*more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([*command, *more], capture_output=True, text=True, check=False)

    begin, end = told(NOON_NS), told(NOON_NS + 3 * HOUR_NS)
    good = run("--period", f"{begin}..{end}")
    assert (good.returncode, f"every log shows the whole of {begin} to {end}" in good.stdout) == (
        0,
        True,
    )
    bad = run("--json", "--period", "2026-11-01..2026-12-01")
    document = json.loads(bad.stdout)
    assert (bad.returncode, document["outcome"]) == (2, "incomplete")
    assert document["period"] == {"from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z"}
    assert "period_not_covered" in [each["code"] for each in document["logs"][0]["problems"]]
    assert run("--period", "yesterday..today").returncode == 6
    assert run("--period", "").returncode == 6


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.integers(-3 * SILENCE_NS, 3 * SILENCE_NS), max_size=40), st.randoms())
def test_runs_keep_every_silence(steps: list[int], chance: Any) -> None:
    """Whatever the order of reading, each silence of over a minute stands between two runs."""
    times = np.cumsum([NOON_NS, *steps]).astype(np.int64)
    order = list(range(len(times)))
    chance.shuffle(order)
    runs = runs_of(np.array(order, np.int64), times[order])
    assert [runs[0].first, runs[-1].end] == [0, len(times)]
    assert all(before.end == after.first for before, after in pairwise(runs))
    breaks = [at + 1 for at, step in enumerate(steps) if abs(step) > SILENCE_NS]
    assert [run.first for run in runs[1:]] == breaks
    assert [run.from_ns for run in runs] == [times[at] for at in (0, *breaks)]
