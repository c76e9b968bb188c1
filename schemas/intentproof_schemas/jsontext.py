"""Foreign values to JSON: texts that may be JSON, and OTLP's values.

The rules are those of contract §3: integers beyond 2^53 - 1 become decimal text, NaN and the
infinities their names, bytes base64, lone surrogates U+FFFD, and of duplicate keys the first wins.
"""

import base64
import json
import math
import re
from typing import Any

import orjson

from .canonical import ATOMS, canonical, dump_plain, is_plain
from .errors import NotJson, SpanRejected
from .span import KeyValues, Value

LEVELS_MAX = 64  # contract §2; OpenTelemetry's AttributeValueDepthLimit
INTEGER_MAX = 2**53 - 1  # RFC 7493 section 2.2
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
_BLANK = " \t\n\r"
_BEGINNINGS = frozenset('{["-0123456789tfn')
_DOUBLE_DIGITS_MAX = 309  # the largest double has 309 digits before the point


class Duplicates:
    """Counts keys that were dropped because an earlier one has the same name."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


def whole_text(value: str) -> str:
    """`value` with every lone surrogate replaced by U+FFFD."""
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value


def json_integer(value: int) -> int | str:
    """An integer as JSON may carry it: itself within 2^53 - 1, else its decimal text.

    Raises SpanRejected for an integer that Python refuses to print; OTLP cannot carry one.
    """
    return value if -INTEGER_MAX <= value <= INTEGER_MAX else decimal_text(value)


def decimal_text(value: int) -> str:
    """An integer's decimal digits. Raises SpanRejected where those would be thousands."""
    try:
        return str(value)
    except ValueError as error:
        raise SpanRejected("out_of_range", "an int", "has thousands of digits") from error


def json_float(value: float) -> float | str:
    """A double as JSON may carry it: itself if finite, else `NaN`, `Infinity`, `-Infinity`."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def json_value(value: Value, duplicates: Duplicates, levels: int = LEVELS_MAX) -> Any:
    """An OTLP value as a JSON value.

    Raises SpanRejected for arrays and maps nested deeper than `levels`.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, int):
        return json_integer(value)
    if isinstance(value, float):
        return json_float(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if levels <= 0:
        raise SpanRejected("nesting", "attributes", f"a value has over {LEVELS_MAX} levels")
    if isinstance(value, KeyValues):
        pairs = ((whole_text(key), item) for key, item in value)
        return json_object(pairs, duplicates, levels)
    return [json_value(item, duplicates, levels - 1) for item in value]


def json_object(pairs: Any, duplicates: Duplicates, levels: int = LEVELS_MAX) -> dict[str, Any]:
    """Key-value pairs as a JSON object; the first of equal keys wins, the others are counted."""
    result: dict[str, Any] = {}
    for key, item in pairs:
        if key in result:
            duplicates.count += 1
        else:
            result[key] = json_value(item, duplicates, levels - 1)
    return result


def read_json(text: str, duplicates: Duplicates) -> tuple[Any, bytes]:
    """A JSON text's value and its RFC 8785 bytes.

    Raises NotJson for what is not RFC 8259, is nested deeper than 64 levels, or holds a number
    beyond the range of a double. Duplicate keys that were dropped are added to `duplicates`.
    """
    plain = read_plain(text)
    if plain is not None:
        return plain
    found = Duplicates()
    value = _read_any(text, found)
    duplicates.count += found.count
    return value, canonical(value)


def read_plain(text: str) -> tuple[Any, bytes] | None:
    """The same by orjson, or None where it might differ from the rules.

    orjson keeps the last of duplicate keys in silence. Without a backslash in the text, each of
    its strings costs two quotation marks on both sides, so a dropped key shows in their number.
    """
    if "\\" in text:
        return None
    try:
        value = orjson.loads(text)
    except (ValueError, RecursionError):
        return None
    # Most texts are a flat object with ASCII keys: a whole text in ASCII shows the latter at once.
    if not (
        type(value) is dict and text.isascii() and ATOMS.issuperset(map(type, value.values()))
    ) and not is_plain(value, LEVELS_MAX):
        return None
    out = dump_plain(value)
    if out is None or (out != text.encode() and out.count(b'"') != text.count('"')):
        return None
    return value, out


def _read_any(text: str, duplicates: Duplicates) -> Any:
    if text.lstrip(_BLANK)[:1] not in _BEGINNINGS:
        raise NotJson("no JSON value begins so")  # plain words are common, and reading them is slow
    if json_levels(text) > LEVELS_MAX:
        raise NotJson(f"nested deeper than {LEVELS_MAX} levels")

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for raw_key, item in items:
            key = whole_text(raw_key)
            if key in result:
                duplicates.count += 1
            else:
                result[key] = item
        return result

    decoder = json.JSONDecoder(
        object_pairs_hook=pairs,
        parse_int=_read_integer,
        parse_float=_read_float,
        parse_constant=_refuse_constant,
    )
    try:
        return _whole(decoder.decode(text))
    except (ValueError, RecursionError) as error:
        raise NotJson(str(error)) from error


def json_levels(text: str) -> int:
    """How deep brackets outside strings nest: of the text, dropped members included."""
    deepest = level = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        level += 1 if bracket in "[{" else -1
        deepest = max(deepest, level)
    return deepest


def _whole(value: Any) -> Any:
    """`value` with whole strings only; keys are whole already."""
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return value


def _read_integer(digits: str) -> int | str:
    if len(digits.lstrip("-")) > _DOUBLE_DIGITS_MAX or not math.isfinite(float(digits)):
        raise NotJson("an integer beyond the range of a double")
    return json_integer(int(digits))


def _read_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise NotJson("a number beyond the range of a double")
    return value


def _refuse_constant(name: str) -> Any:
    raise NotJson(f"{name} is not JSON")
