"""A span out of quarantine, looked at as if it came today: what it would be, and what it is."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from intentproof_schemas import ExecutionEvent, SpanRejected, is_taken, map_span
from intentproof_store import (
    Quarantined,
    QuarantineDamaged,
    Told,
    read_quarantined,
    tells_again,
)

from .decode import Block, Decoded, Request, decode_protobuf
from .enclosure import Enclosure, is_json_request
from .errors import InvalidRequest, ReceiverError
from .otlp_json import decode_json, parse
from .status import Encoding
from .wire import Malformed, read_fields

_RESOURCE_SPANS = 0x0A
NO_RULE = "no mapping rule takes this span"
NO_ORIGIN = "kept without its resource and scope, by an older version"


class State(Enum):
    """What a retry would make of a span in quarantine."""

    READY = "ready"  # it would become an event
    IN_LOG = "in_log"  # its event is there
    CONFLICT = "conflict"  # another event of its id is there: it would be kept as a conflict
    REFUSED = "refused"
    DAMAGED = "damaged"  # the file is not what the log commits to


@dataclass(frozen=True)
class Reopened:
    """An item of quarantine, what a retry would make of it, and why.

    `body` is a request of its span alone; `span` is what this version reads of it.
    """

    item: Quarantined
    state: State
    why: str = ""
    kept: bytes = b""
    body: bytes = b""
    encoding: Encoding = Encoding.PROTOBUF
    span: Decoded | None = None
    event: ExecutionEvent | None = None


def reopen(
    item: Quarantined,
    store: Path,
    *,
    event_bytes_max: int,
    known: Callable[[str], list[Told]],
) -> Reopened:
    """Look at an item again. `known` tells what the log has under an event's id. Blocks."""
    try:
        kept = read_quarantined(store, item)
    except QuarantineDamaged as error:
        return Reopened(item, State.DAMAGED, str(error))
    body, encoding = request_of(kept)
    span, event, why = _event(body, encoding, event_bytes_max)
    state = State.REFUSED
    if event is not None:
        told = known(event.event_id)
        state = State.READY
        if told:
            state = State.IN_LOG if tells_again(event, told) else State.CONFLICT
        why = NO_ORIGIN if body != kept else ""
    return Reopened(item, state, why, kept, body, encoding, span, event)


def request_of(kept: bytes) -> tuple[bytes, Encoding]:
    """What quarantine keeps, as a request. Versions before kept the span's bytes alone.

    A span of which one length-delimited field is everything has no attributes, so that none was
    ever kept: what looks like a request is one.
    """
    if is_json_request(kept):
        return kept, Encoding.JSON
    if kept.startswith(b"{") and _is_json(kept):
        return Enclosure(is_json=True).request(kept), Encoding.JSON
    if _is_request(kept):
        return kept, Encoding.PROTOBUF
    return Enclosure().request(kept), Encoding.PROTOBUF


def _is_json(kept: bytes) -> bool:
    try:
        parse(kept)
    except ValueError:
        return False
    return True


def _is_request(kept: bytes) -> bool:
    try:
        return [tag for tag, _, _ in read_fields(kept)] == [_RESOURCE_SPANS]
    except Malformed:
        return False


def _event(
    body: bytes, encoding: Encoding, event_bytes_max: int
) -> tuple[Decoded | None, ExecutionEvent | None, str]:
    """The span, its event where it has one, and why not."""
    try:
        request = decode_json(body) if encoding is Encoding.JSON else decode_protobuf(body)
        one = _only(request)
    except ReceiverError as error:
        return None, None, str(error)
    if one.fault is not None:
        why = one.fault.message
        if not one.origin.kept.is_whole:
            why = "its resource or scope was too large to be kept with it: its sender has it"
        return one, None, why if one.span is None or is_taken(one.span) else NO_RULE
    assert one.span is not None  # noqa: S101 - without a fault there is a span
    try:
        event = map_span(one.span, event_bytes_max=event_bytes_max)
    except SpanRejected as error:
        return one, None, str(error)
    return one, event, "" if event else NO_RULE


def _only(request: Request) -> Decoded:
    spans: list[Decoded] = []
    for part in request.parts:
        spans += part.decoded(range(len(part.raws))) if isinstance(part, Block) else [part]
    if len(spans) != 1:
        raise InvalidRequest("body", f"{len(spans)} spans where one was set aside")
    return spans[0]
