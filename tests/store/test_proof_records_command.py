"""`verify` of proof records on the command line: what is detected, told, and each exit code."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.store.proof_support import (
    KEY,
    PUBLIC,
    REPOSITORY,
    SIGNED,
    as_folder,
    bundle,
    chain,
    linked,
    record,
    verify,
    written,
)

GUIDE = REPOSITORY / "docs" / "proof-records.md"
COMMAND = Path(sys.executable).with_name("intentproof-otel")


def test_a_pass_is_told_and_a_failure_is_one_line(tmp_path: Path) -> None:
    """JSON on success alone, sorted and indented; a failure has nothing on stdout."""
    path = written(tmp_path / "r.json", record(key=KEY))
    code, out, err = verify(path, "--json", *SIGNED)
    assert (code, err) == (0, "")
    assert out == json.dumps(json.loads(out), indent=2, sort_keys=True) + "\n"
    code, out, err = verify(written(path, record() | {"source": "x"}), "--json")
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_what_a_terminal_would_obey_is_escaped(tmp_path: Path) -> None:
    """A record's text does not reach a terminal raw."""
    records = linked(2)
    records[1] = {**records[1], "record_id": "\x1b[2J\u202e"}
    _, _, err = verify(written(tmp_path / "c.json", chain(records)))
    assert "\\x1b" in err or "\\u001b" in err
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", err)


def test_a_missing_path(tmp_path: Path) -> None:
    """Nothing there is invalid input."""
    for name in ("none.json", "none.jsonl", "none.zip"):
        assert verify(tmp_path / name)[0] == 6
    for flag in ("--chain", "--bundle", "--strict", "--signatures"):
        assert verify(tmp_path / "none", flag)[0] == 6


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '{"a": 1}'),
        ("a", '\n {"a": 1}'),
        ("a.json", '["a"]'),
        ("a.zip", "PK"),
        ("a.txt", "text"),
        ("a", ""),
    ],
)
def test_an_unknown_artifact(tmp_path: Path, name: str, content: str) -> None:
    """What is no artifact that anybody knows is invalid input, whatever it is called."""
    assert verify(written(tmp_path / name, content))[0] == 6


def test_a_file_of_many_lines_is_verified_by_its_folder(tmp_path: Path) -> None:
    """As a file it is not one object; the message says what to do."""
    lines = "\n".join(map(json.dumps, linked(2)))
    code, _, err = verify(written(tmp_path / "c" / "chain.jsonl", lines))
    assert code == 6
    assert "folder" in err
    assert verify(tmp_path / "c")[0] == 0


def test_a_store_is_still_a_store(tmp_path: Path) -> None:
    """A folder with `events` or `log` is judged as a store, JSON files in it or not."""
    (tmp_path / "log").mkdir()
    written(tmp_path / "x.json", record())
    code, out, _ = verify(tmp_path)
    assert code == 2
    assert out.startswith("INCOMPLETE")


@pytest.mark.parametrize(
    "flags", [("--key", "k"), ("--known", "c"), ("--policy", "p"), ("--tenant", "t"), ("--sealed",)]
)
def test_a_flag_that_would_be_ignored_is_refused(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """A flag of stores and receipts promises a check that proof records do not get."""
    path = written(tmp_path / "r.json", record())
    code, _, err = verify(path, *flags)
    assert code == 6
    assert flags[0] in err


def test_a_bundle_of_ours_is_a_bundle_too(tmp_path: Path) -> None:
    """With --bundle, an archive goes to the judge of our own bundles."""
    path = tmp_path / "b.tar.zst"
    path.write_bytes(bytes.fromhex("28b52ffd"))
    code, out, err = verify(path, "--bundle")
    assert (code, out.split(":")[0], err) == (2, "TAMPERED", "")


def test_flags_of_proof_records_need_a_path() -> None:
    """The store of --store is never taken for proof records."""
    assert verify("--chain")[0] == 6


def test_the_held_head_is_for_chains(tmp_path: Path) -> None:
    """A single record has no end that could be cut off."""
    path = written(tmp_path / "r.json", record())
    assert verify(path, "--head", "sha256:" + "0" * 64)[0] == 6


@pytest.mark.parametrize("head", ["", "0" * 64, "sha256:" + "A" * 64, f"sha256:{'0' * 64}\n"])
def test_a_held_head_has_the_form_of_a_hash(tmp_path: Path, head: str) -> None:
    """A slip in what was given is not told as tampering."""
    path = written(tmp_path / "c.json", chain(linked(2)))
    code, _, err = verify(path, "--head", head)
    assert code == 6
    assert "--head" in err


def test_a_wrong_command_line_is_invalid_input(tmp_path: Path) -> None:
    """An unknown flag is exit code 6 here, 1 to the reference: 2 would mean tampering."""
    done = subprocess.run(
        [COMMAND, "verify", tmp_path, "--no-such-flag"], capture_output=True, check=False
    )
    assert done.returncode == 6


def _table() -> list[list[str]]:
    lines = GUIDE.read_text().split("## What is stricter")[1].splitlines()
    rows = [line.strip("|").split("|") for line in lines if re.match(r"\| \d", line)]
    return [[cell.strip() for cell in row] for row in rows]


def test_the_guide_names_a_test_for_each_weak_spot() -> None:
    """Ten weak spots, each with the name of a test that is there."""
    texts = "".join(path.read_text() for path in Path(__file__).parent.glob("test_proof_rec*.py"))
    rows = _table()
    assert [row[0] for row in rows] == [str(number) for number in range(1, 11)]
    for row in rows:
        names = re.findall(r"`(test_\w+)`", row[-1])
        assert names
        assert [name for name in names if f"def {name}(" not in texts] == []


def _gate() -> str:
    found = re.search(r"```sh\n(#!/bin/sh\n.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def _run_gate(folder: Path, *argv: object) -> tuple[int, str]:
    script = written(folder / "gate.sh", _gate())
    place = {"PATH": f"{COMMAND.parent}:/usr/bin:/bin", "HOME": str(folder)}
    done = subprocess.run(
        ["sh", script, *map(str, argv)],
        capture_output=True,
        text=True,
        check=False,
        env=place,
        cwd=folder,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_gate_of_the_guide(tmp_path: Path) -> None:
    """The script as printed passes what holds, and stops the pipeline by what is wrong."""
    key = PUBLIC.hex()
    good = bundle(tmp_path / "b", {"chain.json": json.dumps(chain(linked(2))).encode()}, KEY)
    code, told = _run_gate(tmp_path, good, key)
    assert (code, "evidence holds" in told) == (0, True)
    (good / "chain.json").write_text("{}")
    code, told = _run_gate(tmp_path, good, key)
    assert (code, "does not hold" in told) == (1, True)
    code, told = _run_gate(tmp_path, as_folder(tmp_path / "c", linked(2, KEY)), key)
    assert (code, "evidence holds" in told) == (0, True)
    code, told = _run_gate(tmp_path, tmp_path / "none", key)
    assert (code, "cannot be read" in told) == (1, True)


def test_the_flags_are_in_the_guide() -> None:
    """Every flag of proof records stands in the guide."""
    _, out, _ = _help()
    ours = out.partition("proof records (docs")[2].partition("everywhere")[0]
    flags = set(re.findall(r"--[a-z-]+", ours))
    assert {"--chain", "--bundle", "--signatures", "--public-key", "--strict", "--head"} <= flags
    text = GUIDE.read_text()
    assert [flag for flag in sorted(flags) if f"`{flag}" not in text] == []


def _help() -> tuple[int, str, str]:
    done = subprocess.run([COMMAND, "verify", "--help"], capture_output=True, text=True, check=True)
    return done.returncode, done.stdout, done.stderr


def test_what_cannot_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    """An error of the disk is invalid input and no traceback, also in the middle of a folder."""
    as_folder(tmp_path / "c", linked(1))
    (tmp_path / "c" / "9999.json").symlink_to("/proc/self/mem")
    (tmp_path / "c" / "chain.json").symlink_to("chain.json")
    code, out, err = verify(tmp_path / "c")
    assert (code, out, err.count("\n")) == (6, "", 1)
    code, out, err = verify(Path("/proc/self/mem"), "--strict")
    assert (code, out, err.count("\n")) == (6, "", 1)
    assert verify(tmp_path / ("x" * 300 + ".json"), "--strict")[0] == 6
