"""An event back from its row. Pure."""

from typing import Any

from intentproof_schemas import ExecutionEvent


def event_of_row(row: dict[str, Any]) -> ExecutionEvent:
    """An event from its row; erased members are as if the event had none."""
    return ExecutionEvent(
        event_id=row["event_id"] or "",
        trace_id=row["trace_id"] or "",
        span_id=row["span_id"] or "",
        parent_span_id=row["parent_span_id"] or "",
        action=row["action"] or "",
        status=row["status"] or "",
        started_ns=row["started_ns"] or 0,
        completed_ns=row["completed_ns"] or 0,
        provenance=row["provenance"] or "",
        mapping_rule=row["mapping_rule"] or "",
        intent=row["intent"] or "",
        correlation_id=row["correlation_id"] or "",
        attributes=row["attributes"] or "",
        inputs=row["inputs"] or "",
        output=row["output"],
        error=row["error"],
        run_id=row["run_id"] or "",
        stage=row["stage"] or "",
        stream_id=row["stream_id"] or "",
        sequence=row["sequence"] or 0,
        dropped_attributes_count=row["dropped_attributes_count"] or 0,
        dropped_events_count=row["dropped_events_count"] or 0,
        dropped_links_count=row["dropped_links_count"] or 0,
    )
