"""JSON objects read as Go reads a struct: known members, their types, their zero values. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from .errors import Unreadable


class Kind(Enum):
    """What a member may be, and what stands for an absent or null one."""

    TEXT = "a string"
    FLAG = "true or false"
    MAYBE_FLAG = "true, false or null"
    INTEGER = "an integer"
    OBJECT = "an object"
    LIST = "an array"


_TYPES: dict[Kind, tuple[type, ...]] = {
    Kind.TEXT: (str,),
    Kind.FLAG: (bool,),
    Kind.MAYBE_FLAG: (bool,),
    Kind.INTEGER: (int,),
    Kind.OBJECT: (dict,),
    Kind.LIST: (list,),
}
_ZERO: dict[Kind, Any] = {Kind.TEXT: "", Kind.FLAG: False}


@dataclass(frozen=True)
class Members:
    """Known members, zero values where absent or null, and the ones nobody knows."""

    known: dict[str, Any]
    unknown: dict[str, Any]


def read_members(value: object, shape: Mapping[str, Kind], what: str) -> Members:
    """An object's members. Raises Unreadable for a wrong type or another case of a known name.

    Go would fill `record_id` from `Record_ID`: two readers would see two records.
    """
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise Unreadable(f"{what} is not an object")
    known = {name: _ZERO.get(kind) for name, kind in shape.items()}
    unknown = {}
    for name, member in value.items():
        kind = shape.get(name)
        if kind is None:
            if name.casefold() in shape:
                raise Unreadable(f"{what}: {name!r} is {name.casefold()!r} in another case")
            unknown[name] = member
        elif member is not None:
            if type(member) not in _TYPES[kind]:
                raise Unreadable(f"{what}: {name!r} is not {kind.value}")
            known[name] = member
    return Members(known, unknown)


def texts(value: list[Any] | None, what: str) -> list[str]:
    """An array of strings; null counts as the empty one. Raises Unreadable."""
    if any(each is not None and not isinstance(each, str) for each in value or ()):
        raise Unreadable(f"{what} is not an array of strings")
    return [each or "" for each in value or ()]


def kept(members: Mapping[str, Any]) -> dict[str, Any]:
    """Members without those that Go leaves out when it writes: empty texts, arrays, nulls."""
    return {name: each for name, each in members.items() if each not in ("", [], None)}
