"""Proof records: the published vectors, hashes, ids, and what a reader must not let pass."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from intentproof_store.proofrecords import Unreadable
from intentproof_store.proofrecords.hashing import jcs
from intentproof_store.proofrecords.moment import read_moment
from intentproof_store.proofrecords.record import read_record
from intentproof_store.proofrecords.strictjson import read_object

from tests.examples import examples
from tests.store.proof_support import (
    SIGNED,
    Document,
    as_folder,
    edge_cases,
    hashed,
    payload,
    record,
    vector,
    verify,
    written,
)

REFUSED, UNREADABLE = 2, 6
_NAMES = [case["name"] for case in edge_cases()]


@pytest.mark.parametrize("case", edge_cases(), ids=_NAMES)
def test_a_vector_s_payload_and_hash(case: Document) -> None:
    """The canonical payload is the vector's, byte for byte, and its hash the record's."""
    found = read_record(case["record"])
    assert found.payload().decode() == case["canonical_payload_utf8"]
    assert found.hash() == case["record"]["integrity"]["record_hash"]
    assert found.derived_id() == case["record"]["record_id"]


@pytest.mark.parametrize("case", edge_cases(), ids=_NAMES)
def test_a_vector_is_verified(tmp_path: Path, case: Document) -> None:
    """Each signed vector holds, but for the one with integers that two readers read differently."""
    code, out, err = verify(written(tmp_path / "r.json", case["record"]), *SIGNED)
    if case["name"] == "event_numbers":
        assert (code, out) == (UNREADABLE, "")
        assert "beyond 2^53" in err
    else:
        assert (code, out) == (0, "Record verified.\n")


def test_the_worked_example() -> None:
    """The example of the specification hashes as it says."""
    path = vector("signing-verify-round-trip.input-record.json")
    found = read_record(read_object(path.read_bytes(), "it"))
    assert found.hash() == "sha256:1755a5813924d92563761e37127941dbee4175329b8dbaa6eeb35d2d9eee7a29"
    assert found.derived_id() == found.record_id == "prf-2026-02-18T12:00:00Z-a85a3b15"
    code, out, _ = verify(path, "--json", "--strict")
    assert code == 0
    assert out == (
        '{\n  "kind": "record",\n  "ok": true,\n'
        '  "record_id": "prf-2026-02-18T12:00:00Z-a85a3b15"\n}\n'
    )


def test_a_record_with_metadata_and_a_type_of_its_own(tmp_path: Path) -> None:
    """The published `compiled_action` holds, as one line of a file too."""
    line = vector("compiled-action-chain-round-trip.input-records.jsonl").read_bytes()
    path = tmp_path / "one.jsonl"
    path.write_bytes(line)
    assert verify(path, "--strict")[0] == 0


def test_a_record_without_id_and_type_is_no_artifact() -> None:
    """What has neither id nor type is not known to be a record at all."""
    code, out, err = verify(vector("schema-validation-reject.invalid-record-missing-type.json"))
    assert (code, out) == (UNREADABLE, "")
    assert "unsupported artifact type" in err


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=3
        )
    ),
    max_leaves=8,
)
_EVENTS = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), _VALUES, max_size=4)


def _doubles(value: Any) -> Any:
    """Every number as the double that it is, as Go reads it."""
    if isinstance(value, dict):
        return {key: _doubles(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_doubles(item) for item in value]
    return float(value) if type(value) is int else value


@settings(max_examples=examples(500), deadline=None)
@given(event=_EVENTS, metadata=st.none() | _EVENTS)
@example(event={"n": 2**53, "m": -(2**53), "z": -0.0}, metadata=None)
def test_hashes_are_what_the_specification_says(event: Document, metadata: Document | None) -> None:
    """Any event and metadata hash as a second implementation of the rules hashes them."""
    extra = {} if metadata is None else {"metadata": metadata}
    made = record(event=_doubles(event), **_doubles(extra))
    again = read_object(json.dumps({**made, "event": event, **extra}).encode(), "it")
    found = read_record(again)
    assert found.hash() == made["integrity"]["record_hash"]
    assert found.derived_id() == made["record_id"]


@settings(max_examples=examples(300), deadline=None)
@given(event=_EVENTS, data=st.data())
def test_a_hash_does_not_depend_on_how_the_json_is_written(
    event: Document, data: st.DataObject
) -> None:
    """Order of members, white space, escapes, another zone and a fraction change nothing."""
    made = {**record(event=_doubles(event)), "event": event}
    keys = data.draw(st.permutations(sorted(made)))
    indent = data.draw(st.sampled_from([None, 1, "\t"]))
    text = json.dumps(
        {key: made[key] for key in keys}, indent=indent, ensure_ascii=data.draw(st.booleans())
    )
    assert '"2026-02-18T12:01:00Z"' in text
    shifted = text.replace('"2026-02-18T12:01:00Z"', '"2026-02-18T14:01:00.7+02:00"')
    other = read_object(shifted.encode(), "it")
    assert read_record(other).hash() == read_record(made).hash()


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("12345678901234567890", "12345678901234567000"),
        ("9007199254740993", "9007199254740992"),
        ("9007199254740992", "9007199254740992"),
        ("1.0", "1"),
        ("-0", "0"),
        ("1e20", "100000000000000000000"),
        ("1e21", "1e+21"),
        ("1e-400", "0"),
        ('"<>&\u2028\u2029"', '"<>&\u2028\u2029"'),
    ],
)
def test_numbers_are_doubles_and_text_stays_raw(text: str, canonical: str) -> None:
    """Numbers become doubles before they are written, and no character is escaped needlessly."""
    assert jcs(json.loads(text)).decode() == canonical


@pytest.mark.parametrize(
    ("given_controls", "kept"),
    [
        (None, {"permissions_enforced": False}),
        ({}, {"permissions_enforced": False}),
        ({"within_scope": None, "approved_scope": ""}, {"permissions_enforced": False}),
        ({"within_scope": False}, {"permissions_enforced": False, "within_scope": False}),
        ({"guardrails_active": []}, {"permissions_enforced": False}),
        (
            {"guardrails_active": [{}, None]},
            {
                "permissions_enforced": False,
                "guardrails_active": [{"name": "", "status": "", "triggered": False}] * 2,
            },
        ),
        ({"human_oversight": None}, {"permissions_enforced": False}),
        (
            {"human_oversight": {"reviewer": ""}},
            {"permissions_enforced": False, "human_oversight": {"approval_required": False}},
        ),
    ],
)
def test_controls_are_normalised_before_they_are_hashed(
    given_controls: Document | None, kept: Document
) -> None:
    """What Go drops is dropped, and what it always writes is written."""
    made = record(controls=kept)
    assert (
        read_record({**made, "controls": given_controls}).hash()
        == (made["integrity"]["record_hash"])
    )


def test_absent_controls_are_those_of_no_permission() -> None:
    """A record without controls hashes as one whose permissions are not enforced."""
    made = record(controls={"permissions_enforced": False})
    del made["controls"]
    assert read_record(made).hash() == made["integrity"]["record_hash"]


def test_empty_metadata_is_not_absent_metadata(tmp_path: Path) -> None:
    """The two hash differently, and strictly the empty one is refused: saving it breaks it."""
    empty, absent = record(metadata={}), record()
    assert empty["integrity"] != absent["integrity"]
    path = written(tmp_path / "r.json", empty)
    assert verify(path)[0] == 0
    assert verify(path, "--strict")[0] == REFUSED
    del empty["metadata"]
    assert verify(written(path, empty))[0] == REFUSED


ACCEPTED = {
    "2026-02-18T12:00:00Z": "2026-02-18T12:00:00Z",
    "2026-02-18T12:00:00,5Z": "2026-02-18T12:00:00Z",
    "2026-02-18T12:00:00.12345678901234Z": "2026-02-18T12:00:00Z",
    "2026-02-18T12:00:00.999999999Z": "2026-02-18T12:00:00Z",
    "2026-02-18T1:00:00Z": "2026-02-18T01:00:00Z",
    "2026-02-18T12:00:00-24:00": "2026-02-19T12:00:00Z",
    "2026-02-18T12:00:00+24:00": "2026-02-17T12:00:00Z",
    "2026-02-18T12:00:00+05:30": "2026-02-18T06:30:00Z",
    "2024-02-29T23:59:59Z": "2024-02-29T23:59:59Z",
    "0001-01-02T00:00:00Z": "0001-01-02T00:00:00Z",
}


@pytest.mark.parametrize(("text", "seconds"), ACCEPTED.items())
def test_a_time_that_go_takes(text: str, seconds: str) -> None:
    """A time is UTC in whole seconds, cut and not rounded, once it counts."""
    assert read_moment(text, "it").seconds_text() == seconds


def test_a_time_is_written_again_as_go_writes_it() -> None:
    """The shortest fraction, two digits of the hour, `Z` where there is no offset."""
    texts = {
        "2026-02-18T1:00:00,500Z": "2026-02-18T01:00:00.5Z",
        "2026-02-18T12:00:00.000+00:00": "2026-02-18T12:00:00Z",
        "2026-02-18T12:00:00-05:30": "2026-02-18T12:00:00-05:30",
        "2026-02-18T12:00:00.1234567899Z": "2026-02-18T12:00:00.123456789Z",
    }
    assert {text: read_moment(text, "it").text() for text in texts} == texts


@pytest.mark.parametrize(
    "text",
    [
        *("2026-02-18t12:00:00Z", "2026-02-18T12:00:00z", "2026-02-18 12:00:00Z"),
        *("2026-02-18T24:00:00Z", "2026-02-18T12:00:60Z", "2026-02-18T12:60:00Z"),
        *("2026-02-18T12:00:00", "2026-02-18T12:00:00+0200", "2026-02-18T12:00Z"),
        *("2026-02-30T12:00:00Z", "2026-13-01T12:00:00Z", "2025-02-29T12:00:00Z"),
        *("2026-02-18T12:00:00+25:00", "2026-02-18T12:00:00+02:61", "2026-02-18T12:00:00.Z"),
        *("", " 2026-02-18T12:00:00Z", "2026-02-18T12:00:00Z\n", "26-02-18T12:00:00Z"),
        *("2026-02-18T12:00:00ZZ", "٢٠٢٦-02-18T12:00:00Z", "not a time", "2026-2-18T12:00:00Z"),
        *("0000-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "+2026-02-18T12:00:00Z"),
    ],
)
def test_a_time_that_go_refuses(tmp_path: Path, text: str) -> None:
    """What is no time to Go is none here, and that is input of a wrong form."""
    with pytest.raises(Unreadable):
        read_moment(text, "it")
    code, _, err = verify(written(tmp_path / "r.json", record() | {"timestamp": text}))
    assert code == UNREADABLE
    assert "timestamp" in err


@pytest.mark.parametrize("timestamp", [None, "0001-01-01T00:00:00Z", ...])
def test_no_time_is_a_record_that_does_not_hold(tmp_path: Path, timestamp: Any) -> None:
    """A missing time, null and Go's zero are required of a record, and are no wrong form."""
    made = record()
    del made["timestamp"]
    changed = made if timestamp is ... else {**made, "timestamp": timestamp}
    code, _, err = verify(written(tmp_path / "r.json", changed))
    assert (code, err) == (REFUSED, "verify: timestamp is required\n")


def _swapped(old: str, new: str) -> str:
    text = json.dumps(record())
    assert old in text
    return text.replace(old, new, 1)


_TRAPS = {
    "duplicate key": _swapped('"number": 1', '"number": 1, "number": 1'),
    "duplicate key by an escape": _swapped('"number": 1', '"number": 1, "n\\u0075mber": 1'),
    "duplicate event": _swapped('"event": {', '"event": {}, "event": {'),
    "case of record_id": _swapped('"record_id"', '"Record_ID"').replace(
        '"source"', '"record_id": "x", "source"', 1
    ),
    "case of another": _swapped('"source_product"', '"SOURCE_PRODUCT"'),
    "case by a long s": _swapped('"source":', '"\u017fource":'),
    "case within controls": _swapped('"permissions_enforced"', '"Permissions_Enforced"'),
    "case within integrity": _swapped('"record_hash"', '"Record_Hash"'),
    "NaN": _swapped('"number": 1', '"number": NaN'),
    "Infinity": _swapped('"number": 1', '"number": -Infinity'),
    "1e400": _swapped('"number": 1', '"number": 1E400'),
    "integer beyond 2^53": _swapped('"number": 1', '"number": 9007199254740993'),
    "negative integer beyond": _swapped('"number": 1', '"number": -9007199254740993'),
    "endless integer": _swapped('"number": 1', f'"number": {"9" * 10_000}'),
    "lone surrogate": _swapped('"allow"', '"\\ud800"'),
    "lone surrogate in a key": _swapped('"action"', '"\\udc00"'),
    "leading zero": _swapped('"number": 1', '"number": 01'),
    "trailing comma": _swapped('"number": 1', '"number": 1,'),
    "trailing data": json.dumps(record()) + "{}",
    "two records": json.dumps(record()) + "\n" + json.dumps(record(2)),
    "byte-order mark": "\ufeff" + json.dumps(record()),
    "control character": _swapped('"allow"', '"al\x01low"'),
    "too deep": _swapped('"number": 1', f'"number": {"[" * 200 + "]" * 200}'),
    "far too deep": _swapped('"number": 1', f'"number": {"[" * 100_000 + "]" * 100_000}'),
    "an array": "[]",
    "nothing": "",
    "no JSON": "record",
    "id of a wrong type": _swapped(json.dumps(record()["record_id"]), "7"),
    "event of a wrong type": _swapped('{"action": "allow", "number": 1}', '["allow"]'),
    "controls of a wrong type": _swapped('{"permissions_enforced": true}', '"yes"'),
    "flag of a wrong type": _swapped('"permissions_enforced": true', '"permissions_enforced": 1'),
    "time of a wrong type": _swapped('"2026-02-18T12:01:00Z"', "1"),
    "agent of a wrong type": _swapped('"event"', '"agent_id": [], "event"'),
    "metadata of a wrong type": _swapped('"event"', '"metadata": [], "event"'),
    "guardrails of a wrong type": _swapped(
        '"permissions_enforced": true', '"guardrails_active": {}'
    ),
}


@pytest.mark.parametrize("text", _TRAPS.values(), ids=_TRAPS)
def test_what_two_readers_read_differently_is_refused(tmp_path: Path, text: str) -> None:
    """Each trap is input of a wrong form, also where Go would take it."""
    path = tmp_path / "r.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    code, out, err = verify(path)
    assert (code, out) == (UNREADABLE, "")
    assert err.startswith("verify: ")
    assert err.count("\n") == 1


def test_invalid_utf_8_is_refused(tmp_path: Path) -> None:
    """A byte that is no UTF-8 is not replaced by another."""
    path = tmp_path / "r.json"
    path.write_bytes(json.dumps(record()).encode().replace(b"allow", b"al\xfflow"))
    assert verify(path)[0] == UNREADABLE


def test_null_for_a_string_is_the_empty_one(tmp_path: Path) -> None:
    """As Go has it: null is no agent, and no source is a record that does not hold."""
    assert verify(written(tmp_path / "r.json", record() | {"agent_id": None}))[0] == 0
    code, _, err = verify(written(tmp_path / "r.json", record() | {"source": None}))
    assert (code, err) == (REFUSED, "verify: source is required\n")


@pytest.mark.parametrize(
    "name", ["record_version", "source", "source_product", "record_type", "event", "integrity"]
)
def test_what_every_record_has(tmp_path: Path, name: str) -> None:
    """A record that lacks a required member does not hold; blank text counts as none."""
    made = record()
    blank = hashed({**made, name: " \t"}) if isinstance(made[name], str) else {**made, name: None}
    assert verify(written(tmp_path / "r.json", blank))[0] == REFUSED
    del made[name]
    assert verify(written(tmp_path / "r.json", made))[0] == REFUSED


@pytest.mark.parametrize("name", ["record_version", "source", "source_product", "record_type"])
def test_every_member_is_covered_by_the_hash(tmp_path: Path, name: str) -> None:
    """A changed member is refused."""
    made = record(record_id="mine", agent_id="a", metadata={"a": 1})
    changed = {**made, name: "incident" if name == "record_type" else "other"}
    assert verify(written(tmp_path / "r.json", made))[0] == 0
    for other in (
        changed,
        {**made, "agent_id": "b"},
        {**made, "metadata": {"a": 2}},
        {**made, "record_id": "yours"},
        {**made, "timestamp": "2026-02-18T12:01:01Z"},
        {**made, "controls": {"permissions_enforced": False}},
        {**made, "relationship": {}},
        {**made, "integrity": {**made["integrity"], "previous_record_hash": "sha256:" + "a" * 64}},
    ):
        code, _, err = verify(written(tmp_path / "r.json", other))
        assert code == REFUSED
        assert "record hash mismatch" in err


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """A folder with a pipe among its records is refused at once."""
    as_folder(tmp_path, [record()])
    os.mkfifo(tmp_path / "zz.json")
    assert verify(tmp_path, "--chain")[0] == UNREADABLE


def test_the_second_implementation_agrees_with_the_vectors() -> None:
    """What these tests make records with hashes the vectors as the vectors do."""
    plain = ("minimal", "controls_full", "previous_hash_linked", "relationship")
    for case in edge_cases():
        if case["name"] in plain:
            made = payload(case["record"])
            assert jcs(made).decode() == case["canonical_payload_utf8"]
            digest = hashlib.sha256(jcs(made)).hexdigest()
            assert hashed(case["record"])["integrity"]["record_hash"] == f"sha256:{digest}"
