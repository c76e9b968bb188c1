"""A disk that is full, or fails: refused is refused, acknowledged is kept."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from intentproof_schemas import ExecutionEvent
from intentproof_store import Appended, StoreUnavailable, Undecodable

from tests.store.support import (
    TENANT,
    Place,
    append,
    check_log,
    check_sealed,
    event,
    place,
    until,
    verified,
)

MEGABYTE = 1 << 20
BIG = '{"noise":"%s"}'


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of sixteen megabytes."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def big(number: int) -> list[ExecutionEvent]:
    """Twenty events of about 5 KB that do not compress."""
    return [event(number * 20 + at, inputs=BIG % os.urandom(2_500).hex()) for at in range(20)]


@pytest.mark.root
def test_a_full_disk_refuses_and_then_takes_again(small_disk: Path) -> None:
    """Full, it says so and loses nothing; when space is free, the same events are taken once."""
    here = Place(small_disk / "here")
    acknowledged: list[str] = []
    refused = []
    with here.ledger() as ledger:
        append(ledger, [event(10_000)])
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(12 * MEGABYTE))
        for number in range(200):
            batch = big(number)
            future = ledger.append(TENANT, batch)
            if future.exception(20) is None:
                acknowledged += [one.event_id for one in batch]
                continue
            assert isinstance(future.exception(), StoreUnavailable)
            refused.append(batch)
            if len(refused) == 3:
                break
        assert acknowledged
        assert len(refused) == 3
        assert not ledger.status().healthy
        log = check_log(here)
        assert log.ids() == [event(10_000).event_id, *acknowledged]
        ballast.unlink()
        for batch in refused:
            assert append(ledger, batch) == Appended(stored=20)
            acknowledged += [one.event_id for one in batch]
        assert ledger.status().healthy
    assert check_log(here).ids() == [event(10_000).event_id, *acknowledged]
    with here.ledger() as ledger:
        assert append(ledger, refused[0]) == Appended(duplicates=20)


@pytest.mark.root
def test_a_store_that_is_full_while_hot_is_not_seals_later(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the store's disk full, hot goes on; with space again, everything is sealed."""
    here = Place(small_disk / "here")
    hot = tmp_path / "hot"
    with here.ledger(hot=hot, seal_rows=30) as ledger:
        append(ledger, [event(10_000)])
        ballast = small_disk / "ballast"
        free = os.statvfs(small_disk)
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)
        assert append(ledger, big(1)) == Appended(stored=20)
        assert append(ledger, big(2)) == Appended(stored=20)
        until(lambda: ledger.status().fault)
        assert append(ledger, [event(10_001)]) == Appended(stored=1)
        ballast.unlink()
        until(lambda: ledger.status().sealed_segments)
    assert len(check_sealed(here).ids()) == 42


def test_resends_while_the_disk_refuses_leave_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes for quarantine that are refused and sent again are written once, and then named."""
    here = place(tmp_path)
    bad = Undecodable(b"raw", "bad")
    with here.ledger() as ledger:
        append(ledger, [event(1)])
        with monkeypatch.context() as patched:
            patched.setattr(os, "pwrite", _fail)
            for _ in range(3):
                future = ledger.append(TENANT, [], [bad])
                assert isinstance(future.exception(20), StoreUnavailable)
        assert append(ledger, [], [bad]) == Appended(quarantined=1)
        assert append(ledger, [], [bad]) == Appended()
    (kept,) = here.layout.quarantine(TENANT).iterdir()
    assert kept.read_bytes()[32:] == b"raw"
    verified(here)


@pytest.mark.parametrize("call", ["fdatasync", "pwrite"])
def test_what_an_io_error_refused_never_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Rows whose write or fsync failed are in no log, now or after a kill, unless sent again."""
    here = place(tmp_path)
    real = getattr(os, call)
    with here.ledger() as ledger:
        append(ledger, [event(1)])

        def fail(*args: Any) -> None:
            if call == "fdatasync":
                real(*args)
            else:
                real(args[0], bytes(args[1])[:100], args[2])
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patched:
            patched.setattr(os, call, fail)
            for number in (2, 3):
                future = ledger.append(TENANT, [event(number)], [Undecodable(b"raw", "bad")])
                assert isinstance(future.exception(20), StoreUnavailable)
            refused = here.crash_image("refused")
        assert append(ledger, [event(3)]) == Appended(stored=1)
        later = here.crash_image("later")
    for where, numbers in ((refused, [1]), (later, [1, 3]), (here, [1, 3])):
        with where.ledger():
            pass
        log = check_sealed(where)
        assert log.ids() == [event(number).event_id for number in numbers]
        assert "quarantine" not in log.kinds()
        assert "gap" not in log.kinds()
        verified(where)


def test_a_disk_that_cannot_even_cut_back_refuses_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused bytes that cannot be cut off at once are cut off before anything else is written."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        append(ledger, [event(1)])
        real = os.fdatasync

        def fail(*_: object) -> None:
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", fail)
            patched.setattr(os, "ftruncate", fail)
            for number in (2, 2, 3):
                future = ledger.append(TENANT, [event(number, stage="x" * 50)])
                assert isinstance(future.exception(20), StoreUnavailable)
        assert os.fdatasync is real
        assert append(ledger, [event(2)]) == Appended(stored=1)
        later = here.crash_image("later")
    for where in (later, here):
        with where.ledger():
            pass
        assert check_sealed(where).ids() == [event(1).event_id, event(2).event_id]


def test_one_tenants_fault_refuses_its_whole_group_and_no_more(tmp_path: Path) -> None:
    """A group that was refused leaves the logs of all its tenants as they were."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        for tenant in (TENANT, "beta"):
            append(ledger, [event(1)], tenant=tenant)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(os, "fdatasync", _fail)
            futures = [ledger.append(tenant, [event(2)]) for tenant in (TENANT, "beta")]
            assert all(isinstance(f.exception(20), StoreUnavailable) for f in futures)
        for tenant in (TENANT, "beta"):
            assert append(ledger, [event(2)], tenant=tenant) == Appended(stored=1)
    for tenant in (TENANT, "beta"):
        assert check_sealed(here, tenant).kinds() == ["genesis", "event", "event"]


def _fail(*_: object) -> None:
    raise OSError(28, "No space left on device")
