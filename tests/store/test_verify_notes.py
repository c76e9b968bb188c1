"""`verify`: which signed notes count, and what is said where one is missing, forged or strange."""

import json
import shutil
from pathlib import Path

import pytest
from intentproof_store import Ledger, NoteInvalid
from intentproof_store.checkpoints import checkpoint_sizes
from intentproof_store.note import Checkpoint, VerifierKey, sign_note
from intentproof_store.verify import Outcome

from tests.store.test_verify import EVENTS, NOW_NS, Site, codes, event


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.fill()
    return made


def keys_file(site: Site, *more: str) -> Path:
    path = site.settings.home.parent / "keys"
    path.write_text("\n".join([site.identity().verifier_key("acme").vkey(), *more]) + "\n")
    return path


def signed(site: Site, origin: str, size: int) -> bytes:
    """A checkpoint of any origin, signed by the log's own key under its own name."""
    identity = site.identity()
    text = Checkpoint(origin, size, bytes(32)).text()
    return sign_note(text, name=identity.origin("acme"), key=identity.signing_key)


def test_a_log_without_a_checkpoint_is_not_verified(site: Site) -> None:
    """Where nothing is signed, a trusted key alone vouches for nothing."""
    for path in site.log().glob("checkpoint*"):
        path.unlink()
    report = site.verify(home=None, keys=keys_file(site))
    assert report.outcome is not Outcome.VERIFIED
    assert "no_checkpoint" in codes(report)


def test_sealed_leaves_above_every_checkpoint_are_told(site: Site) -> None:
    """A segment beyond the last checkpoint, no leaf of which is hot, is not verified."""
    folder = site.log()
    for size in checkpoint_sizes(folder)[1:]:
        (folder / f"checkpoint.{size}").unlink()
    (folder / "checkpoint").write_bytes((folder / "checkpoint.1").read_bytes())
    report = site.verify(home=None, keys=keys_file(site))
    assert report.outcome is not Outcome.VERIFIED
    assert codes(report) == {"unsigned_sealed"}
    assert report.logs[0].unsigned_sealed == EVENTS + 2


def test_what_is_not_signed_yet_is_not_counted_as_verified(site: Site) -> None:
    """Hot events above the last checkpoint are beyond what was verified; `--sealed` passes over."""
    with Ledger.open(site.settings, clock_ns=lambda: NOW_NS) as ledger:
        ledger.append("acme", [event(EVENTS)]).result()
        live = site.verify()
        sealed = site.verify(sealed=True)
    assert (live.outcome, live.logs[0].events_verified) == (Outcome.VERIFIED, EVENTS)
    assert (sealed.outcome, sealed.logs[0].events_verified) == (Outcome.VERIFIED, EVENTS)
    assert (live.logs[0].hot, sealed.logs[0].hot) == (1, 0)


def test_sealed_passes_over_checkpoints_of_hot_leaves(site: Site) -> None:
    """A checkpoint that covers more than the segments is not asked of them with `--sealed`."""
    site.fill(EVENTS, EVENTS + 3)
    sorted(site.layout.tenant_events("acme").rglob("*.parquet"))[-1].unlink()
    assert site.verify().outcome is Outcome.INCOMPLETE
    report = site.verify(sealed=True)
    assert (report.outcome, codes(report)) == (Outcome.VERIFIED, set())


def test_a_damaged_file_alone_is_to_blame(site: Site) -> None:
    """Roots and tiles are not blamed where leaves could not be read."""
    path = site.segment()
    raw = bytearray(path.read_bytes())
    raw[4:2000] = bytes(1996)
    path.write_bytes(raw)
    found = codes(site.verify())
    assert "sha256_differs" in found
    assert not found & {"root_differs", "fork", "tile_differs", "genesis_differs"}


def test_a_checkpoint_under_another_size_is_told(site: Site) -> None:
    """A checkpoint's name must be what its text says."""
    shutil.copy(site.log() / "checkpoint.1", site.log() / "checkpoint.7")
    assert "checkpoint_invalid" in codes(site.verify())


@pytest.mark.parametrize("origin", ["elsewhere/acme/{}", "intentproof.local/beta/{}"])
def test_a_checkpoint_of_another_origin_does_not_count(site: Site, origin: str) -> None:
    """What the log's key signed of another log is no checkpoint of this one."""
    raw = signed(site, origin.format(site.identity().writer), 7)
    (site.log() / "checkpoint.7").write_bytes(raw)
    assert codes(site.verify()) == {"checkpoint_invalid"}


def test_a_checkpoint_of_another_log_does_not_count_without_keys(site: Site) -> None:
    """Nor does it where no key is at hand to tell."""
    raw = signed(site, f"intentproof.local/beta/{site.identity().writer}", 7)
    (site.log() / "checkpoint.7").write_bytes(raw)
    assert codes(site.verify(home=None)) == {"checkpoint_invalid"}


def test_a_note_under_another_revision_is_told(site: Site) -> None:
    """A segment's note must be what its name says, also where there is no such file."""
    note = next(site.log().glob("segment.*"))
    other = note.with_name(note.name.replace("000000", "000001"))
    assert other != note
    shutil.copy(note, other)
    assert "note_invalid" in codes(site.verify())


def test_without_trust_nothing_is_anchored(site: Site) -> None:
    """Roots that fit notes of nobody that we trust anchor nothing."""
    assert [log.anchored for log in site.verify(home=None).logs] == [False]
    assert [log.anchored for log in site.verify().logs] == [True]


def test_a_key_whose_name_has_no_tenant_makes_no_log(site: Site) -> None:
    """The name of a trusted key is no path: what is no tenant in it is passed over."""
    raw = site.identity().verifier_key("acme").key
    strange = VerifierKey("intentproof.local/UP..per/w-00000001", raw).vkey()
    assert site.verify(home=None, keys=keys_file(site, strange)).outcome is Outcome.VERIFIED


def test_a_file_of_keys_without_a_key_is_refused(site: Site, tmp_path: Path) -> None:
    """No key is not the same as no file of keys."""
    (tmp_path / "none").write_text("\n")
    with pytest.raises(NoteInvalid, match="no key"):
        site.verify(keys=tmp_path / "none")


def test_keys_from_outside_stand_alone(site: Site, tmp_path: Path) -> None:
    """Where keys are given, those of the home vouch for nothing."""
    raw = site.identity().verifier_key("acme").key
    (tmp_path / "other").write_text(VerifierKey("x.y/beta/w-00000001", raw).vkey() + "\n")
    report = site.verify(keys=tmp_path / "other", tenant="acme")
    assert report.outcome is not Outcome.VERIFIED
    assert "no_checkpoint" in codes(report)


def test_a_known_checkpoint_must_be_signed_where_its_key_is_at_hand(
    site: Site, tmp_path: Path
) -> None:
    """A checkpoint that the caller brings is not believed against the log's own key."""
    notes = json.loads((site.settings.home / "last-checkpoint").read_bytes())
    (tmp_path / "known").write_text(notes[0])
    assert site.verify(known=tmp_path / "known").outcome is Outcome.VERIFIED
    lines = notes[0].split("\n")
    lines[2] = lines[2][:-2] + ("A=" if lines[2][-2] != "A" else "E=")
    (tmp_path / "forged").write_text("\n".join(lines))
    with pytest.raises(NoteInvalid):
        site.verify(known=tmp_path / "forged")
