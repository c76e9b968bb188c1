"""The attributes of an event: the span's, the resource's and ours, flat (contract §3). Pure."""

import re
from typing import Any

from . import names
from .canonical import ATOMS, canonical, dump_plain
from .errors import SpanRejected
from .fields import first_of_each
from .jsontext import INTEGER_MAX, LEVELS_MAX, Duplicates, json_object, json_value, whole_text
from .rules import CONVENTIONS, Rule
from .span import Pairs, Span, SpanLink, Value

_KEY = re.compile(r"[A-Za-z0-9_.:-]{1,256}")
NOT_KEPT = frozenset((*names.PRODUCER_ATTRIBUTES, *names.MAPPED_ATTRIBUTES))
_NOT_KEPT_BY_RULE = {rule.name: NOT_KEPT | rule.sources() for rule in CONVENTIONS}
_RESOURCE = frozenset(names.RESOURCE_ATTRIBUTES)
# Keys seen to be well-formed: telemetry repeats a few keys for ever, and a set answers at once.
_WELL_FORMED: set[str] = set()
_WELL_FORMED_MAX = 4096


def attributes_of(
    span: Span, given: dict[str, Value], rule: Rule | None, duplicates: Duplicates
) -> bytes:
    """The event's attributes as JCS; later ones win: the span's, the resource's, ours."""
    left_out = NOT_KEPT if rule is None else _NOT_KEPT_BY_RULE[rule.name]
    kept: dict[str, Any] = {}
    other: dict[str, Any] = {}
    for key, value in given.items():
        if key in left_out:
            continue
        if key in _WELL_FORMED or is_event_key(key):
            kept[key] = attribute(key, value, duplicates)
        else:
            other[key] = nested(key, value, duplicates)
    for key, value in _resource(span.resource, duplicates):
        kept[key] = attribute(key, value, duplicates)
    if 0 < span.kind < len(names.SPAN_KINDS):
        kept[names.SPAN_KIND] = names.SPAN_KINDS[span.kind]
    if span.scope_name:
        kept[names.SCOPE_NAME] = whole_text(span.scope_name)
    if span.scope_version:
        kept[names.SCOPE_VERSION] = whole_text(span.scope_version)
    if span.links:
        links = [_link(link, duplicates) for link in span.links]
        kept[names.LINKS] = canonical(links).decode()
    if other:
        kept[names.OTHER] = canonical(other).decode()
    if duplicates.count:
        kept[names.DUPLICATE_KEYS] = duplicates.count
    if not kept:
        return b""
    # Keys are ASCII by now: what is left to ask of the fast path is that no value is a float.
    flat = ATOMS.issuperset(map(type, kept.values()))
    return (dump_plain(kept) if flat else None) or canonical(kept)


def is_event_key(key: str) -> bool:
    """Whether an event may have an attribute of that name."""
    if _KEY.fullmatch(key) is None:
        return False
    if len(_WELL_FORMED) < _WELL_FORMED_MAX:
        _WELL_FORMED.add(key)
    return True


def _resource(resource: Pairs, duplicates: Duplicates) -> list[tuple[str, Value]]:
    wanted = [pair for pair in resource if pair[0] in _RESOURCE]
    first = first_of_each(wanted, duplicates)
    return [(key, value) for key, value in first.items() if value is not None and value != ""]


def attribute(key: str, value: Value, duplicates: Duplicates) -> Any:
    """A value as an event's flat attributes hold it: arrays and maps as their JCS text."""
    if isinstance(value, str):
        return value if value.isascii() else whole_text(value)
    if isinstance(value, int) and -INTEGER_MAX <= value <= INTEGER_MAX:
        return value
    plain = nested(key, value, duplicates)
    return canonical(plain).decode() if isinstance(plain, (dict, list)) else plain


def nested(key: str, value: Value, duplicates: Duplicates) -> Any:
    """A value as JSON; SpanRejected, naming the key, where it is nested too deep."""
    try:
        return json_value(value, duplicates)
    except SpanRejected as error:
        raise SpanRejected(error.reason, key, error.message) from error


def _link(link: SpanLink, duplicates: Duplicates) -> dict[str, Any]:
    shown: dict[str, Any] = {"trace_id": link.trace_id.hex(), "span_id": link.span_id.hex()}
    if link.attributes:
        shown["attributes"] = json_object(
            ((whole_text(key), value) for key, value in link.attributes),
            duplicates,
            LEVELS_MAX + 1,
        )
    return shown
