"""Days as people give them, in Unix nanoseconds. Pure."""

import re
from datetime import date

from .errors import RequestInvalid
from .layout import DAY_NS

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_EPOCH = date(1970, 1, 1)


def day_start(text: str) -> int:
    """The first moment of a UTC day written YYYY-MM-DD. Raises RequestInvalid."""
    try:
        if not _DAY.fullmatch(text):
            raise ValueError(text)
        day = date.fromisoformat(text)
    except ValueError as error:
        raise RequestInvalid(f"{text!r} is not a day: write it as 2026-11-21") from error
    return (day - _EPOCH).days * DAY_NS
