"""A log that has nothing to say says so, and one that could not says why."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from intentproof_schemas import schema
from intentproof_store import Ledger, Undecodable
from intentproof_store.checkpoints import checkpoint_sizes
from intentproof_store.hotlog import HotLog
from intentproof_store.silence import Restart, restart_of
from jsonschema import Draft202012Validator

from tests.store.support import (
    DAY_NS,
    NOON_NS,
    REPOSITORY,
    SECOND_NS,
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
    verified,
)

HOUR_NS = 3_600 * SECOND_NS
HOUR = {"heartbeat_seconds": 3600.0}

IS_KILLED = """
import os, signal, sys
from pathlib import Path
from tests.store.support import Place, append, events
here = Place(Path(sys.argv[1]))
with here.ledger(heartbeat_seconds=float(sys.argv[2])) as ledger:
    append(ledger, events(0, 5))
    print("acknowledged", flush=True)
    sys.stdin.read()
"""


def gaps(where: Place, tenant: str = TENANT) -> list[dict[str, Any]]:
    """The details of the log's gap leaves, each as its schema asks."""
    found = [json.loads(text) for text in read_log(where, tenant).details("gap")]
    for detail in found:
        Draft202012Validator(schema("gap.v1")).validate(detail)
    return found


def has(where: Place, size: int, tenant: str = TENANT) -> Callable[[], bool]:
    """Whether the log's largest checkpoint is of that size."""
    return lambda: checkpoint_sizes(where.log(tenant))[-1] == size


def test_a_silent_log_says_that_nothing_happened(tmp_path: Path) -> None:
    """After an interval without a leaf there is one heartbeat, under a checkpoint of its own."""
    here, clock = place(tmp_path), Clock()
    with here.ledger(clock, **HOUR) as ledger:
        append(ledger, [event(1)])
        clock.now_ns += HOUR_NS - 1
        append(ledger, [event(2)], tenant="beta")
        clock.now_ns += 1
        until(has(here, 3))
        assert ledger.status().tenants["beta"].size == 2
    log = check_sealed(here)
    assert log.kinds() == ["genesis", "event", "heartbeat"]
    (detail,) = map(json.loads, log.details("heartbeat"))
    Draft202012Validator(schema("heartbeat.v1")).validate(detail)
    assert detail == {"interval_ms": 3_600_000}
    assert read_log(here, "beta").kinds() == ["genesis", "event"]
    verified(here)


def test_a_log_that_is_written_has_no_heartbeat(tmp_path: Path) -> None:
    """Every leaf is a sign of life: only a whole interval after the last one asks for another."""
    here, clock = place(tmp_path), Clock()
    with here.ledger(clock, **HOUR) as ledger:
        for number in range(4):
            append(ledger, [event(number)])
            clock.now_ns += HOUR_NS * 2 // 3
        append(ledger, [], [Undecodable(b"bad", "bad_span")])
    assert "heartbeat" not in check_sealed(here).kinds()


def test_a_clock_that_went_back_does_not_silence_a_log(tmp_path: Path) -> None:
    """Where the wall clock says that no time passed, the process's own clock counts."""
    here, clock = place(tmp_path), Clock()
    with here.ledger(clock, heartbeat_seconds=0.2) as ledger:
        append(ledger, [event(1)])
        clock.now_ns -= DAY_NS
        until(lambda: ledger.status().tenants[TENANT].size >= 4)
    assert read_log(here).kinds()[:4] == ["genesis", "event", "gap", "heartbeat"]
    assert gaps(here)[0]["reason"] == "clock_step_back"


def test_idle_logs_have_one_segment_a_day(tmp_path: Path) -> None:
    """Heartbeats wait for midnight, so that an idle tenant costs one small file a day."""
    here, clock = place(tmp_path), Clock()
    with here.ledger(clock, seal_seconds=0.01, **HOUR) as ledger:
        append(ledger, [event(1)])
        until(lambda: ledger.status().sealed_segments == 1)
        for beat in range(30):
            clock.now_ns += HOUR_NS
            until(has(here, 3 + beat))
    rows = [(segment.day, segment.name.rows) for segment in check_sealed(here).segments]
    assert rows == [("2026-11-21", 2), ("2026-11-21", 11), ("2026-11-22", 19)]
    verified(here)


def test_heartbeats_do_not_keep_hot_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full hot file in which only heartbeats are left is sealed and goes."""
    monkeypatch.setattr("intentproof_store.hotlog.FILE_BYTES", 40_000)
    here, clock = place(tmp_path), Clock()
    with here.ledger(clock, seal_rows=1, **HOUR) as ledger:
        append(ledger, [event(1)], tenant="idle")
        until(lambda: ledger.status().sealed_segments == 1)
        clock.now_ns += HOUR_NS
        until(has(here, 3, "idle"))
        (first,) = here.hot_files()
        assert ledger.status().tenants["idle"].hot_rows == 1
        for batch in range(4):
            append(ledger, events(batch * 30, batch * 30 + 30))
        until(lambda: not first.exists())
    check_sealed(here, "idle")


def test_all_idle_logs_beat_in_one_frame_a_tenant_and_one_fsync(tmp_path: Path) -> None:
    """Fifty logs that fall silent together cost fifty frames and one wait for the disk."""
    here, clock = place(tmp_path), Clock()
    tenants = [f"tenant-{number}" for number in range(50)]
    with here.ledger(clock, **HOUR) as ledger:
        for tenant in tenants:
            append(ledger, [event(1)], tenant=tenant)
        before = ledger.status()
        clock.now_ns += HOUR_NS
        until(lambda: all(log.size == 3 for log in ledger.status().tenants.values()))
        after = ledger.status()
        assert (after.frames - before.frames, after.fsyncs - before.fsyncs) == (50, 1)
        until(lambda: all(has(here, 3, tenant)() for tenant in tenants))
    verified(here)


def test_a_disk_that_refuses_a_heartbeat_is_a_fault_that_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger tells that it cannot write, goes on, and is well once an event was written."""
    here, clock = place(tmp_path), Clock()
    with here.ledger(clock, **HOUR) as ledger:
        append(ledger, [event(1)])
        with monkeypatch.context() as full:
            full.setattr(HotLog, "append", _refuse)
            clock.now_ns += HOUR_NS
            until(lambda: "no space" in (ledger.status().fault or ""))
        append(ledger, [event(2)])
        until(lambda: ledger.status().healthy)
    assert check_sealed(here).kinds() == ["genesis", "event", "event"]


def _refuse(*_: object) -> None:
    raise OSError(28, "no space left")


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_restart_is_told_before_the_next_leaf(tmp_path: Path, how: str) -> None:
    """A gap leaf tells from the last leaf to the start, and whether the receiver was stopped."""
    here, clock = place(tmp_path), Clock()
    with here.ledger(clock) as ledger:
        append(ledger, [event(1)])
        crashed = here.crash_image()
        clock.now_ns += 60 * SECOND_NS
    where = here if how == "stopped" else crashed
    with where.ledger(Clock(NOON_NS + HOUR_NS)) as ledger:
        append(ledger, [event(2)])
        append(ledger, [event(3)])
    assert check_sealed(where).kinds() == ["genesis", "event", "gap", "event", "event"]
    (gap,) = gaps(where)
    stopped = {"stopped_ns": str(NOON_NS + 60 * SECOND_NS)} if how == "stopped" else {}
    assert gap.pop("message").startswith(f"the receiver was {how}")
    assert gap.pop("interval_ms") == 10**12
    told = {"reason": "restart", "from_ns": str(NOON_NS), "to_ns": str(NOON_NS + HOUR_NS)}
    assert gap == told | stopped
    verified(where)


def test_a_day_of_downtime_is_told_at_once_and_without_a_storm(tmp_path: Path) -> None:
    """A log whose receiver was down for a day tells it at the start; one leaf, no heartbeats."""
    here = place(tmp_path)
    with here.ledger(Clock(), **HOUR) as ledger:
        append(ledger, [event(1)])
    clock = Clock(NOON_NS + DAY_NS)
    with here.ledger(clock, **HOUR):
        until(has(here, 3))
    assert check_sealed(here).kinds() == ["genesis", "event", "gap"]
    with here.ledger(clock, **HOUR):
        pass
    assert check_sealed(here).kinds() == ["genesis", "event", "gap"]
    verified(here)


def test_restarts_of_an_idle_log_cost_nothing(tmp_path: Path) -> None:
    """A receiver that starts again and again adds no leaf to a log within its interval."""
    here, clock = place(tmp_path), Clock()
    with here.ledger(clock, **HOUR) as ledger:
        append(ledger, [event(1)])
    for _ in range(5):
        clock.now_ns += 60 * SECOND_NS
        with here.ledger(clock, **HOUR):
            pass
    assert check_sealed(here).kinds() == ["genesis", "event"]
    with here.ledger(clock, **HOUR) as ledger:
        append(ledger, [event(2)])
    assert check_sealed(here).kinds() == ["genesis", "event", "gap", "event"]


def test_a_real_kill_is_told_as_one(tmp_path: Path) -> None:
    """After SIGKILL the next start tells of a kill, however recent an earlier stop was."""
    here = place(tmp_path)
    with here.ledger(Clock(NOON_NS - HOUR_NS)) as ledger:
        append(ledger, [event(9)])
    with subprocess.Popen(
        [sys.executable, "-c", IS_KILLED, str(here.root), "1e9"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    with here.ledger(Clock(NOON_NS + HOUR_NS)) as ledger:
        append(ledger, [event(10)])
    stopped, killed = gaps(here)
    assert ("stopped_ns" in stopped, "stopped_ns" in killed) == (True, False)
    check_log(here)
    verified(here)


@pytest.mark.parametrize(
    ("last_ns", "now_ns", "stopped_ns", "told"),
    [
        (NOON_NS, NOON_NS + SECOND_NS, None, None),
        (NOON_NS, NOON_NS - DAY_NS, NOON_NS, None),
        (0, 2 * SECOND_NS, None, Restart(0, 2 * SECOND_NS, None)),
        (0, 2 * SECOND_NS, 5, Restart(0, 2 * SECOND_NS, 5)),
        (9, 2 * SECOND_NS, 5, Restart(9, 2 * SECOND_NS, None)),
        (0, 2 * SECOND_NS, 3 * SECOND_NS, Restart(0, 2 * SECOND_NS, None)),
    ],
)
def test_what_counts_as_a_restart(
    last_ns: int, now_ns: int, stopped_ns: int | None, told: Restart | None
) -> None:
    """Over a second passed; a stop outside of that time says nothing of it."""
    assert restart_of(last_ns, now_ns, stopped_ns) == told


def test_a_damaged_note_of_the_stop_is_named(tmp_path: Path) -> None:
    """What cannot be read is an error that says which file, and leaves the store as it is."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        append(ledger, [event(1)])
    (here.home / "stopped").write_text("noon")
    with pytest.raises(Exception, match=r"stopped cannot be read, delete it"):
        Ledger.open(here.settings())
    (here.home / "stopped").unlink()
    with here.ledger() as ledger:
        append(ledger, [event(2)])
    verified(here)
