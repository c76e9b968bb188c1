"""JSON as proof records are read here: stricter than Go's decoder, never to another value. Pure.

Go takes the last of duplicate keys, folds the case of names, and replaces lone surrogates; other
readers do not. What two readers could read differently is refused.
"""

import json
import math
from typing import Any

from .errors import Unreadable

LEVELS_MAX = 100
INTEGER_MAX = 2**53  # beyond it, two integers become the same double, and so the same hash
_DIGITS_MAX = len(str(INTEGER_MAX))


def read_object(raw: bytes, what: str) -> dict[str, Any]:
    """One JSON object. `what` names it in errors. Raises Unreadable.

    Refused: invalid UTF-8, a byte-order mark, trailing data, duplicate keys, NaN and the
    infinities, numbers beyond the range of a double, integers beyond 2^53, lone surrogates, and
    more than 100 levels.
    """
    try:
        text = raw.decode()
        value = _DECODER.decode(text)
    except UnicodeDecodeError as error:
        raise Unreadable(f"{what} is not UTF-8: byte {error.start}") from error
    except RecursionError as error:
        raise Unreadable(f"{what} is nested deeper than {LEVELS_MAX} levels") from error
    except ValueError as error:
        raise Unreadable(f"{what} is not strict JSON: {error}") from error
    if not isinstance(value, dict):
        raise Unreadable(f"{what} is not a JSON object")
    _check(value, what)
    return value


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key!r} comes twice in one object")
            seen.add(key)
    return result


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) <= _DIGITS_MAX and abs(int(digits)) <= INTEGER_MAX:
        return int(digits)
    raise ValueError(
        f"the integer {digits[:40]} is beyond 2^53: as a double it would be another number"
    )


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:40]} is beyond the range of a double")
    return value


def _constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_int=_integer, parse_float=_float, parse_constant=_constant
)


def _check(value: object, what: str) -> None:
    """Refuse lone surrogates and too many levels, in keys and values, without recursion."""
    waiting = [(value, 1)]
    while waiting:
        item, level = waiting.pop()
        if level > LEVELS_MAX + 1:
            raise Unreadable(f"{what} is nested deeper than {LEVELS_MAX} levels")
        if isinstance(item, dict):
            waiting += [(each, level + 1) for pair in item.items() for each in pair]
        elif isinstance(item, list):
            waiting += [(each, level + 1) for each in item]
        elif isinstance(item, str) and not item.isascii():
            try:
                item.encode()
            except UnicodeEncodeError as error:
                raise Unreadable(f"{what} holds a lone surrogate: {item[:40]!r}") from error
