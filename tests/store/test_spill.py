"""What a verifier keeps of each leaf: in memory up to a limit, then in a file without a name."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_store.verify.spill import Spill

from tests.examples import examples


@settings(max_examples=examples(50), deadline=None)
@given(
    pieces=st.lists(st.binary(max_size=40)),
    limit=st.integers(0, 100),
    where=st.tuples(st.integers(0, 300), st.integers(0, 300)),
)
def test_bytes_come_back_as_they_went_in(
    pieces: list[bytes], limit: int, where: tuple[int, int]
) -> None:
    """Whether they stand in memory or in the file, and however they were handed over."""
    spill = Spill(held_bytes_max=limit)
    kept = [spill.keep(piece) for piece in pieces]
    whole = b"".join(pieces)
    assert len(spill) == len(whole)
    assert [each[:] for each in kept] == pieces
    assert spill[slice(*where)] == whole[slice(*where)]
    assert [each[1:5] for each in kept] == [piece[1:5] for piece in pieces]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_the_file_has_no_name_and_ends_with_the_spill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left in the folder for temporary files, nor a file descriptor."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = descriptors()
    spill = Spill(held_bytes_max=10)
    spill.append(bytes(11))
    assert descriptors() == before + 1
    assert list(tmp_path.iterdir()) == []
    del spill
    assert descriptors() == before
