"""The columns of a segment, in the contract's order, and the rows of a hot frame. Pure."""

import pyarrow as pa

_MOMENT = pa.timestamp("us", tz="UTC")

SEGMENT_SCHEMA = pa.schema(
    [
        ("log_index", pa.int64()),
        ("kind", pa.string()),
        ("writer", pa.string()),
        ("event_id", pa.string()),
        ("trace_id", pa.string()),
        ("span_id", pa.string()),
        ("parent_span_id", pa.string()),
        ("correlation_id", pa.string()),
        ("intent", pa.string()),
        ("action", pa.string()),
        ("status", pa.string()),
        ("started_at", _MOMENT),
        ("completed_at", _MOMENT),
        ("received_at", _MOMENT),
        ("started_ns", pa.int64()),
        ("completed_ns", pa.int64()),
        ("received_ns", pa.int64()),
        ("duration_ms", pa.float64()),
        ("service_name", pa.string()),
        ("inputs", pa.string()),
        ("output", pa.string()),
        ("error", pa.string()),
        ("attributes", pa.string()),
        ("detail", pa.string()),
        ("run_id", pa.string()),
        ("stage", pa.string()),
        ("stream_id", pa.string()),
        ("sequence", pa.int64()),
        ("provenance", pa.string()),
        ("mapping_rule", pa.string()),
        ("dropped_attributes_count", pa.int64()),
        ("dropped_events_count", pa.int64()),
        ("dropped_links_count", pa.int64()),
        ("context_salt", pa.binary()),
        ("payload_salt", pa.binary()),
        ("leaf", pa.binary()),
    ]
)
COLUMNS = tuple(SEGMENT_SCHEMA.names)
# What each half of an event is in; what every event has stands first. Beside it, `<half>_salt`.
HALVES = {
    "context": ("intent", "correlation_id", "attributes", "service_name"),
    "payload": ("inputs", "output", "error"),
}
BLOOM_COLUMNS = ("trace_id", "event_id", "correlation_id")
ROW_GROUP_ROWS = 20_000
ROW_GROUP_BYTES = 64 << 20
