"""Consistency proofs as files: an auditor sees that the log only grew since an older checkpoint."""

from dataclasses import replace
from pathlib import Path

import pytest
from intentproof_store import ProofInvalid
from intentproof_store.checkpoints import checkpoint_sizes
from intentproof_store.errors import CheckpointUnknown, NoteInvalid
from intentproof_store.extension import Extension, decode_extension, verify_extension
from intentproof_store.identity import trusted_keys
from intentproof_store.note import Checkpoint, parse_checkpoint_text, parse_note
from intentproof_store.proving import Places, extension_of

from tests.store.support import TENANT, Place, append, events, place
from tests.store.test_receipts import Run, run

__all__ = ["run"]  # a fixture


@pytest.fixture
def here(tmp_path: Path) -> Place:
    """A store with three checkpoints of one log: over 1, 301 and 701 leaves."""
    where = place(tmp_path)
    for first, end in ((0, 300), (300, 700)):
        with where.ledger() as ledger:
            append(ledger, events(first, end))
    assert checkpoint_sizes(where.log()) == [1, 301, 701]
    return where


def extension(where: Place, old_size: int, size: int | None = None) -> Extension:
    places = Places(store=where.layout.root, hot=where.hot, home=where.home)
    return extension_of(places, TENANT, where.writer, old_size=old_size, size=size)


def held(where: Place, size: int) -> Checkpoint:
    raw = (where.log() / f"checkpoint.{size}").read_bytes()
    return parse_checkpoint_text(parse_note(raw).text)


@pytest.mark.parametrize(
    ("old_size", "size"), [(1, 301), (1, None), (301, None), (301, 301), (701, 701)]
)
def test_any_two_checkpoints_are_shown_to_be_consistent(
    here: Place, old_size: int, size: int | None
) -> None:
    """Between any two checkpoints of a log there is a proof, which holds when read back."""
    made = extension(here, old_size, size)
    assert decode_extension(made.encode()) == made
    later = verify_extension(made, known=held(here, old_size), keys=trusted_keys(here.home))
    assert later == held(here, size or 701)


@pytest.mark.parametrize(("old_size", "size"), [(2, 301), (301, 302), (701, 301), (0, 301)])
def test_sizes_without_a_checkpoint_are_named(here: Place, old_size: int, size: int) -> None:
    """A size that was not signed, or the wrong order, is refused."""
    with pytest.raises(CheckpointUnknown, match=f"{old_size} leaves"):
        extension(here, old_size, size)


def test_no_bit_can_be_flipped(here: Place) -> None:
    """Of all proofs that differ in one bit, or end early, none is accepted."""
    raw = extension(here, 301).encode()
    assert accepts(here, raw)
    flips = [at for at in range(8 * len(raw)) if accepts(here, flipped(raw, at))]
    assert flips == []
    assert [end for end in range(len(raw)) if accepts(here, raw[:end])] == []


def flipped(raw: bytes, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def accepts(where: Place, raw: bytes) -> bool:
    keys = trusted_keys(where.home)
    try:
        verify_extension(decode_extension(raw), known=held(where, 301), keys=keys)
    except (NoteInvalid, ProofInvalid):
        return False
    return True


def test_a_rewritten_history_is_no_growth(here: Place, tmp_path: Path) -> None:
    """A log that its own operator wrote anew, with the same key, does not extend what was held."""
    other = place(tmp_path / "other")
    other.home.mkdir(parents=True)
    for name in ("signing.key", "writer"):
        (other.home / name).write_bytes((here.home / name).read_bytes())
    for first, end in ((1000, 1300), (1300, 1700)):
        with other.ledger() as ledger:
            append(ledger, events(first, end))
    theirs = extension(other, 301)
    with pytest.raises(ProofInvalid, match="do not follow"):
        verify_extension(theirs, known=held(here, 301), keys=trusted_keys(here.home))
    shorter = replace(theirs, old_size=1)
    with pytest.raises(ProofInvalid, match="yours has 301"):
        verify_extension(shorter, known=held(here, 301))


def test_the_command_and_verify(here: Place, run: Run, tmp_path: Path) -> None:
    """`log consistency` writes a proof, `verify --known` takes it, and refuses another's."""
    file = tmp_path / "grown"
    argv = ("log", "consistency", "--tenant", TENANT, "--writer", here.writer, "-o", file)
    assert run(*argv, "--from", "301")[0] == 0
    code, out, _ = run("verify", file, "--known", here.log() / "checkpoint.301")
    assert code == 0
    assert out.startswith("VERIFIED: the log holds every leaf")
    assert run("verify", file, "--known", here.log() / "checkpoint.1")[0] == 2
    code, _, err = run("verify", file)
    assert code == 6
    assert "--known" in err
    code, _, err = run(*argv, "--from", "300")
    assert code == 6
    assert "no checkpoint of 300 leaves" in err
