"""Bundles of proof records: a folder, its manifest, and the rules of its paths."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.store.proof_support import (
    KEY,
    OTHER,
    PUBLIC,
    SIGNED,
    Document,
    bundle,
    chain,
    detached,
    linked,
    record,
    text,
    verify,
    written,
)

REFUSED, INVALID, UNREADABLE = 2, 3, 6


def files(count: int = 3) -> dict[str, bytes]:
    records = linked(count)
    named = {f"{number:04d}.json": text(each) for number, each in enumerate(records)}
    return {**named, "chain.json": text(chain(records)), "data/notes.txt": b"notes"}


def manifest_of(folder: Path) -> Document:
    found: Document = json.loads((folder / "manifest.json").read_text())
    return found


def test_a_bundle_is_verified(tmp_path: Path) -> None:
    """Detected by its manifest, told as the reference tells it, strictly too."""
    folder = bundle(tmp_path / "b", files(), KEY)
    assert verify(folder)[:2] == (0, "Bundle verified.\n")
    code, out, err = verify(folder, "--bundle", "--strict", "--json", *SIGNED)
    assert (code, json.loads(out), err) == (0, {"kind": "bundle", "ok": True}, "")


def test_the_chain_of_a_bundle_is_told_where_it_is_asked_for(tmp_path: Path) -> None:
    """With --chain the answer is the chain's, after the manifest's files were checked."""
    folder = bundle(tmp_path / "b", files())
    code, out, _ = verify(folder, "--chain", "--json")
    assert code == 0
    assert json.loads(out)["kind"] == "chain"
    assert json.loads(out)["records"] == 3
    head = json.loads(out)["head_hash"]
    assert verify(folder, "--head", head)[0] == 0
    assert verify(folder, "--head", "sha256:" + "0" * 64)[0] == REFUSED


def test_a_chain_of_record_files_alone(tmp_path: Path) -> None:
    """A bundle without `chain.json` has its record files for a chain."""
    without = {name: content for name, content in files().items() if name != "chain.json"}
    folder = bundle(tmp_path / "b", without)
    assert verify(folder, "--chain")[:2] == (0, "Chain intact. 3 records. No gaps.\n")
    written(folder / "9999.json", record(9))
    assert verify(folder)[0] == 0
    assert verify(folder, "--chain")[0] == REFUSED


@pytest.mark.parametrize("name", [*files(), "manifest.json"])
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    """A listed file that is gone, and a manifest that is gone where a bundle was asked for."""
    folder = bundle(tmp_path / "b", files())
    (folder / name).unlink()
    assert verify(folder, "--bundle")[0] == REFUSED


@pytest.mark.parametrize("name", files())
def test_a_changed_file_is_refused(tmp_path: Path, name: str) -> None:
    """One byte more, and the file is not the one that is listed."""
    folder = bundle(tmp_path / "b", files())
    with (folder / name).open("ab") as file:
        file.write(b" ")
    code, _, err = verify(folder)
    assert code == REFUSED
    assert "bundle hash mismatch" in err


def test_a_record_that_does_not_hold_is_found_behind_a_mended_manifest(tmp_path: Path) -> None:
    """Listed records and chains are verified themselves, and must agree."""
    records = linked(3)
    broken = {**records[1], "event": {"action": "deny"}}
    for changed in (
        {**files(), "0001.json": text(broken)},
        {**files(), "chain.json": text(chain([records[0], broken, records[2]]))},
        {**files(), "0002.json": text(record(8))},
        {name: content for name, content in files().items() if name != "0002.json"},
    ):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        assert verify(bundle(folder, changed))[0] == REFUSED


def test_other_files_of_a_bundle_are_data(tmp_path: Path) -> None:
    """Files that hold no record count by their hash alone."""
    more = {"big.json": b'{"n": 12345678901234567890}', "list.json": b"[]", "x.bin": bytes(9)}
    assert verify(bundle(tmp_path / "b", {**files(), **more}))[0] == 0


@pytest.mark.parametrize("algorithm", ["sha256", " SHA256 ", "", None])
def test_the_digest_algorithm(tmp_path: Path, algorithm: Any) -> None:
    """SHA-256 in any case, or not said, is the one that there is."""
    assert verify(bundle(tmp_path / "b", files(), algo_id=algorithm))[0] == 0


def test_digests_are_compared_without_case_and_prefix(tmp_path: Path) -> None:
    """As the reference does: lower-cased, trimmed, with `sha256:` or without."""
    folder = bundle(tmp_path / "b", files())
    manifest = manifest_of(folder)
    for index, entry in enumerate(manifest["files"]):
        entry["sha256"] = ("sha256:" if index % 2 else " ") + entry["sha256"].upper() + " "
    manifest["files"][1]["sha256"] = manifest["files"][1]["sha256"].lower()
    written(folder / "manifest.json", manifest)
    assert verify(folder)[0] == 0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"algo_id": "sha512"}, INVALID),
        ({"files": None}, INVALID),
        ({"files": [{"path": "a", "sha256": "00"}]}, REFUSED),
        ({"files": [{"path": "", "sha256": "0" * 64}]}, INVALID),
        ({"files": [{"path": "a"}]}, REFUSED),
        ({"signatures": [{}]}, INVALID),
        ({"signatures": [{"alg": "ed25519", "key_id": "k", "sig": "s"}]}, INVALID),
        ({"files": "a"}, REFUSED),
        ({"files": []}, REFUSED),
        ({"Files": []}, REFUSED),
    ],
)
def test_a_manifest_that_breaks_its_rules(tmp_path: Path, change: Document, code: int) -> None:
    """Its schema is a rule of its own, exit code 3; what cannot be decoded does not verify."""
    folder = bundle(tmp_path / "b", files())
    written(folder / "manifest.json", {**manifest_of(folder), **change})
    assert verify(folder)[0] == code


@pytest.mark.parametrize("content", ["", "[]", "{", '{"files": [], "files": []}'])
def test_a_manifest_that_is_no_json_does_not_verify(tmp_path: Path, content: str) -> None:
    """As the reference has it, that is exit code 2."""
    folder = bundle(tmp_path / "b", files())
    (folder / "manifest.json").write_text(content)
    assert verify(folder)[0] == REFUSED


@pytest.mark.parametrize(
    "path", ["../outside", "/etc/hostname", "a/../../outside", "C:/x", "..", "\\x", "a\\..\\..\\x"]
)
def test_no_path_leaves_the_bundle(tmp_path: Path, path: str) -> None:
    """Strict or not, a path out of the folder is never opened."""
    written(tmp_path / "outside", "outside")
    digest = hashlib.sha256(b"outside").hexdigest()
    folder = bundle(tmp_path / "b", {})
    written(folder / "manifest.json", {"files": [{"path": path, "sha256": digest}]})
    for flags in ((), ("--strict",)):
        code, _, err = verify(folder, *flags)
        assert code == INVALID
        assert "structure.path_invalid" in err


@pytest.mark.parametrize("path", ["A.txt", "a//b", "./a", "a/", "a.", "a ", "a /b", "b./c"])
def test_strict_paths_have_one_way_to_be_written(tmp_path: Path, path: str) -> None:
    """What two file systems read differently is refused strictly."""
    folder = bundle(tmp_path / "b", {} if path.endswith("/") else {path: b"x"})
    entry = {"path": path, "sha256": hashlib.sha256(b"x").hexdigest()}
    written(folder / "manifest.json", {"files": [entry]})
    code, _, err = verify(folder, "--strict")
    assert code == INVALID
    assert "structure.path_ambiguous" in err


def test_a_path_twice_is_refused(tmp_path: Path) -> None:
    """Two entries for one file could contradict each other."""
    folder = bundle(tmp_path / "b", files())
    manifest = manifest_of(folder)
    written(folder / "manifest.json", {"files": manifest["files"] * 2})
    code, _, err = verify(folder)
    assert code == INVALID
    assert "structure.path_duplicate" in err


def test_strict_takes_no_file_that_is_not_listed(tmp_path: Path) -> None:
    """Without --strict an extra file is passed over."""
    folder = bundle(tmp_path / "b", files())
    written(folder / "data" / "extra.txt", "x")
    assert verify(folder)[0] == 0
    code, _, err = verify(folder, "--strict")
    assert code == REFUSED
    assert "structure.unlisted_file" in err


def test_strict_takes_no_symbolic_links(tmp_path: Path) -> None:
    """Neither a file, nor a folder, nor the bundle itself."""
    folder = bundle(tmp_path / "b", files())
    (tmp_path / "link").symlink_to(folder)
    assert verify(tmp_path / "link")[0] == 0
    assert verify(tmp_path / "link", "--strict")[0] == REFUSED
    (folder / "data" / "notes.txt").rename(tmp_path / "notes.txt")
    (folder / "data" / "notes.txt").symlink_to(tmp_path / "notes.txt")
    assert verify(folder)[0] == 0
    code, _, err = verify(folder, "--strict")
    assert code == REFUSED
    assert "structure.symlink_ambiguous" in err


def test_a_listed_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """What is no regular file does not verify, at once."""
    folder = bundle(tmp_path / "b", files())
    (folder / "data" / "notes.txt").unlink()
    os.mkfifo(folder / "data" / "notes.txt")
    assert verify(folder)[0] == REFUSED


def test_every_signature_of_a_manifest_must_hold(tmp_path: Path) -> None:
    """None is as bad as one that is another's."""
    folder = bundle(tmp_path / "b", files(), KEY)
    assert verify(folder, *SIGNED)[0] == 0
    signed = manifest_of(folder)
    digest = signed["signatures"][0]["signed_digest"]
    for signatures in (
        [],
        [detached(digest, OTHER)],
        [*signed["signatures"], detached(digest, OTHER)],
        [detached("0" * 64)],
        [detached(digest, raw=True)],
        [{**signed["signatures"][0], "alg": "Ed25519"}],
        [{**signed["signatures"][0], "of_tomorrow": 1}],
    ):
        written(folder / "manifest.json", {**signed, "signatures": signatures})
        assert verify(folder, *SIGNED)[0] == REFUSED


def test_a_signature_covers_every_member_of_a_manifest(tmp_path: Path) -> None:
    """Also those that nobody knows; strictly, such are refused."""
    folder = bundle(tmp_path / "b", files(), KEY, salt_id="s", of_tomorrow={"a": 1})
    assert verify(folder, *SIGNED)[0] == 0
    assert verify(folder, "--strict")[0] == INVALID
    signed = manifest_of(folder)
    for change in ({"salt_id": "t"}, {"of_tomorrow": 2}, {"files": signed["files"][:-1]}):
        written(folder / "manifest.json", {**signed, **change})
        assert verify(folder, *SIGNED)[0] == REFUSED
    del signed["algo_id"]  # the default is what was signed
    written(folder / "manifest.json", signed)
    assert verify(folder, *SIGNED)[0] == 0


def test_keys_of_bundles(tmp_path: Path) -> None:
    """No key is invalid input, and one that cannot be read does not verify: the reference's way."""
    folder = bundle(tmp_path / "b", files(), KEY)
    assert verify(folder, "--signatures")[0] == UNREADABLE
    assert verify(folder, "--signatures", "--public-key", "x")[0] == REFUSED
    other = OTHER.public_key().public_bytes_raw().hex()
    assert verify(folder, "--signatures", "--public-key", other)[0] == REFUSED
    assert verify(folder, "--public-key", PUBLIC.hex())[0] == 0


def test_a_bundle_is_a_folder(tmp_path: Path) -> None:
    """A file is none."""
    assert verify(written(tmp_path / "r.json", record()), "--bundle")[0] == UNREADABLE
