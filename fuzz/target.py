"""What no input may do: end the decoder with anything but a permanent answer, or cost a neighbour.

The first byte of an input says what the rest is: a request, a compressed body, or a span between
two good ones. `check` raises where a property does not hold.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

from intentproof_receiver.body import ENCODINGS, decoder_of, unpack
from intentproof_receiver.decode import Block, Decoded, Request, decode_protobuf
from intentproof_receiver.enclosure import is_json_request, length_delimited
from intentproof_receiver.errors import ReceiverError, answer_to
from intentproof_receiver.inflight import Budget
from intentproof_receiver.json_split import split
from intentproof_receiver.otlp_json import decode_json
from intentproof_receiver.sorting import SortedSpans
from intentproof_schemas import SpanRejected, map_span

_Made = TypeVar("_Made")
BYTES_MAX = 1 << 20
NEIGHBOURS = 40  # enough for a block to be read in columns
_EVENT_BYTES_MAX = 1 << 16
_JSON_HEAD = b'{"resourceSpans":[{"scopeSpans":[{"spans":['
_JSON_TAIL = b"]}]}]}"
_INTENT = b"intentproof.intent"


def good_span(number: int) -> bytes:
    """An annotated span over protobuf."""
    pair = length_delimited(1, _INTENT) + length_delimited(2, length_delimited(1, b"do"))
    ids = length_delimited(1, bytes(range(16))) + length_delimited(2, number.to_bytes(8, "big"))
    return ids + length_delimited(5, b"act") + length_delimited(9, pair)


def good_json(number: int) -> bytes:
    """The same in JSON."""
    return (
        b'{"traceId":"000102030405060708090a0b0c0d0e0f","spanId":"%016x","name":"act","attributes":'
        b'[{"key":"%b","value":{"stringValue":"do"}}]}'
    ) % (number, _INTENT)


def check(data: bytes) -> None:
    """Try one input."""
    if data:
        _CHECKS[data[0] % len(_CHECKS)](data[1:])


def check_protobuf(data: bytes) -> None:
    """Any bytes as a protobuf request."""
    _sorted(decode_protobuf, data)


def check_json(data: bytes) -> None:
    """Any bytes as a JSON request."""
    _sorted(decode_json, data)


def check_body(data: bytes) -> None:
    """Any bytes as a compressed body: what comes out is within the limit, or refused."""
    encoding = ENCODINGS[data[0] % len(ENCODINGS)] if data else "gzip"
    lease = Budget(bytes_max=1 << 40, requests_max=1).lease("acme")
    decoder = decoder_of(encoding, bytes_max=BYTES_MAX)
    made = _permanent(lambda: unpack(data[1:], decoder, bytes_max=BYTES_MAX, lease=lease))
    if made is not None and len(made) > max(BYTES_MAX, len(data)):
        raise AssertionError(f"{len(made)} bytes came out")


def check_span(data: bytes) -> None:
    """Any bytes as a span between good ones, in columns and one by one."""
    for neighbours in (2, NEIGHBOURS):
        spans = [good_span(number) for number in range(1, neighbours + 1)]
        spans.insert(1, data)
        body = b"".join(length_delimited(2, span) for span in spans)
        body = length_delimited(1, length_delimited(2, body))
        check_neighbours(_sorted(decode_protobuf, body), neighbours)
    _round_trip(
        decode_protobuf, length_delimited(1, length_delimited(2, length_delimited(2, data)))
    )


def check_json_span(data: bytes) -> None:
    """Any JSON value, as far as brackets and quotes go, as a span between good ones."""
    body = _JSON_HEAD + good_json(1) + b"," + data + b"," + good_json(2) + _JSON_TAIL
    alone = _JSON_HEAD + data + _JSON_TAIL
    if is_one_value(alone):
        check_neighbours(_sorted(decode_json, body), 2)
        _round_trip(decode_json, alone)


def is_one_value(body: bytes) -> bool:
    """Whether a JSON request has exactly one span."""
    try:
        (resource,) = split(body).resources
        (spans,) = resource.scopes
    except (ReceiverError, ValueError):
        return False
    return len(spans.places) == 2 and spans.places[1] == len(body) - len(_JSON_TAIL)


def check_neighbours(found: SortedSpans | None, neighbours: int) -> None:
    """Each good span is taken, and the odd one has a fate."""
    if found is None:
        raise AssertionError("the whole request was refused")
    fates = found.taken + found.not_kept + found.reasons.total()
    if found.taken < neighbours or fates != neighbours + 1:
        raise AssertionError(f"{found.taken} taken of {neighbours}, {fates} fates")


def _permanent(act: Callable[[], _Made]) -> _Made | None:
    """What `act` gives; None for a permanent answer. Lets everything else through."""
    try:
        return act()
    except ReceiverError as error:
        if answer_to(error).retryable:
            raise AssertionError("no retry can mend bytes") from error
        return None


def _sorted(decode: Callable[[bytes], Request], data: bytes) -> SortedSpans | None:
    found = SortedSpans(event_bytes_max=_EVENT_BYTES_MAX)

    def act() -> SortedSpans:
        request = decode(data)
        while found.take(request.parts):
            found.drain()
        found.drain()
        return found

    return _permanent(act)


def _round_trip(decode: Callable[[bytes], Request], body: bytes) -> None:
    """Out of quarantine comes what went in."""
    (one,) = _each(decode(body))
    again = decode_json if is_json_request(one.request()) else decode_protobuf
    (other,) = _each(again(one.request()))
    if (one.raw, one.fault, _event(one)) != (other.raw, other.fault, _event(other)):
        raise AssertionError("quarantine changed a span")


def _each(request: Request) -> Iterator[Decoded]:
    for part in request.parts:
        yield from part.decoded(range(len(part.raws))) if isinstance(part, Block) else (part,)


def _event(one: Decoded) -> object:
    if one.span is None:
        return None
    try:
        return map_span(one.span)
    except SpanRejected as error:
        return str(error)


_CHECKS = (check_span, check_json_span, check_protobuf, check_json, check_body)
