"""Every writer of a tenant is named by the others, so that none can be taken away unseen."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from intentproof_schemas import schema
from intentproof_store.checkpoints import checkpoint_sizes
from intentproof_store.errors import LedgerLocked
from intentproof_store.identity import load_identity
from intentproof_store.life_commands import retire_writer
from intentproof_store.note import Checkpoint, sign_note
from intentproof_store.period import Period
from intentproof_store.verify import Outcome, Report, VerifyRequest, verify_store
from jsonschema import Draft202012Validator

from tests.store.support import (
    NOON_NS,
    SECOND_NS,
    TENANT,
    Clock,
    Place,
    append,
    check_sealed,
    event,
    events,
    place,
    read_log,
    until,
    verified,
)

HOUR_NS = 3_600 * SECOND_NS


class Pair:
    """Two receivers with homes of their own on one store, each trusting the other's key."""

    def __init__(self, root: Path) -> None:
        self.first = Place(root / "first")
        self.second = Place(root / "second")
        self.store = root / "proofs"
        self.store.mkdir()
        for number, where in enumerate((self.first, self.second)):
            where.root.mkdir()
            (where.root / "proofs").symlink_to(self.store)
            with where.ledger() as ledger:
                append(ledger, events(number * 10, number * 10 + 5))

    def share_keys(self) -> None:
        """As an operator does who copies `log key` from one home to the other."""
        keys = [(where.home / "trusted.vkeys").read_text() for where in (self.first, self.second)]
        for where in (self.first, self.second):
            (where.home / "trusted.vkeys").write_text("".join(dict.fromkeys(keys)))

    def look(self, where: Place, size: int) -> None:
        """Open until the log has that many leaves under a checkpoint."""
        with where.ledger():
            folder = self.store / "log" / TENANT / where.writer
            until(lambda: checkpoint_sizes(folder)[-1] == size)

    def details(self, where: Place, kind: str) -> list[dict[str, Any]]:
        log = read_log(where)
        found = [json.loads(text) for text in log.details(kind)]
        for detail in found:
            Draft202012Validator(schema(f"{kind}.v1")).validate(detail)
        return found

    def remove(self, writer: str) -> None:
        """Take a writer's whole log away, as who holds the disk can."""
        shutil.rmtree(self.store / "log" / TENANT / writer)
        for path in (self.store / "events").rglob(f"{writer}-*.parquet"):
            path.unlink()

    def verify(self, keys_of: Place, **changes: Any) -> Report:
        """With the keys of one receiver's own logs alone, as an auditor may have been given."""
        vkeys = self.store.parent / "vkeys"
        lines = (keys_of.home / "trusted.vkeys").read_text().splitlines()
        vkeys.write_text("".join(f"{line}\n" for line in lines if keys_of.writer in line))
        hot = keys_of.hot
        return verify_store(VerifyRequest(store=self.store, hot=hot, keys=vkeys, **changes))


def codes(report: Report) -> set[str]:
    return {problem.code for log in report.logs for problem in log.problems}


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_a_writer_names_those_beside_it(pair: Pair) -> None:
    """Each log says which others there are, with their key and a checkpoint that it signed."""
    pair.share_keys()
    for one, other in ((pair.first, pair.second), (pair.second, pair.first)):
        pair.look(one, 7)
        (added,) = pair.details(one, "writer-added")
        size = 6 if one is pair.first else 7  # by then the other has its own leaf on the roster
        note = (pair.store / "log" / TENANT / other.writer / f"checkpoint.{size}").read_text()
        key = load_identity(other.home, "intentproof.local").verifier_key(TENANT).vkey()
        assert added == {"checkpoint": note, "log_key": key, "writer": other.writer}
    for where in (pair.first, pair.second):
        with where.ledger() as ledger:
            append(ledger, [event(90)])
        assert len(pair.details(where, "writer-added")) == 1


def test_a_writer_that_was_taken_away_is_missed(pair: Pair) -> None:
    """A whole log is deleted; the other's leaf names it, whatever keys the reader has."""
    pair.share_keys()
    pair.look(pair.first, 7)
    pair.remove(pair.second.writer)
    report = pair.verify(pair.first)
    assert (report.outcome, codes(report)) == (Outcome.INCOMPLETE, {"writer_missing"})
    (problem,) = report.logs[0].problems
    assert problem.log_index == 6
    assert pair.second.writer in problem.message


def test_a_writer_cut_below_what_was_seen_is_missed(pair: Pair) -> None:
    """A log that has fewer signed leaves than another's leaf holds a checkpoint of is behind."""
    pair.share_keys()
    pair.look(pair.first, 7)
    folder = pair.store / "log" / TENANT / pair.second.writer
    for name in ("checkpoint", "checkpoint.6"):
        shutil.copy(folder / "checkpoint.1", folder / name)
    (folder / "checkpoint.6").unlink()
    assert "writer_behind" in codes(pair.verify(pair.first))


def test_two_histories_of_the_other_writer_are_a_fork(pair: Pair) -> None:
    """A checkpoint in a leaf and another of the same size in the folder cannot both be true."""
    pair.share_keys()
    pair.look(pair.first, 7)
    identity = load_identity(pair.second.home, "intentproof.local")
    origin = identity.origin(TENANT)
    forged = sign_note(
        Checkpoint(origin, 6, b"x" * 32).text(), name=origin, key=identity.signing_key
    )
    folder = pair.store / "log" / TENANT / pair.second.writer
    for name in ("checkpoint", "checkpoint.6"):
        (folder / name).write_bytes(forged)
    keys = pair.first.home / "trusted.vkeys"
    report = verify_store(VerifyRequest(store=pair.store, hot=pair.first.hot, keys=keys))
    assert report.outcome is Outcome.FORK


def test_nobody_can_plant_a_writer(pair: Pair) -> None:
    """A log that no trusted key signed is never named: it would be missed for ever."""
    folder = pair.store / "log" / TENANT / "fake-00000000"
    shutil.copytree(pair.store / "log" / TENANT / pair.second.writer, folder)
    (pair.store / "log" / TENANT / "empty-00000000").mkdir()
    with pair.first.ledger() as ledger:
        append(ledger, [event(50)])
        until(lambda: ledger.status().tenants[TENANT].size == 7)
    assert pair.details(pair.first, "writer-added") == []


def test_the_former_writer_is_of_the_roster(tmp_path: Path) -> None:
    """A new writer's genesis names the one before; without its log, that is missed."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        append(ledger, events(0, 5))
    old = here.writer
    with here.ledger(new_writer=True) as ledger:
        append(ledger, events(5, 9))
    assert check_sealed(here).kinds() == ["genesis"] + ["event"] * 4
    verified(here)
    shutil.rmtree(here.log(writer=old))
    for path in here.layout.tenant_events(TENANT).rglob(f"{old}-*"):
        path.unlink()
    vkeys = here.root / "vkeys"
    lines = (here.home / "trusted.vkeys").read_text().splitlines()
    vkeys.write_text("".join(f"{line}\n" for line in lines if here.writer in line))
    report = verify_store(VerifyRequest(store=here.layout.root, hot=here.hot, keys=vkeys))
    assert (report.outcome, codes(report)) == (Outcome.INCOMPLETE, {"writer_missing"})


def period(first: float, end: float) -> Period:
    return Period(NOON_NS + int(first * HOUR_NS), NOON_NS + int(end * HOUR_NS))


def test_a_replaced_writer_needs_no_further_heartbeats(tmp_path: Path) -> None:
    """Where a new writer's genesis names it, an old log may end within the period; that is told."""
    here = place(tmp_path)
    with here.ledger(Clock(), heartbeat_seconds=3600.0) as ledger:
        append(ledger, [event(1)])
    old, clock = here.writer, Clock(NOON_NS + HOUR_NS)
    with here.ledger(clock, heartbeat_seconds=3600.0, new_writer=True) as ledger:
        for number in range(2, 6):
            append(ledger, [event(number)])
            clock.now_ns += HOUR_NS
    keys = here.home / "trusted.vkeys"
    request = VerifyRequest(store=here.layout.root, hot=here.hot, keys=keys, period=period(0, 3.5))
    report = verify_store(request)
    assert report.outcome is Outcome.VERIFIED
    by = {log.writer: [problem.code for problem in log.problems] for log in report.logs}
    assert by == {old: ["silence_explained"], here.writer: ["begins_within_period"]}


def test_a_retired_writer_needs_no_further_heartbeats(pair: Pair) -> None:
    """`retire-writer` says in another log where one ended: its silence is explained."""
    pair.share_keys()
    clock = Clock(NOON_NS + HOUR_NS)
    with pair.first.ledger(clock, heartbeat_seconds=3600.0) as ledger:
        append(ledger, [event(90)])
    keys = pair.first.home / "trusted.vkeys"

    def verify() -> Report:
        request = VerifyRequest(
            store=pair.store, hot=pair.first.hot, keys=keys, period=period(0, 0.5)
        )
        return verify_store(request)

    before = {log.writer: log for log in verify().logs}[pair.second.writer]
    assert [problem.code for problem in before.problems] == ["period_not_covered"]
    settings = pair.first.settings()
    assert retire_writer(settings, TENANT, pair.second.writer, reason="moved") == pair.second.writer
    (detail,) = pair.details(pair.first, "writer-retired")
    note = (pair.store / "log" / TENANT / pair.second.writer / "checkpoint.6").read_text()
    assert detail == {"writer": pair.second.writer, "checkpoint": note, "reason": "moved"}
    after = {log.writer: log for log in verify().logs}[pair.second.writer]
    assert [problem.code for problem in after.problems] == ["silence_explained"]


def test_a_retirement_excuses_no_log_that_went_on(pair: Pair) -> None:
    """Whoever retires a log that still grows has excused nothing, and is told of it."""
    pair.share_keys()
    retire_writer(pair.first.settings(), TENANT, pair.second.writer)
    with pair.second.ledger() as ledger:
        append(ledger, [event(70)])
    keys = pair.first.home / "trusted.vkeys"
    request = VerifyRequest(store=pair.store, hot=pair.first.hot, keys=keys, period=period(0, 9e4))
    log = {log.writer: log for log in verify_store(request).logs}[pair.second.writer]
    assert {"writer_went_on", "period_not_covered"} <= {each.code for each in log.problems}


def test_a_writer_retires_itself_and_may_go_on(tmp_path: Path) -> None:
    """Its own last leaf says that it ends: no heartbeats follow, until something arrives."""
    here = place(tmp_path)
    with here.ledger(Clock(), heartbeat_seconds=3600.0) as ledger:
        append(ledger, [event(1)])
    assert retire_writer(here.settings(), TENANT, None) == here.writer
    assert retire_writer(here.settings(), TENANT, None) == here.writer, "said before, and once"
    assert read_log(here).kinds()[-3:] == ["event", "gap", "writer-retired"]
    size = read_log(here).size
    clock = Clock(2 * NOON_NS)
    with here.ledger(clock, heartbeat_seconds=3600.0) as ledger:
        append(ledger, [event(1)], tenant="beta")
        clock.now_ns += HOUR_NS
        until(lambda: ledger.status().tenants["beta"].size == 3)
    assert read_log(here).size == size
    keys = here.home / "trusted.vkeys"
    later = Period(2 * NOON_NS - HOUR_NS, 2 * NOON_NS)
    request = VerifyRequest(
        store=here.layout.root, hot=here.hot, keys=keys, period=later, tenant=TENANT
    )
    assert codes(verify_store(request)) == {"silence_explained"}
    with here.ledger(clock, heartbeat_seconds=3600.0) as ledger:
        append(ledger, [event(2)])
    assert read_log(here).kinds()[size:] == ["gap", "event"]
    verified(here)


def test_a_log_that_is_not_there_cannot_be_retired(pair: Pair) -> None:
    """Only a log with a checkpoint that a trusted key signed can be; else nothing is written."""
    for writer in ("nobody-00000000", pair.second.writer):
        with pytest.raises(ValueError, match=r"trusted\.vkeys"):
            retire_writer(pair.first.settings(), TENANT, writer)
    pair.share_keys()
    with pair.first.ledger(), pytest.raises(LedgerLocked):
        retire_writer(pair.first.settings(), TENANT, pair.second.writer)
    assert pair.details(pair.first, "writer-retired") == []


def test_the_command_retires_and_says_what_is_wrong(pair: Pair) -> None:
    """Exit 0 and the writer's id; 6 for a log that is not there; 8 while the receiver runs."""
    pair.share_keys()
    program = str(Path(sys.executable).with_name("intentproof-otel"))

    def run(*words: str, home: Path = pair.first.home) -> "subprocess.CompletedProcess[str]":
        places = ["--store", str(pair.store), "--home", str(home), "--hot", str(pair.first.hot)]
        command = [program, "log", "retire-writer", "--tenant", TENANT, *words, *places]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = run(pair.second.writer, "--reason", "moved")
    assert (done.returncode, done.stdout) == (0, f"{pair.second.writer}\n"), done.stderr
    assert pair.details(pair.first, "writer-retired")[0]["reason"] == "moved"
    nobody = run("nobody-00000000")
    assert (nobody.returncode, "trusted.vkeys" in nobody.stderr) == (6, True)
    assert run(home=pair.store.parent / "no-home").returncode == 6
    with pair.first.ledger():
        assert run(pair.second.writer).returncode == 8
