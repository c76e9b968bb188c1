"""The schemas that ship: all valid, all named, one for each kind of leaf."""

import json
from typing import Any

import jsonschema
import pytest
from intentproof_schemas import detail_leaf, schema, schema_names

from tests.schemas.support import START_NS, validator

VKEY = f"intentproof.local/acme/receiver-0a1b2c3d+9e2f01ab+{'A' * 44}"
HASH = "sha256:" + "0" * 64
NS = str(START_NS)
NOTE = "intentproof.local/acme/old-00000000\n7\nAAAA\n\n\u2014 intentproof.local AAAA\n"
DETAILS: dict[str, list[dict[str, Any]]] = {
    "genesis": [
        {"log_key": VKEY, "checkpoint_interval_ms": 1000},
        {
            "log_key": VKEY,
            "checkpoint_interval_ms": 60_000,
            "former": {"writer": "old-00000000", "checkpoint": NOTE},
        },
    ],
    "heartbeat": [{}, {"interval_ms": 3_600_000}],
    "gap": [
        {"reason": "clock_step_back", "from_ns": NS, "to_ns": "0"},
        {"reason": "hot_damaged", "files": ["1.frames"], "lost": ["3-4"], "message": "bad MAC"},
        {"reason": "hot_damaged", "files": [], "lost": []},
    ],
    "quarantine": [{"reason": "blank_intent", "size": 0, "sha256": HASH}],
    "erasure": [
        {"log_indexes": [0, 5, [7, 9]], "members": "payload", "reason": "request 17"},
        {"log_indexes": [[0, 1]], "members": "context", "requested_ns": NS, "request_id": "1-a"},
    ],
    "retention": [
        {"log_indexes": [[0, 99]], "members": "all", "policy": "400 days", "before_ns": NS},
        {"log_indexes": [[0, 99]], "members": "all", "dropped": "leaves", "reason": "old"},
    ],
    "hold": [
        {"hold_id": "case-1", "state": "placed", "log_indexes": [1], "reason": "audit"},
        {"hold_id": "case-1", "state": "released", "from_ns": "0", "to_ns": NS},
    ],
    "key-rotation": [{"old_key": VKEY, "new_key": VKEY, "overlap_until_ns": NS}],
    "writer-added": [{"writer": "receiver-0a1b2c3d", "log_key": VKEY}],
    "writer-retired": [{"writer": "old-00000000", "checkpoint": NOTE}, {"writer": "old-00000000"}],
}
WRONG: dict[str, list[dict[str, Any]]] = {
    "genesis": [
        {"log_key": VKEY},
        {"log_key": VKEY, "checkpoint_interval_ms": -1},
        {"log_key": VKEY, "checkpoint_interval_ms": "1000"},
        {"log_key": "key", "checkpoint_interval_ms": 1},
        {"log_key": VKEY, "checkpoint_interval_ms": 1, "former": {"writer": "old-00000000"}},
    ],
    "heartbeat": [{"interval_ms": 0}],
    "gap": [
        {},
        {"reason": "Two words"},
        {"reason": "x", "from_ns": 5},
        {"reason": "x", "lost": ["all"]},
    ],
    "quarantine": [
        {"reason": "x", "size": 1},
        {"reason": "x", "size": -1, "sha256": HASH},
        {"reason": "x", "size": 1, "sha256": "0" * 64},
    ],
    "erasure": [
        {"log_indexes": [], "members": "all"},
        {"log_indexes": [-1], "members": "all"},
        {"log_indexes": [[1]], "members": "all"},
        {"log_indexes": [[1, 2, 3]], "members": "all"},
        {"log_indexes": [1], "members": "intent"},
        {"log_indexes": [1]},
    ],
    "retention": [
        {"log_indexes": ["1"], "members": "all"},
        {"members": "all"},
        {"log_indexes": [1], "members": "all", "dropped": "all"},
    ],
    "hold": [{"hold_id": "x", "state": "on"}, {"hold_id": "", "state": "placed"}],
    "key-rotation": [{"old_key": VKEY}, {"old_key": VKEY, "new_key": VKEY[:-1]}],
    "writer-added": [{"writer": "receiver-0a1b2c3d"}, {"writer": "x", "log_key": VKEY}],
    "writer-retired": [{}, {"writer": "../x"}],
}


@pytest.mark.parametrize("name", schema_names())
def test_a_schema_is_valid_and_names_itself(name: str) -> None:
    """Every schema is JSON Schema 2020-12, and its id ends in the name of its file."""
    document = schema(name)
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert document["$id"] == f"https://intentproof.dev/otel/schemas/{name}.schema.json"
    assert document["title"]
    assert document["description"]
    jsonschema.Draft202012Validator.check_schema(document)


def test_every_kind_of_leaf_has_a_schema() -> None:
    """Beside the event, the leaf and the proof record, one schema for each kind with a detail."""
    assert set(schema_names()) == {
        "execution_event.v1",
        "leaf.v1",
        "proof-record.v1",
        *(f"{kind}.v1" for kind in DETAILS),
    }


def test_the_leaf_s_schema_asks_a_detail_of_the_same_kinds() -> None:
    """The kinds that the leaf's schema knows are those that have a schema of their own."""
    known = {
        kind
        for condition in schema("leaf.v1")["allOf"]
        for kind in condition["if"]["properties"]["kind"]["enum"]
    }
    assert known == {"event", "conflict", "numbered", *DETAILS}


@pytest.mark.parametrize(
    ("kind", "detail"), [(kind, detail) for kind, found in DETAILS.items() for detail in found]
)
def test_a_detail_makes_a_valid_leaf(kind: str, detail: dict[str, Any]) -> None:
    """A detail passes the schema of its kind, with members of tomorrow too, and its leaf passes."""
    validator(f"{kind}.v1").validate(detail)
    validator(f"{kind}.v1").validate({**detail, "of_tomorrow": 1})
    home = {"tenant": "acme", "writer": "receiver-0a1b2c3d"}
    leaf = json.loads(detail_leaf(kind, detail, received_ns=START_NS, **home))
    validator("leaf.v1").validate(leaf)
    assert json.loads(leaf["detail"]) == detail


@pytest.mark.parametrize(
    ("kind", "detail"), [(kind, detail) for kind, found in WRONG.items() for detail in found]
)
def test_a_wrong_detail_is_refused(kind: str, detail: dict[str, Any]) -> None:
    """A member too few, a wrong type or a path is refused."""
    assert not validator(f"{kind}.v1").is_valid(detail)


def test_an_unknown_schema_is_not_found() -> None:
    """Asking for a schema that does not ship is an error that says so."""
    with pytest.raises(FileNotFoundError):
        schema("leaf.v0")


def test_a_schema_is_loaded_once() -> None:
    """Asking twice gives the same object."""
    assert schema("leaf.v1") is schema("leaf.v1")
