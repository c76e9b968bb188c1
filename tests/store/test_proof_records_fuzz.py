"""Proof records of any form at all: an answer or an error of ours, never another."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_store.proofrecords import Asked, RecordsInvalid, verify_path

from tests.examples import examples
from tests.store.proof_support import (
    KEY,
    PUBLIC,
    Document,
    bundle,
    chain,
    detached,
    linked,
    record,
    sha256,
    text,
)

_ASKED = Asked(signatures=True, public_key=PUBLIC.hex())
_FULL: Document = {
    "controls": {
        "permissions_enforced": True,
        "approved_scope": "s",
        "within_scope": False,
        "guardrails_active": [{"name": "n", "status": "s", "triggered": True}],
        "human_oversight": {"approval_required": True, "reviewer": "r"},
    },
    "relationship": {
        "parent_ref": {"kind": "trace", "id": "t"},
        "entity_refs": [{"kind": "tool", "id": "t"}],
        "policy_ref": {"policy_id": "p", "matched_rule_ids": ["r"]},
        "edges": [
            {
                "kind": "calls",
                "from": {"kind": "agent", "id": "a"},
                "to": {"kind": "tool", "id": "t"},
            }
        ],
        "agent_chain": [{"identity": "i", "role": "requester"}],
        "agent_lineage": [{"agent_id": "a"}],
    },
    "metadata": {"a": [1, 1.5, None]},
    "agent_id": "a",
}
_GAIT: Document = {"trace_id": "t", "verdict": "allow"}
_DOCUMENTS: list[Document] = [
    record(key=KEY, **_FULL),
    chain([record(key=KEY, **_FULL)], KEY),
    chain(linked(3), KEY),
    {**_GAIT, "signature": detached(sha256(_GAIT), raw=True)},
]
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["2026-02-18T12:00:00Z", "sha256:" + "a" * 64, "\ud800", "base64:AA=="]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path to a value within a document."""
    found = [path] if path else []
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            found += _places(item, (*path, key))
    return found


def _replaced(document: Document, path: tuple[Any, ...], value: Any, key: str | None) -> Document:
    changed = copy.deepcopy(document)
    holder: Any = changed
    for step in path[:-1]:
        holder = holder[step]
    if key is not None and isinstance(holder, dict):
        holder[key] = holder.pop(path[-1])
    else:
        holder[path[-1]] = value
    return changed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def _accepted(path: Path) -> bool:
    try:
        verify_path(path, _ASKED)
    except RecordsInvalid as error:
        return error.exit_code not in (2, 3, 6, 7)
    return True


@pytest.mark.parametrize("number", range(len(_DOCUMENTS)))
def test_the_documents_hold(folder: Path, number: int) -> None:
    """What is changed below holds as it is."""
    path = folder / "it.json"
    path.write_bytes(text(_DOCUMENTS[number]))
    assert _accepted(path)


@settings(max_examples=examples(2000), deadline=None)
@given(data=st.data())
def test_a_changed_signed_document_is_refused_with_an_error_of_ours(
    folder: Path, data: st.DataObject
) -> None:
    """Any value of any document replaced by any other: refused, or the very same hash."""
    document = data.draw(st.sampled_from(_DOCUMENTS))
    place = data.draw(st.sampled_from(_places(document)))
    key = data.draw(st.none() | st.text(max_size=12) | st.sampled_from(["Event", "records"]))
    changed = _replaced(document, place, data.draw(_JSON), key)
    path = folder / "it.json"
    path.write_bytes(json.dumps(changed).encode())
    if _accepted(path):
        assert _unchanged(document, changed)


def _unchanged(before: Document, after: Document) -> bool:
    """Whether the two are one to Go, which leaves some members out, and has a default for one.

    A chain's own signature may go where each of its records is signed: then it is another claim.
    """
    dropped: list[Any] = [None, "", []]
    each_signed = all("signature" in one["integrity"] for one in before.get("records", ()))
    if "signatures" not in told_of(after, dropped) and each_signed and "records" in before:
        before = {name: value for name, value in before.items() if name != "signatures"}
    if "files" in before and not (after.get("algo_id") or "").strip():
        after = {**after, "algo_id": "sha256"}
    return bool(told_of(before, dropped) == told_of(after, dropped))


def told_of(value: Any, dropped: list[Any]) -> Any:
    if isinstance(value, dict):
        return {name: told_of(one, dropped) for name, one in value.items() if one not in dropped}
    return [told_of(one, dropped) for one in value] if isinstance(value, list) else value


@settings(max_examples=examples(500), deadline=None)
@given(raw=st.binary(max_size=60) | st.text(max_size=60).map(lambda s: s.encode(errors="replace")))
def test_bytes_are_refused_with_an_error_of_ours(folder: Path, raw: bytes) -> None:
    """Any bytes for a record, a chain's line and a manifest."""
    path = folder / "it.json"
    path.write_bytes(raw)
    assert not _accepted(path)
    for name in ("x.jsonl", "manifest.json"):
        there = folder / f"of-{name}"
        there.mkdir(exist_ok=True)
        (there / name).write_bytes(raw)
        assert not _accepted(there)


@settings(max_examples=examples(500), deadline=None)
@given(data=st.data())
def test_a_changed_manifest_is_refused_with_an_error_of_ours(
    folder: Path, data: st.DataObject
) -> None:
    """Any value of a signed manifest replaced by any other."""
    made = bundle(folder / "bundle", {"a/b.txt": b"x", "c.json": text(record())}, KEY)
    manifest = json.loads((made / "manifest.json").read_text())
    place = data.draw(st.sampled_from(_places(manifest)))
    changed = _replaced(manifest, place, data.draw(_JSON), None)
    (made / "manifest.json").write_text(json.dumps(changed))
    if _accepted(made):
        assert _unchanged(manifest, changed)
