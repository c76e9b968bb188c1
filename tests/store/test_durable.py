"""Durable writes: in one step, fsynced, and nothing left behind."""

import ctypes
import os
import stat
from pathlib import Path

import pytest
from intentproof_store import durable as durable_module
from intentproof_store.durable import (
    create_file,
    make_folder,
    move_into_place,
    sync_file,
    sync_folder,
    write_file,
    write_files,
)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The system calls that matter, in order, each with the name of the file it was for."""
    seen: list[tuple[str, str]] = []
    fsync, replace, link = os.fsync, os.replace, os.link

    def noted_fsync(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        seen.append(("fsync", "aside" if name.endswith(".tmp") else name))
        fsync(descriptor)

    def noted_replace(old: Path, new: Path) -> None:
        seen.append(("rename", Path(new).name))
        replace(old, new)

    def noted_link(old: Path, new: Path) -> None:
        seen.append(("link", Path(new).name))
        link(old, new)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    monkeypatch.setattr(os, "link", noted_link)
    return seen


def test_writing_replaces_in_one_durable_step(tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    """A file is written aside, fsynced, renamed over the old one, and its folder fsynced."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert calls == [("fsync", "aside"), ("rename", "file"), ("fsync", tmp_path.name)]
    assert list(tmp_path.iterdir()) == [path]


def test_creating_is_durable_and_never_overwrites(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    """The first content of a created file stays, and the second creation says so."""
    path = tmp_path / "file"
    assert create_file(path, b"first")
    assert calls == [("fsync", "aside"), ("link", "file"), ("fsync", tmp_path.name)]
    assert not create_file(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_new_folders_are_durable_from_the_top(tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    """Each new folder's name is fsynced in the folder above it, the topmost first."""
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    assert calls == [("fsync", tmp_path.name), ("fsync", "a")]
    make_folder(tmp_path / "a" / "b")
    assert len(calls) == 2


def test_moving_into_place_makes_the_name_durable(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    """A finished file gets its name, and the folder is fsynced."""
    (tmp_path / "finished").write_bytes(b"x")
    sync_file(tmp_path / "finished")
    move_into_place(tmp_path / "finished", tmp_path / "name")
    sync_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["name"]
    assert calls[:3] == [("fsync", "finished"), ("rename", "name"), ("fsync", tmp_path.name)]


def test_modes_are_as_asked(tmp_path: Path) -> None:
    """Secrets are readable by their owner alone from the first moment."""
    write_file(tmp_path / "secret", b"x", mode=0o600)
    create_file(tmp_path / "key", b"x", mode=0o600)
    for name in ("secret", "key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("write", [write_file, create_file])
def test_a_refused_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: object
) -> None:
    """Where fsync fails, the old content stays and no unfinished file is left."""

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        write(path, b"new")  # type: ignore[operator]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_short_writes_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system call that writes less than asked is called again until all is written."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    write_file(tmp_path / "file", b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_many_files_are_durable_before_they_have_their_names(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    """Few files are fsynced one by one, all before the first rename; then their folders."""
    one, two = tmp_path / "a" / "one", tmp_path / "b" / "two"
    for path in (one, two):
        path.parent.mkdir()
    write_files([(one, b"1"), (two, b"2")])
    assert calls[:4] == [
        *(("fsync", "aside"), ("fsync", "aside"), ("rename", "one"), ("rename", "two"))
    ]
    assert sorted(calls[4:]) == [("fsync", "a"), ("fsync", "b")]
    assert (one.read_bytes(), two.read_bytes()) == (b"1", b"2")


@pytest.mark.parametrize("count", [2, 6])
def test_many_files_that_the_disk_refuses_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Where the bytes cannot be made durable no file has its name, and none is left aside."""

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    class Refusing:
        def syncfs(self, _: int) -> int:
            ctypes.set_errno(28)
            return -1

    monkeypatch.setattr(durable_module, "_LIBC", Refusing())
    monkeypatch.setattr(durable_module, "sync_file", refuse)
    with pytest.raises(OSError):  # noqa: PT011 - whichever the disk says
        write_files([(tmp_path / f"{number}", b"x") for number in range(count)])
    assert list(tmp_path.iterdir()) == []


def test_moving_is_durable(tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    """A file that is moved into place is renamed, and then its folder is fsynced."""
    aside = tmp_path / "aside"
    aside.write_bytes(b"x")
    make_folder(tmp_path / "to")
    calls.clear()
    move_into_place(aside, tmp_path / "to" / "file")
    assert calls == [("rename", "file"), ("fsync", "to")]
