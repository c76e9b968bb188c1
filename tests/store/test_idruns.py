"""Ids of older segments: found wherever they are kept, in little memory, whatever the disk does."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from intentproof_store import idruns as idruns_module
from intentproof_store.digests import Digests
from intentproof_store.idruns import IdRuns

DAY, OTHER_DAY = "2026-11-21", "2026-11-20"


def hashes(numbers: Sequence[int]) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    return np.array(numbers, np.uint64) * np.uint64(0x9E3779B97F4A7C15)


def known(runs: IdRuns, numbers: Sequence[int], day: str = DAY) -> list[int]:
    found = runs.maybe(hashes(numbers), day)
    return [number for number, there in zip(numbers, found, strict=True) if there]


@pytest.mark.parametrize("held_max", [10**6, 70, 0])
def test_an_id_is_found_in_memory_and_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_max: int
) -> None:
    """Each id is found on its date and on no other, however many of them memory may hold."""
    monkeypatch.setattr(idruns_module, "HELD_IDS_MAX", held_max)
    runs = IdRuns(Digests().ids, tmp_path)
    for first in range(0, 1000, 50):
        runs.add_run(DAY, hashes(range(first, first + 50)))
        runs.add_run(OTHER_DAY, hashes(range(5000 + first, 5000 + first + 25)))
        assert len(runs) <= held_max
    asked = [*range(999, -1, -7), *range(2000, 2100), 5000, 5030, 0]
    assert known(runs, asked) == [number for number in asked if number < 1000]
    assert known(runs, asked, OTHER_DAY) == [5000]


def test_the_file_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ids go into leaves nothing behind, even of a process that is killed."""
    monkeypatch.setattr(idruns_module, "HELD_IDS_MAX", 0)
    runs = IdRuns(Digests().ids, tmp_path)
    runs.add_run(DAY, hashes(range(50)))
    assert len(runs) == 0
    assert not list(tmp_path.iterdir())


def test_a_disk_that_refuses_makes_nothing_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids that the disk does not take stay in memory, and go when it takes them."""
    monkeypatch.setattr(idruns_module, "HELD_IDS_MAX", 60)
    folder = tmp_path / "later"
    runs = IdRuns(Digests().ids, folder)
    for first in (0, 50):
        runs.add_run(DAY, hashes(range(first, first + 50)))
    assert len(runs) == 100
    assert known(runs, range(200)) == list(range(100))
    folder.mkdir()
    runs.add_run(DAY, hashes(range(100, 150)))
    assert len(runs) == 0
    assert known(runs, range(200)) == list(range(150))


def test_a_segment_that_cannot_be_read_is_read_for_the_next_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that came while a segment could not be read fails, and the next one knows its ids."""
    refused = [True]

    def read(path: Path) -> pa.Array:
        if path.name == "b" and refused.pop():
            raise OSError("the disk does not answer")
        return pa.array([f"id of {path.name}"])

    monkeypatch.setattr(idruns_module, "segment_ids", read)
    keys = Digests()
    runs = IdRuns(keys.ids, tmp_path)
    runs.add_unread(DAY, [tmp_path / "a", tmp_path / "b"])
    asked = keys.ids(pa.array(["id of a", "id of b", "id of c"])).hashes
    with pytest.raises(OSError, match="does not answer"):
        runs.maybe(asked, DAY)
    refused.append(False)
    assert runs.maybe(asked, DAY).tolist() == [True, True, False]
