"""What spans of one resource, scope and kind bring to their events' attributes, as JSON. Pure."""

from functools import lru_cache

import orjson
from intentproof_schemas import Pairs, Span, SpanRejected, map_span, names

_ORIGINS_MAX = 512
_CHARACTERS_MAX = 8192

# Each constant attribute's JSON text by its key, in canonical order.
Constants = tuple[tuple[str, str], ...]


def constants_of(
    resource: Pairs, scope_name: str, scope_version: str, kind: int
) -> Constants | None:
    """The attributes that every span of this origin has; None where spans decide themselves."""
    texts = [text for pair in resource for text in pair if isinstance(text, str)]
    # Of values that are no texts, 1 and true would be equal to a memory by value.
    size = sum(map(len, (*texts, scope_name, scope_version)))
    if len(texts) < 2 * len(resource) or size > _CHARACTERS_MAX:
        return None
    return _constants_of(tuple(resource), scope_name, scope_version, kind)


@lru_cache(maxsize=_ORIGINS_MAX)
def _constants_of(
    resource: Pairs, scope_name: str, scope_version: str, kind: int
) -> Constants | None:
    # What the mapping makes of a span that has only an intent of its own are the constants.
    bare = Span(b"t" * 16, b"s" * 8, b"", "", kind, 0, 0, ((names.INTENT, "x"),))
    bare = bare._replace(resource=resource, scope_name=scope_name, scope_version=scope_version)
    try:
        event = map_span(bare)
    except SpanRejected:
        return None
    attributes = orjson.loads(event.attributes or "{}") if event else {}
    return tuple((key, orjson.dumps(value).decode()) for key, value in attributes.items())
