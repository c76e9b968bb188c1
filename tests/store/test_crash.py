"""Killed at any moment: every acknowledged event is in the log, once, and nothing forks."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from intentproof_store import Ledger, Undecodable

from tests.store.support import (
    REPOSITORY,
    TENANT,
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

BATCH = 100
KILLS = 20
ACKNOWLEDGED = 10_000
WALL_SECONDS = 45.0

# Imports once, then forks a writer for each line that it reads, before it has any thread.
FORKS_WRITERS = f"""
import os, sys
from pathlib import Path
from tests.store.support import Place, append, events
here = Place(Path(sys.argv[1]))
while line := sys.stdin.readline():
    writer = os.fork()
    if writer:
        print("writer", writer, flush=True)
        os.waitpid(writer, 0)
        print("dead", flush=True)
        continue
    batch = int(line)
    with here.ledger(seal_rows=700, checkpoint_seconds=0.05) as ledger:
        while True:
            append(ledger, events(batch * {BATCH}, (batch + 1) * {BATCH}))
            print("batch", batch, flush=True)
            batch += 1
"""

KILLS_ITSELF = """
import importlib, os, signal, sys
from pathlib import Path
from tests.store.support import TENANT, Place, append, events
here, module, name, when, count = Place(Path(sys.argv[1])), *sys.argv[2:5], int(sys.argv[5])
owner = importlib.import_module("intentproof_store." + module)
for part in name.split(".")[:-1]:
    owner = getattr(owner, part)
name = name.split(".")[-1]
real, calls = getattr(owner, name), []

def step(*args, **kwargs):
    calls.append(1)
    if len(calls) == count and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*args, **kwargs)
    if len(calls) == count:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(owner, name, step)
with here.ledger(seal_rows=10) as ledger:
    append(ledger, events(0, 12))
    print("acknowledged", flush=True)
    sys.stdin.read()
"""


def child(code: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_ten_thousand_events_survive_twenty_kills(tmp_path: Path) -> None:
    """Killed at random moments while it seals and signs, it loses and doubles nothing."""
    here, chance = place(tmp_path), random.Random(20_261_121)
    acknowledged, kills = 0, 0
    deadline = time.monotonic() + WALL_SECONDS
    forks = child(FORKS_WRITERS, here.root)
    assert forks.stdin is not None
    assert forks.stdout is not None
    while kills < KILLS or acknowledged * BATCH < ACKNOWLEDGED:
        assert time.monotonic() < deadline, f"{kills} kills, {acknowledged * BATCH} events"
        forks.stdin.write(f"{acknowledged}\n")
        forks.stdin.flush()
        life, writer = chance.randint(3, 8), 0
        while (said := forks.stdout.readline().split()) != ["dead"]:
            assert said, "the writers ended by themselves"
            if said[0] == "writer":
                writer = int(said[1])
            else:
                acknowledged, life = int(said[1]) + 1, life - 1
            if life <= 0 < writer:
                os.kill(writer, signal.SIGKILL)
                writer = 0
        kills += 1
        ids = read_log(here).ids()
        assert len(ids) == len(set(ids))
        assert ids[: acknowledged * BATCH] == expected(acknowledged)
    forks.communicate()
    check_log(here)
    with here.ledger() as ledger:
        append(ledger, events(0, acknowledged * BATCH))
    log = check_sealed(here)
    assert log.ids()[: acknowledged * BATCH] == expected(acknowledged)
    assert not log.details("gap")
    assert not log.ids("conflict")
    verified(here)


def expected(batches: int) -> list[str]:
    while len(_IDS) < batches * BATCH:
        _IDS.append(event(len(_IDS)).event_id)
    return _IDS[: batches * BATCH]


_IDS: list[str] = []


@pytest.mark.parametrize(
    ("module", "name", "when", "count"),
    [
        ("clerk", "move_into_place", "after", 1),
        ("checkpoints", "Signer.sign", "before", 2),
        ("hotlog", "HotLog.release", "before", 1),
    ],
)
def test_a_real_kill_between_the_steps_of_sealing(
    tmp_path: Path, module: str, name: str, when: str, count: int
) -> None:
    """A process that kills itself between two steps is resumed by the next, which finishes."""
    here = place(tmp_path)
    with child(KILLS_ITSELF, here.root, module, name, when, count) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        assert process.wait(20) == -signal.SIGKILL
    if said:
        assert check_log(here).ids() == [one.event_id for one in events(0, 12)]
    resumes(here)


def resumes(where: Place) -> None:
    """Opened again it takes more, seals all, and everything about it holds."""
    with where.ledger() as ledger:
        append(ledger, events(0, 40))
    log = check_sealed(where)
    assert log.ids() == [one.event_id for one in events(0, 40)]
    assert not log.details("gap")
    assert leftovers(where) == []
    verified(where)


def leftovers(where: Place) -> list[Path]:
    """Files that were not finished."""
    return [
        path
        for path in where.root.rglob("*")
        if path.suffix in (".tmp", ".unfinished") or path.parent.name == "unfinished"
    ]


def sealed(ledger: Ledger, segments: int) -> bool:
    return ledger.status().sealed_segments == segments


class Shutter:
    """Takes an image of the disk before each system call that changes what is durable."""

    CALLS = ("fsync", "fdatasync", "replace", "link", "unlink", "rmdir", "rename", "mkdir")

    def __init__(self, where: Place) -> None:
        self.where = where
        self.images: list[tuple[str, Place, int]] = []
        self.acknowledged = 0
        self._busy = threading.RLock()
        self._inside = False

    def before(self, name: str) -> None:
        with self._busy:
            if self._inside or not self.where.root.exists():
                return
            self._inside = True
            try:
                said = self.acknowledged
                image = self.where.crash_image(f"image-{len(self.images)}")
                self.images.append((name, image, said))
            finally:
                self._inside = False


@contextmanager
def shutter(where: Place) -> Iterator[Shutter]:
    camera = Shutter(where)

    def watched(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            camera.before(name)
            return real(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patched:
        for name in Shutter.CALLS:
            patched.setattr(os, name, watched(name, getattr(os, name)))
        yield camera


def test_a_kill_before_any_durable_step_loses_nothing(tmp_path: Path) -> None:
    """From before each fsync, rename, link and unlink of a life, the next start goes on rightly."""
    here = place(tmp_path)
    with shutter(here) as camera, here.ledger(seal_rows=10) as ledger:
        for end in (12, 18, 30):
            append(ledger, events(camera.acknowledged, end))
            camera.acknowledged = end
            if end != 18:
                until(lambda: not ledger.status().tenants[TENANT].hot_rows)
                until(partial(sealed, ledger, 1 if end == 12 else 2))
    assert len(camera.images) > 40
    for turn, (name, image, said) in enumerate(camera.images):
        try:
            if said:
                ids = check_log(image).ids()
                assert ids[:said] == [one.event_id for one in events(0, said)]
                assert len(ids) == len(set(ids))
            if turn % 2 or name in ("link", "replace", "unlink"):  # the others differ by a sync
                resumes(image)
        except BaseException as error:
            error.add_note(f"killed before {name}, {said} events acknowledged: {image.root}")
            raise


def test_a_kill_during_recovery_is_a_kill(tmp_path: Path) -> None:
    """A start that is killed at any step leaves a store that the next start recovers."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        append(ledger, events(0, 12))
        crashed = here.crash_image()
    with shutter(crashed) as camera, crashed.ledger(seal_rows=5):
        pass
    assert camera.images
    for name, image, _ in camera.images:
        try:
            assert check_log(image).ids() == [one.event_id for one in events(0, 12)]
            resumes(image)
        except BaseException as error:
            error.add_note(f"killed before {name}: {image.root}")
            raise


def test_a_start_deletes_what_its_writer_left_half_written(tmp_path: Path) -> None:
    """Unfinished files of this writer are deleted at its start, and nobody else's."""
    here, other = place(tmp_path), "other-00000000"
    with here.ledger() as ledger:
        append(ledger, [event(1)])
    mine = [
        here.log() / ".checkpoint.9.1.2.tmp",
        here.log() / "tile" / "0" / ".000.1.2.tmp",
        here.home / ".last-checkpoint.1.2.tmp",
        here.hot / here.writer / "00000000000000000009-r.unfinished",
        here.layout.unfinished_quarantine(TENANT, here.writer),
    ]
    others = [
        here.log(writer=other) / ".checkpoint.9.1.2.tmp",
        here.hot / other / "00000000000000000009-r.unfinished",
        here.layout.unfinished_quarantine(TENANT, other),
        here.layout.quarantine(TENANT) / ".x.1.2.tmp",
        here.home / "below" / ".last-checkpoint.1.2.tmp",
        here.home / ".notes.tmp",
    ]
    for path in [*mine, *others]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    with here.ledger():
        pass
    assert [path for path in mine if path.exists()] == []
    assert [path for path in others if not path.exists()] == []


def test_quarantined_bytes_are_written_where_their_writer_can_clear_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writers share the quarantine folder, so that nothing unfinished is ever in it."""
    here, real = place(tmp_path), os.link
    seen = []

    def look(aside: Path, path: Path) -> None:
        if path.is_relative_to(here.layout.root / "quarantine"):
            seen.append((aside, list(path.parent.iterdir())))
        real(aside, path)

    with here.ledger() as ledger:
        monkeypatch.setattr(os, "link", look)
        ledger.append(TENANT, [], [Undecodable(b"raw", "bad")]).result(20)
        aside = here.layout.unfinished_quarantine(TENANT, here.writer)
        assert seen == [(aside, [])]
