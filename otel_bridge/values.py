"""Attribute values made fit for the wire, so that the encoder drops none of them.

OpenTelemetry's encoder drops integers beyond 63 bits and lone surrogates with an ERROR log, and
protobuf refuses deep nesting. The mapping reads what stands here in their place as the same value.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from intentproof_schemas import Duplicates, KeyValues, SpanRejected, Value, canonical, json_value

_INT64 = range(-(2**63), 2**63)
# Protobuf stops at 100 messages; a map costs three a level, and a span stands some way down.
_WIRE_LEVELS_MAX = 16
_DEEP = "(nested too deeply to be sent)"


class _NotOnWire(Exception):
    pass


def whole_text(value: str) -> str:
    """`value` with every lone surrogate replaced by U+FFFD."""
    if value.isascii():
        return value
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def integer_text(value: int) -> str:
    """An integer's decimal text; hexadecimal beyond the digits that Python agrees to write."""
    try:
        return str(value)
    except ValueError:  # sys.set_int_max_str_digits
        return hex(value)


def plain_attributes(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """A span's attributes as a dict of one's own.

    The SDK's mapping walks in Python, item by item; its `copy` is ten times faster than that.
    """
    if not attributes:
        return {}
    copy = getattr(attributes, "copy", None)
    plain = copy() if copy is not None else None
    return plain if type(plain) is dict else dict(attributes)


def wire_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes that the encoder takes whole; of keys that become equal the first wins. Pure."""
    result: dict[str, Any] = {}
    for key, value in attributes.items():
        if type(value) is not str or not value.isascii():
            value = wire_value(value)
        result.setdefault(key if key.isascii() else whole_text(key), value)
    return result


def wire_value(value: Any) -> Any:
    """A value that the encoder takes whole. Pure.

    Integers beyond 64 bits become decimal text, lone surrogates U+FFFD. A value that is nested
    deeper than protobuf allows, or has a null inside, which encoders before 1.45 drop, becomes
    its JSON text, which the mapping reads as the value.
    """
    try:
        return _wire_value(value, _WIRE_LEVELS_MAX)
    except _NotOnWire:
        return _json_text(value)


def mapping_value(value: Any) -> Value:
    """A value of the SDK as the mapping reads it: maps as key-value lists. Pure."""
    if isinstance(value, Mapping):
        return KeyValues((key, mapping_value(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return [mapping_value(item) for item in value]
    return cast("Value", value)


def _wire_value(value: Any, levels: int) -> Any:
    if value is None and levels < _WIRE_LEVELS_MAX:
        raise _NotOnWire
    if value is None or isinstance(value, (bool, float, bytes)):
        return value
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, int):
        return int(value) if value in _INT64 else integer_text(int(value))
    if not isinstance(value, (Mapping, Sequence)):
        return whole_text(str(value))
    if levels <= 0:
        raise _NotOnWire
    if isinstance(value, Mapping):
        result: dict[str, Any] = {}
        for key, item in value.items():
            result.setdefault(whole_text(str(key)), _wire_value(item, levels - 1))
        return result
    return tuple(_wire_value(item, levels - 1) for item in value)


def _json_text(value: Any) -> str:
    """Canonical JSON; beyond the 64 levels that the contract knows, Python's own words."""
    try:
        return canonical(json_value(mapping_value(value), Duplicates())).decode()
    except SpanRejected:
        return whole_text(str(value))
    except RecursionError:
        return _DEEP
