"""What is to be done with spans of one shape, worked out once per shape. Pure."""

from dataclasses import dataclass
from functools import lru_cache

from intentproof_schemas import MARKERS, NOT_KEPT, is_event_key, names

from .group import Shape
from .wire import INTEGER, TEXT

_TEXTS = (
    *(names.INTENT, names.ACTION, names.CORRELATION_ID, names.INPUTS, names.OUTPUT),
    *(names.STREAM_ID, names.RUN_ID, names.STAGE),
)
_PLANS_MAX = 512
_ERROR_TYPE = "error.type"


@dataclass(frozen=True)
class Plan:
    """How spans of a shape become events.

    `taken` is false where no rule takes such spans. `places` are those of the producer's
    attributes; `kept` those of the attributes that an event keeps.
    """

    taken: bool
    places: dict[str, int]
    kept: dict[str, int]
    has_error_type: bool


_NOT_TAKEN = Plan(taken=False, places={}, kept={}, has_error_type=False)


@lru_cache(maxsize=_PLANS_MAX)
def plan_of(shape: Shape) -> Plan | None:
    """The plan for spans of a shape; None where they are to be looked at one by one."""
    try:
        keys = [key.decode() for key in shape.keys]
    except UnicodeDecodeError:
        return None
    if names.INTENT not in keys:
        return _NOT_TAKEN if MARKERS.isdisjoint(keys) else None
    places = {key: place for place, key in enumerate(keys)}
    if len(places) != len(keys) or names.EVENT_ID in places:
        return None
    kinds = dict(zip(keys, shape.types, strict=True))
    if any(kinds[name] != TEXT for name in _TEXTS if name in kinds):
        return None
    if kinds.get(names.SEQUENCE, INTEGER) != INTEGER:
        return None
    kept = {key: place for key, place in places.items() if key not in NOT_KEPT}
    if not all(map(is_event_key, kept)):
        return None
    return Plan(taken=True, places=places, kept=kept, has_error_type=_ERROR_TYPE in places)
