"""Consistency proofs as files: an auditor sees that the log only grew since an older checkpoint."""

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from intentproof_store import ProofInvalid
from intentproof_store.checkpoints import checkpoint_sizes
from intentproof_store.errors import CheckpointUnknown, NoteInvalid
from intentproof_store.extension import Extension, decode_extension, verify_extension
from intentproof_store.identity import trusted_keys
from intentproof_store.note import (
    Checkpoint,
    VerifierKey,
    parse_note,
    read_checkpoint,
    sign_note,
)
from intentproof_store.proving import Places, extension_of

from tests.store.support import TENANT, Place, append, events, place
from tests.store.test_receipts import Run, flipped, run

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
    return read_checkpoint((where.log() / f"checkpoint.{size}").read_bytes())


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


def test_growth_that_nobody_signed_is_refused(here: Place) -> None:
    """Anybody can append to a tree that they saw: the later checkpoint needs its log's key."""
    known = held(here, 301)
    made = extension(here, 301)
    text = parse_note(made.checkpoint).text
    stranger = Ed25519PrivateKey.generate()
    forged = replace(made, checkpoint=sign_note(text, name=known.origin, key=stranger))
    with pytest.raises(NoteInvalid):
        verify_extension(forged, known=known, keys=trusted_keys(here.home))
    other = VerifierKey("another/log/key", stranger.public_key().public_bytes_raw())
    with pytest.raises(NoteInvalid, match="no key that you trust"):
        verify_extension(made, known=known, keys=[other])


def test_no_proof_leads_from_one_log_to_another(here: Place) -> None:
    """The same leaves under another origin are another log."""
    made, known = extension(here, 301), held(here, 301)
    with pytest.raises(NoteInvalid, match=r"yours is of another\.log"):
        verify_extension(made, known=replace(known, origin="another.log"))


def test_the_command_and_verify(here: Place, run: Run, tmp_path: Path) -> None:
    """`log consistency` writes a proof, `verify --known --key` takes it, and refuses another's."""
    file, vkeys = tmp_path / "grown", tmp_path / "vkeys"
    vkeys.write_text(run("log", "key")[1])
    argv = ("log", "consistency", "--tenant", TENANT, "--writer", here.writer, "-o", file)
    assert run(*argv, "--from", "301")[0] == 0
    code, out, _ = run("verify", file, "--known", here.log() / "checkpoint.301", "--key", vkeys)
    assert code == 0
    assert out.startswith("VERIFIED: the log holds every leaf")
    code, out, _ = run("verify", file, "--known", here.log() / "checkpoint.301")
    assert code == 3
    assert out.startswith("UNANCHORED")
    assert "--key" in out
    assert run("verify", file, "--known", here.log() / "checkpoint.1", "--key", vkeys)[0] == 2
    code, _, err = run("verify", file)
    assert code == 6
    assert "--known" in err
    code, _, err = run(*argv, "--from", "300")
    assert code == 6
    assert "no checkpoint of 300 leaves" in err
    for writer in (f"../{TENANT}/{here.writer}", "", f"{here.writer}/../{here.writer}"):
        argv = ("log", "consistency", "--tenant", TENANT, "--writer", writer, "-o", file)
        assert run(*argv, "--from", "301")[0] == 6
