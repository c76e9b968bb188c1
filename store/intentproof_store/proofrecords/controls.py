"""`controls` of a record, as it is hashed. Pure."""

from typing import Any

from .members import Kind, Members, kept, read_members

_CONTROLS = {
    "permissions_enforced": Kind.FLAG,
    "approved_scope": Kind.TEXT,
    "within_scope": Kind.MAYBE_FLAG,
    "guardrails_active": Kind.LIST,
    "human_oversight": Kind.OBJECT,
}
_GUARDRAIL = {"name": Kind.TEXT, "status": Kind.TEXT, "triggered": Kind.FLAG}
_OVERSIGHT = {"approval_required": Kind.FLAG, "last_review": Kind.TEXT, "reviewer": Kind.TEXT}


def read_controls(value: object) -> tuple[dict[str, Any], list[str]]:
    """Controls as they are hashed, and the names of members that no hash covers.

    Absent and null controls are `{"permissions_enforced": false}`. Raises Unreadable.
    """
    members = read_members(value, _CONTROLS, "controls")
    unprotected = _names("controls", members)
    known = members.known
    guardrails = []
    for index, each in enumerate(known["guardrails_active"] or ()):
        what = f"controls.guardrails_active[{index}]"
        one = read_members(each, _GUARDRAIL, what)
        unprotected += _names(what, one)
        guardrails.append(one.known)
    oversight = known["human_oversight"]
    if oversight is not None:
        one = read_members(oversight, _OVERSIGHT, "controls.human_oversight")
        unprotected += _names("controls.human_oversight", one)
        oversight = kept(one.known)
    scope = {"guardrails_active": guardrails, "human_oversight": oversight}
    return kept({**known, **scope}), unprotected


def _names(what: str, members: Members) -> list[str]:
    return [f"{what}.{name}" for name in members.unknown]
