"""The fields of OTLP/JSON messages, each read by the rule of its type.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding and ProtoJSON, which it extends.
"""

import base64
import binascii
import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from intentproof_schemas import KeyValues, Value

from .wire import LEVELS_MAX, Fault, Pair, warn_of_strindex

_HEX = re.compile(r"(?:[0-9a-fA-F]{2})*")
_INTEGER = re.compile(r"-?[0-9]{1,20}")
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_U32_MAX = 2**32 - 1
_I32_MAX = 2**31 - 1
_I64_MAX = 2**63 - 1


class Unfit(Exception):
    """A member that is not what OTLP/JSON says; caught where the span is read."""

    def __init__(self, reason: str, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.fault = Fault(reason, f"{field}: {message}")


def as_object(value: Any, field: str) -> dict[str, Any]:
    """A message; an absent or null one is empty."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unfit("malformed", field, "must be an object")
    return value


def list_of(members: dict[str, Any], name: str) -> list[Any]:
    """A repeated field."""
    value = members.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Unfit("malformed", name, "must be an array")
    return value


def text_of(members: dict[str, Any], name: str) -> str:
    """A string field."""
    value = members.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Unfit("malformed", name, "must be a string")
    return value


def id_of(members: dict[str, Any], name: str) -> bytes:
    """A trace or span id: hexadecimal in either case, never base64."""
    digits = text_of(members, name)
    if not _HEX.fullmatch(digits):
        raise Unfit("bad_id", name, "must be hexadecimal digits")
    return bytes.fromhex(digits)


def enum_of(members: dict[str, Any], name: str) -> int:
    """An enum: an integer, never a name."""
    value = members.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unfit("malformed", name, "an enum must be an integer")
    if not -_I32_MAX - 1 <= value <= _I32_MAX:
        raise Unfit("malformed", name, "an enum must fit 32 bits")
    return value


def count_of(members: dict[str, Any], name: str) -> int:
    """A uint32."""
    return as_integer(members.get(name), name, 0, _U32_MAX)


def as_integer(value: Any, field: str, low: int, high: int) -> int:
    """A 64-bit integer, as a number or as decimal text."""
    if value is None:
        return 0
    is_decimal = isinstance(value, str) and _INTEGER.fullmatch(value) is not None
    if is_decimal or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Unfit("malformed", field, f"must be an integer from {low} to {high}")
    return value


def pairs_of(members: dict[str, Any], levels: int, name: str = "attributes") -> list[Pair]:
    """A repeated KeyValue, in order, duplicates included."""
    pairs: list[Pair] = []
    for item in list_of(members, name):
        pairs.extend(pair_of(as_object(item, name), name, levels))
    return pairs


def pair_of(item: dict[str, Any], field: str, levels: int) -> list[Pair]:
    """One pair; none where the key is an index into a table that traces do not have."""
    key = text_of(item, "key")
    if not key and item.get("keyStrindex"):
        warn_of_strindex()
        return []
    return [(key, as_value(as_object(item.get("value"), field), f"{field}[{key[:80]!r}]", levels))]


def as_value(value: dict[str, Any], field: str, levels: int) -> Value:
    """An AnyValue: the first member of a known name that is not null."""
    for name, content in value.items():
        if content is None:
            continue
        if name in ("arrayValue", "kvlistValue"):
            return _nested(name, as_object(content, field), field, levels)
        if name == "stringValueStrindex":
            warn_of_strindex()
            continue
        read = _PLAIN.get(name)
        if read is not None:
            return read(content, field)
    return None


def _nested(name: str, content: dict[str, Any], field: str, levels: int) -> Value:
    if levels <= 0:
        raise Unfit("nesting", field, f"nested deeper than {LEVELS_MAX} levels")
    if name == "kvlistValue":
        return KeyValues(pairs_of(content, levels - 1, "values"))
    return [
        as_value(as_object(item, field), field, levels - 1) for item in list_of(content, "values")
    ]


def _string_value(content: Any, field: str) -> str:
    if not isinstance(content, str):
        raise Unfit("malformed", field, "stringValue must be a string")
    return content


def _bool_value(content: Any, field: str) -> bool:
    if not isinstance(content, bool):
        raise Unfit("malformed", field, "boolValue must be true or false")
    return content


def _int_value(content: Any, field: str) -> int | float:
    # OpenTelemetry's JavaScript exporter calls every number without a fraction an integer, 1e300
    # too, which is a double on its other transports. What no double is would be changed by that,
    # and decimal text has no such excuse.
    if isinstance(content, int) and not -_I64_MAX - 1 <= content <= _I64_MAX:
        double = _double_value(content, field)
        if content in (int(double), int(Decimal(repr(double)))):  # as JavaScript writes it
            content = double
    if isinstance(content, float) and content.is_integer() and not -(2.0**63) <= content < 2.0**63:
        return content
    return as_integer(content, field, -_I64_MAX - 1, _I64_MAX)


def _double_value(content: Any, field: str) -> float:
    if isinstance(content, str):
        if content in _NOT_FINITE:
            return _NOT_FINITE[content]
        content = float(content) if _NUMBER.fullmatch(content) else None
    if isinstance(content, bool) or not isinstance(content, (int, float)):
        raise Unfit("malformed", field, "doubleValue must be a number")
    try:
        number = float(content)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise Unfit("malformed", field, "doubleValue is beyond a double")
    return number


def _bytes_value(content: Any, field: str) -> bytes:
    try:
        if isinstance(content, str):
            text = content.replace("-", "+").replace("_", "/").rstrip("=")
            return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        pass
    raise Unfit("malformed", field, "bytesValue must be base64")


_PLAIN: dict[str, Callable[[Any, str], Value]] = {
    "stringValue": _string_value,
    "boolValue": _bool_value,
    "intValue": _int_value,
    "doubleValue": _double_value,
    "bytesValue": _bytes_value,
}
