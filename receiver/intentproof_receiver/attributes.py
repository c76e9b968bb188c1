"""A span's own attributes, from bytes: most of what there is to read in a request.

Spans are read by OTLP's descriptor with one change on our side of the wire: an attribute is bytes.
Those of the form that every exporter writes for text are cut here, without an object a field; all
others are parsed by the library, one by one. Telemetry repeats itself: short attributes that were
read once are remembered by their bytes.
"""

from collections.abc import Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from intentproof_schemas import KeyValues, Value
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from .enclosure import varint
from .wire import Pair, warn_of_strindex

_REMEMBERED_MAX = 8192
_REMEMBERED_BYTES_MAX = 96
_KEYS_MAX = 4096
_KEY_BYTES_MAX = 127  # whose length is one byte on the wire
_HEADS_BYTES_MAX = 4096

_parse_pair = common_pb2.KeyValue.FromString
_pairs_by_bytes: dict[bytes, Pair] = {}
_keys_by_head: dict[bytes, str] = {}


def read_attributes(raws: Sequence[bytes]) -> list[Pair]:
    """The attributes of a span. Raises DecodeError where the library would refuse one."""
    pairs = []
    for raw in raws:
        pair = _pairs_by_bytes.get(raw)
        if pair is None:
            pair = _text_pair(raw) or _read_pair(raw)
            if pair is None:
                continue
            if len(raw) <= _REMEMBERED_BYTES_MAX and type(pair[1]) in _IMMUTABLE:
                if len(_pairs_by_bytes) >= _REMEMBERED_MAX:
                    _pairs_by_bytes.clear()
                _pairs_by_bytes[raw] = pair
        pairs.append(pair)
    return pairs


_IMMUTABLE = frozenset((str, int, bool, float, bytes, type(None)))


def _text_pair(raw: bytes) -> Pair | None:
    """A KeyValue of a known key and a text, in the one form that writers give it, or None.

    0x0A, length, key · 0x12, length of the value · 0x0A, length, text; then nothing.
    """
    try:
        at = raw[1] + 2
        key = _keys_by_head.get(raw[: at + 1])
        if key is None:
            return None
        head = _HEADS[len(raw) - at]
        return (key, str(raw[at + len(head) :], "utf-8")) if raw.startswith(head, at) else None
    except (IndexError, UnicodeDecodeError):
        return None


def _heads() -> list[bytes]:
    """What stands before a text, by the number of bytes from the value's tag to its end."""
    heads = [b"\xff"] * _HEADS_BYTES_MAX  # no field starts so
    for size in range(_HEADS_BYTES_MAX):
        inner = b"\x0a" + varint(size)
        head = b"\x12" + varint(len(inner) + size) + inner
        if len(head) + size < _HEADS_BYTES_MAX:
            heads[len(head) + size] = head
    return heads


_HEADS = _heads()


def _read_pair(raw: bytes) -> Pair | None:
    """Any KeyValue; None where its key is an index into a table that traces do not have."""
    message = _parse_pair(raw)
    key = message.key
    if not key and is_by_index(message):
        return None
    head = key.encode()
    if len(head) <= _KEY_BYTES_MAX and len(_keys_by_head) < _KEYS_MAX:
        _keys_by_head[b"\x0a" + bytes((len(head),)) + head + b"\x12"] = key
    return key, any_value(message.value)


def message_pairs(pairs: Any) -> list[Pair]:
    """A repeated KeyValue that the library has read."""
    return [
        (pair.key, any_value(pair.value)) for pair in pairs if pair.key or not is_by_index(pair)
    ]


def any_value(value: Any) -> Value:
    """An AnyValue; recursion is bounded by the library, which parsed it within its own limit."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [any_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return KeyValues(message_pairs(value.kvlist_value.values))
    if kind == "string_value_strindex":
        warn_of_strindex()
        return None
    plain: Value = getattr(value, kind)
    return plain


def is_by_index(pair: Any) -> bool:
    """Whether a KeyValue names its key by an index."""
    if not pair.key_strindex:
        return False
    warn_of_strindex()
    return True


def span_class() -> Any:
    """The class of OTLP's span with attributes as bytes, in a pool of its own."""
    pool = descriptor_pool.DescriptorPool()
    for module in (common_pb2, resource_pb2, trace_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        for message in file.message_type:
            for field in message.field if message.name == "Span" else ():
                if field.name == "attributes":
                    field.type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
                    field.ClearField("type_name")
        pool.Add(file)
    name = trace_pb2.Span.DESCRIPTOR.full_name
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
