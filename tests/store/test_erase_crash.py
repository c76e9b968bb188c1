"""Killed at any step of erasing or dropping: nothing was claimed, or the next start finishes it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from intentproof_store.requests import waiting_requests
from intentproof_store.verify import Outcome

from tests.store.erasing import (
    claims,
    codes,
    erase,
    finish,
    holding,
    judged,
    plain_disk,
    segments_of,
)
from tests.store.support import (
    REPOSITORY,
    Place,
    append,
    check_log,
    check_sealed,
    event,
    events,
    place,
    verified,
)
from tests.store.test_crash import leftovers, shutter

MARK = b"PAYLOAD-MARK"
SECRET = event(5, inputs='{"iban":"PAYLOAD-MARK"}')
HOT = event(25, inputs='{"iban":"PAYLOAD-MARK"}', correlation_id=SECRET.correlation_id)

ERASES_AND_KILLS_ITSELF = """
import importlib, os, signal, sys
from pathlib import Path
from tests.store.erasing import plain_disk, run
from tests.store.support import Place, append
from tests.store.test_erase_crash import HOT, SECRET
here, module, name, when = Place(Path(sys.argv[1])), *sys.argv[2:5]
owner = importlib.import_module("intentproof_store." + module)
for part in name.split(".")[:-1]:
    owner = getattr(owner, part)
name = name.split(".")[-1]
real = getattr(owner, name)

def step(*args, **kwargs):
    if when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    real(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)

with plain_disk(), here.ledger() as ledger:
    append(ledger, [HOT])
    setattr(owner, name, step)
    order = ["--correlation", SECRET.correlation_id, "--reason", "request 17", "--yes"]
    print(run(here, "erase", "--tenant", "acme", *order))
"""

STEPS = [
    ("ordering", "put_request", "before"),
    ("ordering", "put_request", "after"),
    ("fulfilment", "examine", "after"),
    ("fulfilment", "Fulfilment._append", "before"),
    ("fulfilment", "Fulfilment._append", "after"),
    ("hotlog", "HotLog.rotate", "after"),
    ("clerk", "Clerk._seal", "after"),
    ("fulfilment", "find_segments", "after"),
    ("revision", "write_segment", "after"),
    ("revision", "put_segment_note", "after"),
    ("revision", "move_into_place", "after"),
    ("fulfilment", "Fulfilment._delete", "before"),
    ("fulfilment", "Fulfilment._delete", "after"),
    ("fulfilment", "put_answer", "before"),
    ("fulfilment", "put_answer", "after"),
    ("fulfilment", "drop_request", "after"),
]


def fill(where: Place) -> None:
    with where.ledger() as ledger:
        append(ledger, [*events(0, 5), SECRET, *events(6, 20)])


@pytest.mark.parametrize(("module", "name", "when"), STEPS)
def test_a_kill_between_the_steps_of_erasing(
    tmp_path: Path, module: str, name: str, when: str
) -> None:
    """A real kill: `verify` passes, and the next start erases all that was asked, claiming once."""
    here = place(tmp_path)
    with plain_disk():
        fill(here)
        code = [sys.executable, "-W", "ignore", "-c", ERASES_AND_KILLS_ITSELF]
        killed = subprocess.run(
            [*code, str(here.root), module, name, when], cwd=REPOSITORY, check=False
        )
        assert killed.returncode == -signal.SIGKILL
        asked = bool(waiting_requests(here.home))
        never = (name, when) == ("put_request", "before")
        assert asked is not (never or name == "drop_request")
        stands(here, asked=asked)
        finish(here)
        check_log(here)
        if never:
            assert not claims(here)
            erase(here, "--correlation", str(SECRET.correlation_id))
        assert holding(here, MARK) == []
    ends_well(here)


def stands(where: Place, *, asked: bool) -> None:
    """What a kill leaves: no half is missing without a claim, and a claim of what is there told."""
    report = judged(where)
    assert report.outcome is Outcome.VERIFIED, report.logs[0].problems
    assert codes(report) <= {"erasure_unfinished"}
    if not asked:
        assert not codes(report)


def ends_well(where: Place) -> None:
    """All of it is erased, once, and nothing half done or superseded is left."""
    assert len(claims(where)) == 1
    assert verified(where).logs[0].erased["payload"] == 2
    assert not codes(judged(where))
    assert leftovers(where) == []
    assert len(list(where.layout.events.rglob("*.parquet"))) == len(segments_of(where))
    check_sealed(where)


def test_a_kill_before_any_durable_step_of_erasing(tmp_path: Path) -> None:
    """From before each system call that changes the disk, the next start ends at the same."""
    here = place(tmp_path)
    with plain_disk():
        fill(here)
        with here.ledger() as ledger:
            append(ledger, [HOT])
            with shutter(here) as camera:
                erase(here, "--correlation", SECRET.correlation_id)
        assert len(camera.images) > 20
        for name, image, _ in camera.images:
            if name in ("fsync", "fdatasync", "mkdir"):
                continue  # what an image cannot tell from the call before it
            try:
                asked = bool(waiting_requests(image.home))
                stands(image, asked=asked)
                finish(image)
                if not claims(image):
                    assert not asked
                    continue
                assert holding(image, MARK) == []
                ends_well(image)
            except BaseException as error:
                error.add_note(f"killed before {name}: {image.root}")
                raise
