"""RFC 8785 canonical JSON, with a fast path that is taken only where it is provably equal.

`rfc8785` is the reference and raises the right error. orjson is some ten times faster and writes
the same bytes for a subset of values: exact JSON types, ASCII keys (so that code-point order is
UTF-16 order), integers within 2^53 - 1, and floats whose text no two writers spell differently.
`tests/schemas/test_canonical.py` holds the property test that proves it.
"""

from typing import Any

import orjson
import rfc8785

from .errors import CanonicalError

# orjson raises for integers beyond 2^53 - 1, and hands what is not an exact JSON type to us.
_OPTIONS = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_STRICT_INTEGER
    | orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
)
ATOMS = frozenset((str, int, bool, type(None)))  # types that orjson writes as RFC 8785 does
_TEXT = frozenset((str,))
_FLOAT_MIN = 1e-4  # below, writers differ in when they switch to an exponent
_FLOAT_MAX = float(2**53)  # from here on every float is integral
_LEVELS_MAX = 200  # orjson stops at 254; rfc8785 answers for what is deeper


def _float_is_plain(value: float) -> bool:
    # NaN compares false with everything; integral floats lose their ".0" in RFC 8785.
    return _FLOAT_MIN <= abs(value) < _FLOAT_MAX and not value.is_integer()


def is_plain(value: Any, levels: int = _LEVELS_MAX) -> bool:
    """Whether orjson writes `value` exactly as RFC 8785 asks, nested at most `levels` deep.

    The walk leaves the loops over keys and over flat values to C: this runs for every event.
    """
    kind = type(value)
    if kind in ATOMS:
        return True
    if kind is float:
        return _float_is_plain(value)
    if levels <= 0:
        return False
    if kind is dict:
        if not (_TEXT.issuperset(map(type, value)) and all(map(str.isascii, value))):
            return False
        items = value.values()
    elif kind is list:
        items = value
    else:
        return False
    if ATOMS.issuperset(map(type, items)):
        return True
    return all(is_plain(item, levels - 1) for item in items)


def canonical(value: Any) -> bytes:
    """The RFC 8785 (JCS) bytes of `value`, a tree of dict, list, str, int, float, bool, None.

    Raises CanonicalError for what RFC 8785 cannot write: NaN, infinities, integers beyond
    2^53 - 1, lone surrogates, keys that are not text, other types. Pure.
    """
    if is_plain(value):
        plain = dump_plain(value)
        if plain is not None:
            return plain
    try:
        return rfc8785.dumps(value)
    except (ValueError, RecursionError) as error:  # ValueError: also of numbers too long to print
        raise CanonicalError(str(error) or type(error).__name__) from error


def dump_plain(value: Any) -> bytes | None:
    """What orjson writes for a value for which `is_plain` holds, or None where orjson refuses it.

    What is left for it to refuse: lone surrogates and integers beyond 2^53 - 1.
    """
    try:
        return orjson.dumps(value, option=_OPTIONS)
    except TypeError:
        return None


def text(value: str) -> bytes:
    """The RFC 8785 bytes of one string. Raises CanonicalError for a lone surrogate."""
    try:
        return orjson.dumps(value)
    except TypeError as error:
        raise CanonicalError("a string holds a lone surrogate") from error
