"""Single attributes of a span: first of equal keys, trimmed, limited, cut. Pure."""

from . import names
from .errors import SpanRejected
from .jsontext import Duplicates, decimal_text, whole_text
from .span import Pairs, Value

INTENT_BYTES_MAX = 4096  # contract §2
TEXT_BYTES_MAX = 256  # contract §2: every other text of the table
BLANK = "\t\n\r "
_OPTIONAL_TEXTS = (
    (names.CORRELATION_ID, True),
    (names.RUN_ID, True),
    (names.STAGE, True),
    (names.STREAM_ID, False),
)


def first_of_each(pairs: Pairs, duplicates: Duplicates) -> dict[str, Value]:
    """Pairs as a dict: of equal keys the first, the others counted."""
    first: dict[str, Value] = {}
    for key, value in pairs:
        if not key.isascii():
            key = whole_text(key)
        if key in first:
            duplicates.count += 1
        else:
            first[key] = value
    return first


def text_of(
    given: dict[str, Value],
    key: str,
    *,
    integers: bool = False,
    bytes_max: int = TEXT_BYTES_MAX,
) -> str:
    """A producer's text, trimmed; "" where it is absent or blank."""
    value = given.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        if not integers or isinstance(value, bool) or not isinstance(value, int):
            wanted = "a string or an int" if integers else "a string"
            raise SpanRejected("wrong_type", key, f"must be {wanted}")
        value = decimal_text(value)
    trimmed = whole_text(value).strip(BLANK)
    if len(trimmed) * 4 > bytes_max and len(trimmed.encode()) > bytes_max:
        raise SpanRejected("too_long", key, f"over {bytes_max} bytes")
    return trimmed


def optional_texts(given: dict[str, Value]) -> dict[str, str]:
    """The producer's optional texts that are there, by key."""
    return {
        key: text_of(given, key, integers=integers)
        for key, integers in _OPTIONAL_TEXTS
        if key in given
    }


def cut(value: str, bytes_max: int) -> str:
    """`value` cut to `bytes_max` bytes of UTF-8 at a code point, and trimmed."""
    trimmed = whole_text(value).strip(BLANK)
    raw = trimmed.encode()
    if len(raw) <= bytes_max:
        return trimmed
    return raw[:bytes_max].decode(errors="ignore").rstrip(BLANK)


def convention_text(given: dict[str, Value], keys: tuple[str, ...], bytes_max: int) -> str:
    """The first of the keys that brings text, cut to the limit; "" where none does."""
    for key in keys:
        value = given.get(key)
        if isinstance(value, str):
            text = cut(value, bytes_max)
            if text:
                return text
    return ""


def string_of(given: dict[str, Value], key: str) -> str:
    """The text at a key, untrimmed; "" where there is none."""
    value = given.get(key)
    return whole_text(value) if isinstance(value, str) else ""
