"""The relationship envelope of a record, as it is hashed: unknown members are kept. Pure."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from .members import Kind, kept, read_members, texts

_ENVELOPE = {
    "parent_ref": Kind.OBJECT,
    "entity_refs": Kind.LIST,
    "policy_ref": Kind.OBJECT,
    "agent_chain": Kind.LIST,
    "edges": Kind.LIST,
    "parent_record_id": Kind.TEXT,
    "related_record_ids": Kind.LIST,
    "related_entity_ids": Kind.LIST,
    "agent_lineage": Kind.LIST,
}
_REF = {"kind": Kind.TEXT, "id": Kind.TEXT}
_EDGE = {"kind": Kind.TEXT, "from": Kind.OBJECT, "to": Kind.OBJECT}
_HOP = {"identity": Kind.TEXT, "role": Kind.TEXT}
_POLICY = {
    "policy_id": Kind.TEXT,
    "policy_version": Kind.TEXT,
    "policy_digest": Kind.TEXT,
    "matched_rule_ids": Kind.LIST,
}
_LINEAGE = {"agent_id": Kind.TEXT, "delegated_by": Kind.TEXT, "delegation_record_id": Kind.TEXT}
_Read = Callable[[Any, str], Any]


def read_relationship(value: object, what: str) -> dict[str, Any] | None:
    """The envelope as it is hashed, None where there is none. Raises Unreadable."""
    if value is None:
        return None
    members = read_members(value, _ENVELOPE, what)
    known = {
        name: member if member is None or name not in _MEMBERS else _MEMBERS[name](member, at)
        for name, member in members.known.items()
        for at in (f"{what}.{name}",)
    }
    return {**members.unknown, **kept(known)}


def _whole(shape: Mapping[str, Kind], value: object, what: str) -> dict[str, Any]:
    """An object of which every known member is always written."""
    members = read_members(value, shape, what)
    return {**members.unknown, **members.known}


def _edge(value: object, what: str) -> dict[str, Any]:
    edge = _whole(_EDGE, value, what)
    ends = {name: _whole(_REF, edge[name], f"{what}.{name}") for name in ("from", "to")}
    return {**edge, **ends}


def _policy(value: object, what: str) -> dict[str, Any]:
    members = read_members(value, _POLICY, what)
    rules = texts(members.known["matched_rule_ids"], f"{what}.matched_rule_ids")
    return {**members.unknown, **kept({**members.known, "matched_rule_ids": rules})}


def _lineage(value: object, what: str) -> dict[str, Any]:
    members = read_members(value, _LINEAGE, what)
    return {**members.unknown, "agent_id": members.known["agent_id"], **kept(members.known)}


def _each(read: _Read, value: Any, what: str) -> list[Any]:
    return [read(each, f"{what}[{index}]") for index, each in enumerate(value)]


_MEMBERS: dict[str, _Read] = {
    "parent_ref": partial(_whole, _REF),
    "entity_refs": partial(_each, partial(_whole, _REF)),
    "policy_ref": _policy,
    "agent_chain": partial(_each, partial(_whole, _HOP)),
    "edges": partial(_each, _edge),
    "related_record_ids": texts,
    "related_entity_ids": texts,
    "agent_lineage": partial(_each, _lineage),
}
