"""The words that the bridge, the receiver and the store share. Pure: no input or output."""

from . import names
from .attributes import NOT_KEPT, is_event_key
from .canonical import ATOMS, canonical
from .canonical import text as canonical_text
from .checks import check_event
from .errors import (
    CanonicalError,
    EventInvalid,
    LeafInvalid,
    NotJson,
    SchemaError,
    SpanRejected,
)
from .event import (
    ExecutionEvent,
    completed_us,
    context_text,
    duration_ms,
    event_hash,
    event_text,
    microseconds,
    payload_text,
    timestamp,
)
from .fields import BLANK, INTENT_BYTES_MAX, TEXT_BYTES_MAX
from .jsontext import (
    INTEGER_MAX,
    LEVELS_MAX,
    Duplicates,
    json_levels,
    json_value,
    read_json,
)
from .leaf import (
    CONTEXT_DOMAIN,
    EVENT_KINDS,
    EVENT_MEMBERS,
    LEAF_BYTES_MAX,
    PAYLOAD_DOMAIN,
    QUARANTINE_DOMAIN,
    QUARANTINE_SALT_BYTES,
    SALT_BYTES,
    TELLING_KEYS,
    TENANT,
    VERSION,
    WRITER,
    commitment,
    detail_leaf,
    event_leaf,
    leaf_bytes,
    numbered_leaf,
    read_leaf,
)
from .mapping import EVENT_BYTES_MAX, default_event_id, is_taken
from .members import inputs_of, output_of
from .resources import schema, schema_names
from .rules import DECLARED, MARKERS
from .shapes import map_span
from .span import KeyValues, Pairs, Span, SpanEvent, SpanLink, Value

__all__ = [
    "ATOMS",
    "BLANK",
    "CONTEXT_DOMAIN",
    "DECLARED",
    "EVENT_BYTES_MAX",
    "EVENT_KINDS",
    "EVENT_MEMBERS",
    "INTEGER_MAX",
    "INTENT_BYTES_MAX",
    "LEAF_BYTES_MAX",
    "LEVELS_MAX",
    "MARKERS",
    "NOT_KEPT",
    "PAYLOAD_DOMAIN",
    "QUARANTINE_DOMAIN",
    "QUARANTINE_SALT_BYTES",
    "SALT_BYTES",
    "TELLING_KEYS",
    "TENANT",
    "TEXT_BYTES_MAX",
    "VERSION",
    "WRITER",
    "CanonicalError",
    "Duplicates",
    "EventInvalid",
    "ExecutionEvent",
    "KeyValues",
    "LeafInvalid",
    "NotJson",
    "Pairs",
    "SchemaError",
    "Span",
    "SpanEvent",
    "SpanLink",
    "SpanRejected",
    "Value",
    "canonical",
    "canonical_text",
    "check_event",
    "commitment",
    "completed_us",
    "context_text",
    "default_event_id",
    "detail_leaf",
    "duration_ms",
    "event_hash",
    "event_leaf",
    "event_text",
    "inputs_of",
    "is_event_key",
    "is_taken",
    "json_levels",
    "json_value",
    "leaf_bytes",
    "map_span",
    "microseconds",
    "names",
    "numbered_leaf",
    "output_of",
    "payload_text",
    "read_json",
    "read_leaf",
    "schema",
    "schema_names",
    "timestamp",
]
