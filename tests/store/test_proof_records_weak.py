"""The ten weak spots of the reference's verifier, each shown not to be one here."""

import base64
import copy
from pathlib import Path

import pytest

from tests.store.proof_support import (
    KEY,
    OTHER,
    SIGNED,
    Document,
    as_folder,
    bundle,
    chain,
    detached,
    hashed,
    linked,
    record,
    relinked,
    sha256,
    text,
    verify,
    written,
)

REFUSED, NOT_ANCHORED = 2, 3


def test_1_a_pass_over_nothing_is_refused(tmp_path: Path) -> None:
    """An empty folder, a chain of no records, a record as a chain, a bundle of no files."""
    (tmp_path / "empty").mkdir()
    assert verify(tmp_path / "empty")[0] == REFUSED
    assert verify(tmp_path / "empty", "--chain")[0] == REFUSED
    (tmp_path / "blank").mkdir()
    written(tmp_path / "blank" / "x.jsonl", "\n\n")
    assert verify(tmp_path / "blank")[0] == REFUSED
    nothing: tuple[Document, ...] = ({"records": []}, {"records": None}, chain([]))
    for made in nothing:
        assert verify(written(tmp_path / "c.json", made))[0] == REFUSED
    assert verify(written(tmp_path / "r.json", record()), "--chain")[0] == REFUSED
    assert verify(bundle(tmp_path / "b", {}))[0] == REFUSED
    assert verify(bundle(tmp_path / "k", {}, KEY), *SIGNED)[0] == REFUSED


def test_2_a_bundle_s_manifest_is_not_skipped(tmp_path: Path) -> None:
    """With --chain alone the manifest is checked all the same, and there must be a chain."""
    files = {"chain.json": text(chain(linked(2))), "notes.txt": b"x"}
    folder = bundle(tmp_path / "b", files)
    assert verify(folder, "--chain")[0] == 0
    (folder / "notes.txt").write_bytes(b"y")
    assert verify(folder, "--chain")[0] == REFUSED
    assert verify(bundle(tmp_path / "n", {"notes.txt": b"x"}), "--chain")[0] == REFUSED
    folder = bundle(tmp_path / "u", {"notes.txt": b"x"})
    written(folder / "chain.json", chain(linked(2)))  # not listed
    assert verify(folder, "--chain")[0] == REFUSED


def test_3_a_gait_artifact_without_signatures_is_no_success(tmp_path: Path) -> None:
    """Its digest is checked, and that nobody looked at the signature is exit code 3."""
    made: Document = {"trace_id": "t", "verdict": "allow"}
    made["signature"] = detached(sha256(made), raw=True)
    path = written(tmp_path / "g.json", made)
    code, out, err = verify(path, "--json")
    assert (code, out) == (NOT_ANCHORED, "")
    assert "--signatures" in err
    assert verify(written(path, {**made, "verdict": "block"}))[0] == REFUSED


@pytest.mark.parametrize("where", ["", "controls", "integrity", "guardrail", "oversight"])
def test_4_a_member_without_cover_is_refused(tmp_path: Path, where: str) -> None:
    """What no hash covers could be added by anyone; signed or not, it is refused."""
    controls = {
        "permissions_enforced": True,
        "guardrails_active": [{"name": "n", "status": "s", "triggered": True}],
        "human_oversight": {"approval_required": True},
    }
    made = record(key=KEY, controls=controls)
    assert verify(written(tmp_path / "r.json", made), *SIGNED)[0] == 0
    places = {
        "": made,
        "controls": made["controls"],
        "integrity": made["integrity"],
        "guardrail": made["controls"]["guardrails_active"][0],
        "oversight": made["controls"]["human_oversight"],
    }
    places[where]["approved_by"] = "the board"
    code, _, err = verify(written(tmp_path / "r.json", made), *SIGNED)
    assert code == REFUSED
    assert "approved_by" in err


@pytest.mark.parametrize("fraction", [".5", ",5", ".000000001", ".999999999999"])
def test_5_a_fraction_of_a_second_is_refused_strictly(tmp_path: Path, fraction: str) -> None:
    """Otherwise it is told on stderr as something that no hash covers."""
    made = record(key=KEY)
    made["timestamp"] = made["timestamp"].replace("Z", fraction + "Z")
    path = written(tmp_path / "r.json", made)
    code, _, err = verify(path, *SIGNED)
    assert (code, err) == (
        0,
        "note: no hash covers fractions of a second: count them as not told\n",
    )
    assert verify(path, "--strict", *SIGNED)[0] == REFUSED


def test_6_the_records_of_a_chain_keep_the_schema(tmp_path: Path) -> None:
    """A chain whose links and hashes are right, of a record that is not, does not hold."""
    for change in (
        {"record_type": "custom"},
        {"record_type": "delegation"},
        {"source": " "},
        {"relationship": {"parent_ref": {"kind": "planet", "id": "x"}}},
    ):
        records = linked(3)
        records[1] = record(2, **{**records[1], **change, "record_id": "mine"})
        made = chain(relinked(records))
        code, _, err = verify(written(tmp_path / "c.json", made))
        assert code == REFUSED
        assert "break_index 1" in err
        assert verify(as_folder(tmp_path / "f", made["records"]))[0] == REFUSED


def test_7_a_cut_off_end_shows(tmp_path: Path) -> None:
    """By the count, by a frame beside the records, by a signature, or by the head one holds."""
    records = linked(4)
    whole, cut = chain(records, KEY), chain(records[:3])
    head = records[-1]["integrity"]["record_hash"]
    path = written(tmp_path / "c.json", {**cut, "record_count": 4})
    assert verify(path)[0] == REFUSED
    folder = as_folder(tmp_path / "f", records[:3])
    assert verify(folder)[0] == 0
    assert verify(folder, "--head", head)[0] == REFUSED
    written(folder / "chain.json", whole)
    assert verify(folder)[0] == REFUSED
    forged = {**cut, "signatures": whole["signatures"]}
    assert verify(written(path, forged), *SIGNED)[0] == REFUSED


def test_8_signatures_are_what_helps_against_hashing_again(tmp_path: Path) -> None:
    """A forger with another key, or with none, is refused where signatures are asked for."""
    records = linked(3, KEY)
    for key in (None, OTHER):
        forged = copy.deepcopy(records)
        forged[1] = record(2, event={"action": "deny"})
        path = written(tmp_path / "c.json", chain(relinked(forged, key)))
        code, _, err = verify(path)
        assert code == 0
        assert "no signature was checked" in err
        assert verify(path, *SIGNED)[0] == REFUSED
    old = records[1]["integrity"]["signature"]
    kept = relinked([records[0], record(2, event={"action": "deny"}), records[2]], KEY)
    kept[1]["integrity"]["signature"] = old
    assert verify(written(tmp_path / "c.json", chain(kept)), *SIGNED)[0] == REFUSED


def test_9_a_back_dated_record_does_not_escape_revocation(tmp_path: Path) -> None:
    """A revoked key is refused whatever time its record claims."""
    made = record(key=KEY, timestamp="2020-01-01T00:00:00Z")
    key_id = made["integrity"]["signing_key_id"]
    listed: Document = {
        "version": "1.0",
        "created_at": "2026-01-01T00:00:00Z",
        "revoked": [{"key_id": f" {key_id} ", "revoked_at": "2025-01-01T00:00:00Z"}],
    }
    path = written(tmp_path / "list.json", listed)
    record_path = written(tmp_path / "r.json", made)
    assert verify(record_path, *SIGNED)[0] == 0
    assert verify(record_path, *SIGNED, "--revocation-list", path)[0] == REFUSED


def test_10_a_record_id_is_derived_again(tmp_path: Path) -> None:
    """An id of the derived form must follow from its record; strictly, every id must."""
    derived_form = "prf-2026-02-18T12:01:00Z-00000000"
    code, _, err = verify(written(tmp_path / "r.json", record(record_id=derived_form)))
    assert code == REFUSED
    assert "record_id" in err
    path = written(tmp_path / "r.json", record(record_id="prf-2026-03-03T12:00:00Z-example"))
    code, _, err = verify(path)
    assert code == 0
    assert "not derived" in err
    assert verify(path, "--strict")[0] == REFUSED
    records = relinked([record(1), hashed({**record(2), "record_id": derived_form})])
    assert verify(written(path, chain(records)))[0] == REFUSED


def test_a_weak_signature_key_is_no_key(tmp_path: Path) -> None:
    """With a key of low order, a signature of zeros would hold over anything."""
    made = record()
    made["integrity"] |= {
        "signing_key_id": "0" * 64,
        "signature": "base64:" + base64.b64encode(bytes(64)).decode(),
    }
    path = written(tmp_path / "r.json", made)
    low_order = "01" + "00" * 31
    assert verify(path, "--signatures", "--public-key", low_order)[0] == 6
