"""A stretch of time as the commands take it: `A..B`, UTC. Pure."""

import re
from dataclasses import dataclass

from intentproof_schemas import microseconds, parse_time_us, timestamp

from .errors import PeriodInvalid, RequestInvalid

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_US_NS = 1_000


@dataclass(frozen=True)
class Period:
    """From `first_ns`, inclusive, to `end_ns`, exclusive, in Unix nanoseconds."""

    first_ns: int
    end_ns: int

    def text(self) -> str:
        """The period as `read_period` takes it, in full."""
        first, end = (timestamp(microseconds(ns)) for ns in (self.first_ns, self.end_ns))
        return f"{first}..{end}"


def read_period(given: str) -> Period:
    """A period `A..B` of RFC 3339 dates or instants, A inclusive and B exclusive.

    A date is its midnight, UTC; an instant is cut to microseconds. Raises PeriodInvalid.
    """
    first, dots, end = given.strip().partition("..")
    first_ns, end_ns = _instant_ns(first), _instant_ns(end)
    if not dots or first_ns is None or end_ns is None or first_ns >= end_ns:
        raise PeriodInvalid(given)
    return Period(first_ns, end_ns)


def day_start(text: str) -> int:
    """The first moment of a UTC day written YYYY-MM-DD. Raises RequestInvalid."""
    start_ns = _instant_ns(text) if _DATE.fullmatch(text) else None
    if start_ns is None:
        raise RequestInvalid(f"{text!r} is not a day: write it as 2026-11-21")
    return start_ns


def _instant_ns(text: str) -> int | None:
    us = parse_time_us(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text)
    return None if us is None else us * _US_NS
