"""What the reading commands write: JSON documents, and text for people. Pure.

JSON is spliced: an event stands in it byte for byte as its hash takes it.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence

import orjson
from intentproof_schemas import duration_ms, microseconds, timestamp

from .lookups import Told
from .spantree import span_tree

# C0, DEL and C1; line and paragraph separators; everything that changes the direction of text.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_CELL_WIDTH_MAX = 60
_GAP = "  "
_DEPTH_SHOWN_MAX = 20


def item(told: Told) -> bytes:
    """One event or conflict as a JSON object."""
    event = told.event
    return orjson.dumps(
        {
            "event": orjson.Fragment(told.text()),
            "event_hash": told.hash(),
            "kind": "event" if told.is_event else "conflict",
            "provenance": event.provenance,
            "mapping_rule": event.mapping_rule,
            "trace_id": event.trace_id or None,
            "span_id": event.span_id or None,
            "parent_span_id": event.parent_span_id or None,
            "writer": told.writer,
            "log_index": told.log_index,
            "received_at": timestamp(microseconds(told.received_ns)),
            "disputed": told.disputed,
            "erased": told.erased,
        }
    )


def document(tenant: str, name: str, value: str, told: Sequence[Told]) -> bytes:
    """The answer to `trace` or `correlation`; `name` is the member that holds what was asked."""
    head = orjson.dumps({"tenant": tenant, name: value})[:-1]
    return head + b',"events":[' + b",".join(map(item, told)) + b"]}"


def shown(text: str) -> str:
    """Text for people: what a terminal would obey is written as its code point."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def cell(text: str) -> str:
    """Text for a table's cell: shown, on one line, cut where it is long."""
    # Cut before and after: no need to look at megabytes, and an escape is longer.
    safe = shown(text[: _CELL_WIDTH_MAX + 1])
    return safe if len(safe) <= _CELL_WIDTH_MAX else safe[: _CELL_WIDTH_MAX - 1] + "…"


def width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """One line of a table."""
    padded = (text + " " * (most - width(text)) for text, most in zip(cells, widths, strict=True))
    return _GAP.join(padded).rstrip()


def lines(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table's lines; the first row is its head."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    return (line(row, widths) for row in rows)


def trace_lines(told: Sequence[Told]) -> Iterator[str]:
    """Events for people: what caused what, and when."""
    head = ("STARTED", "MS", "STATUS", "ACTION", "INTENT", "CORRELATION", "SERVICE", "")
    tree = span_tree(told, lambda each: (each.event.span_id, each.event.parent_span_id))
    return lines([head, *(_row(each, depth) for depth, each in tree)])


def _row(told: Told, depth: int) -> tuple[str, ...]:
    event = told.event
    marks = {
        "conflict": not told.is_event,
        "disputed": told.is_event and told.disputed,
        "erased": told.erased,
    }
    return (
        timestamp(microseconds(event.started_ns)),
        f"{duration_ms(event.started_ns, event.completed_ns):.3f}",
        cell(event.status),
        _GAP * min(depth, _DEPTH_SHOWN_MAX) + cell(event.action),
        cell(event.intent),
        cell(event.correlation_id),
        cell(told.service_name),
        ", ".join(mark for mark, holds in marks.items() if holds),
    )
