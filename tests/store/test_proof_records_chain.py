"""Chains of proof records: as an object, as a folder, framed by `chain.json`."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_store.proofrecords import Asked, NotVerified
from intentproof_store.proofrecords.chain import verify_chain
from intentproof_store.proofrecords.folder import framed

from tests.examples import examples
from tests.store.proof_support import (
    Document,
    as_folder,
    chain,
    linked,
    record,
    relinked,
    vector,
    verify,
    written,
)

REFUSED, UNREADABLE = 2, 6


def copied(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "records.jsonl").write_bytes(vector(name).read_bytes())
    return folder


def test_the_published_chain_is_intact(tmp_path: Path) -> None:
    """Ten records in a file of lines in a folder are a chain, told as the reference tells it."""
    folder = copied(tmp_path / "c", "chain-tamper-detection.input-records.jsonl")
    head = "sha256:f7d125de6c13347e9c257e054bef42e68faed86f4554a5d1bd38b8bba41e197a"
    assert verify(folder)[:2] == (0, "Chain intact. 10 records. No gaps.\n")
    code, out, _ = verify(folder, "--chain", "--json", "--strict", "--head", head)
    assert code == 0
    assert json.loads(out) == {"head_hash": head, "kind": "chain", "ok": True, "records": 10}
    assert out == json.dumps(json.loads(out), indent=2, sort_keys=True) + "\n"


def test_the_published_tampered_chain_breaks_at_its_fifth_record(tmp_path: Path) -> None:
    """The first failure stops, with its index from 0 and its id, and nothing on stdout."""
    folder = copied(tmp_path / "c", "chain-tamper-detection.tamper-record-5.jsonl")
    code, out, err = verify(folder, "--json")
    assert (code, out) == (REFUSED, "")
    assert "record 5 of 10 (break_index 4, break_point 'prf-2026-02-18T11:04:00Z-4a4e7aeb')" in err


def test_a_chain_object_is_intact(tmp_path: Path) -> None:
    """One object with `records` is a chain, strictly too."""
    path = written(tmp_path / "chain.json", chain(linked(3)))
    assert verify(path, "--strict", "--chain")[:2] == (0, "Chain intact. 3 records. No gaps.\n")


def test_a_folder_is_read_in_the_order_of_the_reference(tmp_path: Path) -> None:
    """JSON files by name, then files of lines by name, blank lines and other files passed over."""
    records = linked(5)
    folder = as_folder(tmp_path / "c", records[:2])
    lines = "\n\n".join(json.dumps(each) for each in records[2:4]) + "\n \n"
    written(folder / "a.jsonl", lines)
    written(folder / "b.jsonl", json.dumps(records[4]))
    written(folder / "README.txt", "not a record")
    assert verify(folder)[:2] == (0, "Chain intact. 5 records. No gaps.\n")


def test_chain_json_alone_is_the_chain_of_a_folder(tmp_path: Path) -> None:
    """Without record files the folder's chain is what `chain.json` holds."""
    written(tmp_path / "c" / "chain.json", chain(linked(3)))
    assert verify(tmp_path / "c")[0] == 0


def test_chain_json_frames_the_records_beside_it(tmp_path: Path) -> None:
    """Record files and `chain.json` must tell the same: the reference ignores the latter."""
    records = linked(4)
    folder = as_folder(tmp_path / "c", records)
    written(folder / "chain.json", chain(records))
    assert verify(folder)[0] == 0
    (folder / "0004.json").unlink()
    code, _, err = verify(folder)
    assert code == REFUSED
    assert "differ at record 4" in err


def test_one_is_not_true_between_chain_json_and_its_records(tmp_path: Path) -> None:
    """A record file that differs from its chain by what Python calls equal is another."""
    records = linked(2)
    folder = as_folder(tmp_path / "c", records)
    written(folder / "chain.json", chain(records))
    other = copy.deepcopy(records[0])
    other["event"]["number"] = True
    written(folder / "0001.json", other)
    assert verify(folder)[0] == REFUSED


_MUTATIONS: dict[str, Callable[[list[Document]], list[Document]]] = {
    "first gone": lambda records: records[1:],
    "middle gone": lambda records: [*records[:2], *records[3:]],
    "two swapped": lambda records: [records[0], records[2], records[1], *records[3:]],
    "one twice": lambda records: [*records[:2], records[1], *records[2:]],
    "one from elsewhere": lambda records: [*records[:2], record(77), *records[2:]],
    "an event changed": lambda records: _changed(records, "event", {"action": "deny"}),
    "an id changed": lambda records: _changed(records, "record_id", "mine"),
    "a hash changed": lambda records: _changed(
        records, "integrity", {**records[2]["integrity"], "record_hash": "sha256:" + "0" * 64}
    ),
}


def _changed(records: list[Document], name: str, value: Any) -> list[Document]:
    return [*records[:2], {**records[2], name: value}, *records[3:]]


@pytest.mark.parametrize("mutation", _MUTATIONS)
def test_a_mutated_chain_is_broken(tmp_path: Path, mutation: str) -> None:
    """As an object whose count and head were mended too, and as a folder."""
    records = _MUTATIONS[mutation](linked(5))
    path = written(tmp_path / "chain.json", chain(records))
    code, _, err = verify(path)
    assert code == REFUSED
    assert "chain broken at record" in err
    assert verify(as_folder(tmp_path / "c", records))[0] == REFUSED


@pytest.mark.parametrize(
    "change",
    [
        {"record_count": 2},
        {"record_count": 4},
        {"head_hash": "sha256:" + "0" * 64},
        {"head_hash": ""},
        {"head_hash": None},
        {"of_tomorrow": 1},
    ],
)
def test_a_frame_that_differs_is_refused(tmp_path: Path, change: Document) -> None:
    """Count and head are those of the records, and no member is without cover."""
    path = written(tmp_path / "chain.json", {**chain(linked(3)), **change})
    assert verify(path)[0] == REFUSED


def test_a_frame_without_a_count_is_refused_strictly(tmp_path: Path) -> None:
    """What would show a cut-off end is asked for, and so are id and time."""
    for name in ("record_count", "chain_id", "created_at"):
        made = chain(linked(3))
        del made[name]
        path = written(tmp_path / "chain.json", made)
        assert verify(path)[0] == 0
        assert verify(path, "--strict")[0] == REFUSED


@pytest.mark.parametrize(
    "change",
    [
        {"record_count": "3"},
        {"record_count": 3.0},
        {"records": {}},
        {"records": [1]},
        {"created_at": "yesterday"},
        {"chain_id": 1},
        {"signatures": {}},
        {"signatures": [1]},
        {"Chain_ID": "x"},
    ],
)
def test_a_chain_of_a_wrong_form_cannot_be_read(tmp_path: Path, change: Document) -> None:
    """A wrong type is invalid input, as it is to the reference's decoder."""
    assert verify(written(tmp_path / "c.json", {**chain(linked(3)), **change}))[0] == UNREADABLE


def test_the_held_head_shows_a_cut_off_end(tmp_path: Path) -> None:
    """Who holds the last hash sees that a chain was cut and its frame mended."""
    records = linked(4)
    head = records[-1]["integrity"]["record_hash"]
    whole = written(tmp_path / "chain.json", chain(records))
    assert verify(whole, "--head", head)[0] == 0
    cut = written(tmp_path / "chain.json", chain(records[:3]))
    assert verify(cut)[0] == 0  # no hash can show it
    code, _, err = verify(cut, "--head", head)
    assert code == REFUSED
    assert "records are missing" in err
    assert verify(as_folder(tmp_path / "c", records[:3]), "--head", head)[0] == REFUSED


@settings(max_examples=examples(300), deadline=None)
@given(
    count=st.integers(1, 8),
    order=st.randoms(use_true_random=False),
    length=st.integers(0, 9),
)
def test_only_the_chain_itself_is_intact(count: int, order: Any, length: int) -> None:
    """Of all selections and orders of a chain's records, none passes but its beginnings."""
    records = linked(count)
    picked = [order.choice(records) for _ in range(length)]
    made = framed(chain(picked))
    if picked and picked == records[: len(picked)]:
        verify_chain(made, Asked())
    else:
        with pytest.raises(NotVerified):
            verify_chain(made, Asked())


def test_a_rehashed_chain_passes_and_says_what_that_means(tmp_path: Path) -> None:
    """Who can write can hash it all again: a pass without signatures says so on stderr."""
    records = linked(3)
    records[1]["event"] = {"action": "deny"}
    records[1] = record(2, event={"action": "deny"})
    code, _, err = verify(written(tmp_path / "chain.json", chain(relinked(records))))
    assert code == 0
    assert "no signature was checked" in err


def test_record_files_of_another_kind_are_not_passed_over(tmp_path: Path) -> None:
    """A JSON file in a chain's folder that is no record is a wrong form or a broken chain."""
    folder = as_folder(tmp_path / "c", linked(2))
    written(folder / "zz.json", {"name": "package"})
    assert verify(folder)[0] == REFUSED
    written(folder / "zz.json", [1])
    assert verify(folder)[0] == UNREADABLE
