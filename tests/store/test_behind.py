"""A restored store: the home remembers more, and only a new writer may go on."""

import json
import shutil
from pathlib import Path

import pytest
from intentproof_store import (
    Appended,
    LedgerBehind,
    LogNameChanged,
    StoreError,
    check_standing,
)
from intentproof_store.checkpoints import checkpoint_sizes

from tests.store.support import (
    TENANT,
    Place,
    append,
    check_sealed,
    event,
    events,
    place,
    read_log,
    verified,
)


def restored(tmp_path: Path) -> Place:
    """A place whose store is a copy from before its last ten events."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        append(ledger, events(0, 10))
        append(ledger, events(0, 10), tenant="beta")
    old = here.crash_image("backup")
    with here.ledger() as ledger:
        append(ledger, events(10, 20))
    shutil.rmtree(here.layout.root)
    shutil.copytree(old.layout.root, here.layout.root)
    return here


def test_a_restored_store_is_refused(tmp_path: Path) -> None:
    """A store with less than this writer signed is not written, and the message says what to do."""
    here = restored(tmp_path)
    before = sorted(here.layout.root.rglob("*"))
    for _ in range(2):
        with (
            pytest.raises(LedgerBehind, match=r"has 11 leaves here.*signed 21.*--new-writer"),
            here.ledger(),
        ):
            pass
    assert sorted(here.layout.root.rglob("*")) == before


def test_signed_files_tell_that_a_store_is_older(tmp_path: Path) -> None:
    """Without lock and leaves it can be told that a store is not the one that was signed."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        append(ledger, events(0, 10))
        check_standing(here.layout.root, here.home, "intentproof.local")
    check_standing(here.layout.root, here.home, "intentproof.local")
    older = restored(tmp_path / "older")
    with pytest.raises(LedgerBehind, match=r"remembers a checkpoint of 21 leaves"):
        check_standing(older.layout.root, older.home, "intentproof.local")


def test_another_log_name_is_refused(tmp_path: Path) -> None:
    """A writer goes on under the name of its logs only; a new writer may have another."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        append(ledger, events(0, 10))
    with (
        pytest.raises(LogNameChanged, match=r"'other.example'.*'intentproof.local'.*--new-writer"),
        here.ledger(log_name="other.example"),
    ):
        pass
    with here.ledger(log_name="other.example", new_writer=True) as ledger:
        append(ledger, events(10, 20))
    verified(here)


def test_an_emptied_store_is_refused(tmp_path: Path) -> None:
    """A store that lost all its files is behind too."""
    here = restored(tmp_path)
    shutil.rmtree(here.layout.root)
    with pytest.raises(LedgerBehind), here.ledger():
        pass


def test_a_missing_segment_is_refused(tmp_path: Path) -> None:
    """A store whose last segment is missing under a checkpoint is behind."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        append(ledger, events(0, 10))
    (here.home / "last-checkpoint").unlink()
    read_log(here).segments[0].path.unlink()
    with pytest.raises(LedgerBehind), here.ledger():
        pass


def test_a_log_without_its_checkpoints_is_refused_or_signed_again(tmp_path: Path) -> None:
    """Sealed leaves whose checkpoints were deleted raise nothing that is not ours."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        append(ledger, events(0, 10))
    for path in here.log().glob("checkpoint*"):
        path.unlink()
    try:
        with here.ledger() as ledger:
            append(ledger, [event(11)])
    except StoreError:
        return
    assert checkpoint_sizes(here.log())[-1] == 12


def test_a_new_writer_names_the_old_ones_last_checkpoint(tmp_path: Path) -> None:
    """A new writer begins logs whose genesis holds the last checkpoint that was signed."""
    here = restored(tmp_path)
    old = here.writer
    last = json.loads((here.home / "last-checkpoint").read_text())
    (note,) = (each for each in last if f"/{TENANT}/" in each)
    assert note.splitlines()[1] == "21"
    with here.ledger(new_writer=True) as ledger:
        assert append(ledger, events(5, 15)) == Appended(stored=10)
    assert here.writer != old
    log = check_sealed(here)
    (genesis,) = map(json.loads, log.details("genesis"))
    assert genesis["former"] == {"checkpoint": note, "writer": old}
    assert len(read_log(here, writer=old).ids()) == 10


def test_a_new_writer_goes_on_as_itself(tmp_path: Path) -> None:
    """The next opening, without being asked for a new writer, continues the new writer's log."""
    here = restored(tmp_path)
    with here.ledger(new_writer=True) as ledger:
        append(ledger, [event(1)])
    new = here.writer
    with here.ledger() as ledger:
        append(ledger, [event(2)])
    assert here.writer == new
    assert check_sealed(here).kinds() == ["genesis", "event", "event"]


def test_a_tenant_that_comes_later_names_its_former_log_too(tmp_path: Path) -> None:
    """A tenant whose first event comes after another restart still names its old checkpoint."""
    here = restored(tmp_path)
    old = here.writer
    with here.ledger(new_writer=True) as ledger:
        append(ledger, [event(1)])
    with here.ledger() as ledger:
        append(ledger, [event(1)], tenant="beta")
    (genesis,) = map(json.loads, check_sealed(here, "beta").details("genesis"))
    assert genesis["former"]["writer"] == old


def test_a_new_writer_that_wrote_nothing_still_names_the_old_one(tmp_path: Path) -> None:
    """A restart between becoming a new writer and its first event forgets nothing."""
    here = restored(tmp_path)
    old = here.writer
    with here.ledger(new_writer=True):
        pass
    with here.ledger() as ledger:
        append(ledger, [event(1)])
    (genesis,) = map(json.loads, check_sealed(here).details("genesis"))
    assert genesis["former"]["writer"] == old


def test_a_new_writer_on_a_whole_store_leaves_the_old_log_whole(tmp_path: Path) -> None:
    """Where nothing was lost, both writers' logs verify side by side."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        append(ledger, events(0, 10))
    old = here.writer
    with here.ledger(new_writer=True) as ledger:
        append(ledger, events(10, 20))
    check_sealed(here)
    assert len(read_log(here, writer=old).ids()) == 10
    verified(here)
