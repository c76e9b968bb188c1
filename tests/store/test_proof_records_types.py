"""The 18 types of proof records, and the relationship envelope."""

from pathlib import Path
from typing import Any

import pytest
from intentproof_schemas import schema
from intentproof_store.proofrecords.record import read_record

from tests.store.proof_support import Document, hashed, record, verify, written

REFUSED, UNREADABLE = 2, 6
DIGEST = "sha256:" + "a" * 64
FREE = (
    *("tool_invocation", "decision", "guardrail_activation", "permission_check"),
    *("human_oversight", "risk_assessment", "deployment", "model_change", "test_result"),
    *("incident", "data_pipeline_run", "replay_certification", "approval"),
)
FULL: dict[str, Document] = {
    "compiled_action": {
        "script_hash": DIGEST,
        "tool_sequence": ["a"],
        "step_count": 1,
        "has_conditionals": True,
        "has_loops": False,
        "composite_risk_class": "high",
    },
    "delegation": {
        "delegator_id": "a",
        "delegatee_id": "b",
        "delegation_scope": ["read"],
        "chain_depth": 0,
        "delegator_policy_digest": DIGEST,
        "delegatee_policy_digest": DIGEST,
        "verdict": "allow",
    },
    "dynamic_tool_discovery": {
        "tool_name": "t",
        "discovery_method": "a2a",
        "declared_annotations": {"readOnlyHint": True, "destructiveHint": False},
        "policy_verdict": "block",
    },
    "policy_enforcement": {},
    "scan_finding": {},
}
OPTIONAL: dict[str, Document] = {
    "compiled_action": {
        "execution_trace_refs": ["prf-2026-02-20T13:01:00Z-aaaaaaaa"],
        "gate_verdict": "dry_run",
        "script_source": "ptc",
    },
    "delegation": {"more": 1},
    "dynamic_tool_discovery": {"tool_version": ""},
    "policy_enforcement": {
        "policy_id": "p",
        "policy_version": "1",
        "applied_to_entity_id": "e",
        "evaluation_context_id": "c",
        "policy_digest": "a" * 64,
        "trigger_record_ids": ["a", "b"],
    },
    "scan_finding": {
        "entity_id": "e",
        "relationships": [{"relation": "r", "target_id": "t", "target_kind": "k"}],
    },
}
WRONG: list[tuple[str, Document]] = [
    ("compiled_action", {"script_hash": "a" * 64}),
    ("compiled_action", {"script_hash": DIGEST + "\n"}),
    ("compiled_action", {"script_hash": DIGEST.upper()}),
    ("compiled_action", {"tool_sequence": []}),
    ("compiled_action", {"tool_sequence": [""]}),
    ("compiled_action", {"step_count": 0}),
    ("compiled_action", {"step_count": 1.5}),
    ("compiled_action", {"step_count": True}),
    ("compiled_action", {"has_loops": 1}),
    ("compiled_action", {"composite_risk_class": "unknown"}),
    ("compiled_action", {"execution_trace_refs": ["prf-2026-03-03T12:00:00Z-example"]}),
    ("compiled_action", {"gate_verdict": "deny"}),
    ("compiled_action", {"script_source": "me"}),
    ("delegation", {"delegator_id": ""}),
    ("delegation", {"delegation_scope": "read"}),
    ("delegation", {"delegation_scope": []}),
    ("delegation", {"chain_depth": -1}),
    ("delegation", {"delegator_policy_digest": "a" * 64}),
    ("delegation", {"verdict": "Allow"}),
    ("dynamic_tool_discovery", {"discovery_method": "mcp"}),
    ("dynamic_tool_discovery", {"declared_annotations": {"readOnlyHint": True}}),
    ("dynamic_tool_discovery", {"policy_verdict": None}),
    ("policy_enforcement", {"policy_id": ""}),
    ("policy_enforcement", {"policy_digest": "a" * 63}),
    ("policy_enforcement", {"trigger_record_ids": ["a", "a"]}),
    ("scan_finding", {"entity_id": ""}),
    ("scan_finding", {"relationships": [{"relation": "r"}]}),
    ("scan_finding", {"relationships": [{"relation": "r", "target_id": "t", "target_kind": ""}]}),
]


def exit_code(folder: Path, **changes: Any) -> int:
    return verify(written(folder / "r.json", record(**changes)))[0]


def test_there_are_eighteen_types() -> None:
    """The types with rules for their event and those without are those of the schema."""
    assert sorted([*FREE, *FULL]) == schema("proof-record.v1")["properties"]["record_type"]["enum"]
    assert len([*FREE, *FULL]) == 18


@pytest.mark.parametrize("name", FREE)
def test_a_type_that_asks_nothing_of_its_event(tmp_path: Path, name: str) -> None:
    """Any object is an event of it, the empty one too, and nothing else is."""
    assert exit_code(tmp_path, record_type=name, event={}) == 0
    assert exit_code(tmp_path, record_type=name, event={"a": [1]}) == 0
    changed = record(record_type=name) | {"event": "text"}
    assert verify(written(tmp_path / "r.json", changed))[0] == UNREADABLE


@pytest.mark.parametrize("name", FULL)
def test_a_type_that_asks_something_of_its_event(tmp_path: Path, name: str) -> None:
    """With all that is required it holds, with what is optional too, with less it does not."""
    full = FULL[name]
    assert exit_code(tmp_path, record_type=name, event=full) == 0
    assert exit_code(tmp_path, record_type=name, event={**full, **OPTIONAL[name]}) == 0
    for left_out in full:
        less = {key: value for key, value in full.items() if key != left_out}
        assert exit_code(tmp_path, record_type=name, event=less) == REFUSED


@pytest.mark.parametrize(("name", "change"), WRONG)
def test_a_wrong_event_is_refused(tmp_path: Path, name: str, change: Document) -> None:
    """A member of the wrong form makes a record that does not hold, hashed well or not."""
    assert exit_code(tmp_path, record_type=name, event={**FULL[name], **change}) == REFUSED


@pytest.mark.parametrize("name", ["", "Decision", "decision ", "custom.type"])
def test_an_unknown_type_is_refused(tmp_path: Path, name: str) -> None:
    """There is no type but those 18."""
    assert exit_code(tmp_path, record_type=name) == REFUSED


TRACE = {"kind": "trace", "id": "4bf92f3577b34da6a3ce929d0e0e4736"}
AGENT = {"kind": "agent", "id": "a"}
EDGE = {"kind": "calls", "from": AGENT, "to": {"kind": "tool", "id": "t"}}


@pytest.mark.parametrize(
    "relationship",
    [
        {},
        {"parent_ref": TRACE},
        {"parent_ref": {"kind": "wrkr.action_contract", "id": "x"}},
        {"parent_ref": {**TRACE, "digest": "sha256:00", "schema_id": "s", "more": [1]}},
        {"entity_refs": [AGENT, {"kind": "tool", "id": "a"}]},
        {"policy_ref": {"policy_id": "p", "policy_digest": "a" * 64, "matched_rule_ids": ["r"]}},
        {"policy_ref": {}},
        {"agent_chain": [{"identity": "i", "role": "requester"}]},
        {"edges": [EDGE, {**EDGE, "kind": "a_b.c-d"}]},
        {"parent_record_id": "p", "related_record_ids": ["a"], "related_entity_ids": ["b"]},
        {"agent_lineage": [{"agent_id": "a", "delegated_by": "b"}]},
        {"of_tomorrow": {"any": None}},
    ],
)
@pytest.mark.parametrize("name", ["relationship", "relations"])
def test_an_envelope_is_hashed_with_all_its_members(
    tmp_path: Path, name: str, relationship: Document
) -> None:
    """Known and unknown members are covered, under either name."""
    member: Document = {name: relationship}
    made = record(**member)
    path = written(tmp_path / "r.json", made)
    assert verify(path, "--strict")[0] == 0
    changed = {**made, name: {**relationship, "of_tomorrow": 2}}
    assert verify(written(path, changed))[0] == REFUSED


@pytest.mark.parametrize(
    "relationship",
    [
        {"parent_ref": {"kind": "planet", "id": "x"}},
        {"parent_ref": {"kind": "trace", "id": ""}},
        {"parent_ref": {"kind": "Trace", "id": "x"}},
        {"parent_ref": {"kind": "a.b\n", "id": "x"}},
        {"entity_refs": [AGENT, AGENT]},
        {"policy_ref": {"policy_digest": "a"}},
        {"agent_chain": [{"identity": "i", "role": "boss"}]},
        {"edges": [{**EDGE, "kind": "knows"}]},
        {"edges": [{**EDGE, "to": {"kind": "tool", "id": ""}}]},
        {"agent_lineage": [{"agent_id": ""}]},
    ],
)
def test_a_wrong_envelope_is_refused(tmp_path: Path, relationship: Document) -> None:
    """A kind, role or reference that the envelope does not know makes a record not hold."""
    assert exit_code(tmp_path, relationship=relationship) == REFUSED


@pytest.mark.parametrize(
    "relationship",
    [
        {"Parent_Ref": TRACE},
        {"parent_ref": {"Kind": "trace", "id": "x"}},
        {"parent_ref": []},
        {"related_record_ids": [1]},
        {"edges": [{**EDGE, "from": "a"}]},
    ],
)
def test_an_envelope_of_a_wrong_form_cannot_be_read(tmp_path: Path, relationship: Document) -> None:
    """Another case of a known name and a wrong type are refused before anything is hashed."""
    path = written(tmp_path / "r.json", record() | {"relationship": relationship})
    assert verify(path)[0] == UNREADABLE


@pytest.mark.parametrize(
    ("relationship", "kept"),
    [
        ({"entity_refs": [], "parent_record_id": "", "edges": None}, {}),
        ({"parent_ref": None, "x": None}, {"x": None}),
        (
            {"policy_ref": {"policy_id": "", "matched_rule_ids": [], "y": 1}},
            {"policy_ref": {"y": 1}},
        ),
        (
            {"agent_lineage": [{"agent_id": "a", "delegated_by": ""}]},
            {"agent_lineage": [{"agent_id": "a"}]},
        ),
    ],
)
def test_an_envelope_is_normalised_before_it_is_hashed(
    relationship: Document, kept: Document
) -> None:
    """Known empty members go, unknown ones stay."""
    made = record(relationship=kept)
    found = read_record({**made, "relationship": relationship})
    assert found.hash() == made["integrity"]["record_hash"]


def test_no_envelope_is_none(tmp_path: Path) -> None:
    """Null is as absent, and the empty envelope is another than none."""
    made = record()
    assert verify(written(tmp_path / "r.json", {**made, "relationship": None}))[0] == 0
    assert hashed({**made, "relationship": {}}) != hashed(made)
