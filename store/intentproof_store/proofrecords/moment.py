"""Times of proof records, read as Go's `time.Time` reads them. Pure.

Go is laxer than RFC 3339: it takes a comma before the fraction, a one-digit hour and offsets up
to 24:60. It refuses lower-case `t` and `z`, hour 24, second 60 and impossible days.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from .errors import Unreadable

_FORM = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})T(\d{1,2}):(\d{2}):(\d{2})(?:[.,](\d+))?"
    r"(?:Z|([+-])(\d{2}):(\d{2}))",
    re.ASCII,
)
_NANO_DIGITS = 9
_OFFSET_HOURS_MAX, _OFFSET_MINUTES_MAX = 24, 60


@dataclass(frozen=True)
class Moment:
    """A time as it was written: the clock's reading, nanoseconds, and the zone's offset."""

    local: datetime
    nanoseconds: int
    offset: timedelta

    def seconds_text(self) -> str:
        """UTC, whole seconds, the fraction cut off: all of a time that a hash covers."""
        return (self.local - self.offset).isoformat(timespec="seconds") + "Z"

    def text(self) -> str:
        """As Go writes the time again: shortest fraction, `Z` for no offset."""
        fraction = f".{self.nanoseconds:0{_NANO_DIGITS}d}".rstrip("0") if self.nanoseconds else ""
        return self.local.isoformat(timespec="seconds") + fraction + self._zone()

    def is_zero(self) -> bool:
        """Whether Go takes it for no time at all: the first second of year 1."""
        first = self.local - self.offset == datetime(1, 1, 1)  # noqa: DTZ001 - UTC by now
        return first and not self.nanoseconds

    def _zone(self) -> str:
        if not self.offset:
            return "Z"
        minutes = int(self.offset.total_seconds()) // 60
        hours, rest = divmod(abs(minutes), 60)
        return f"{'-' if minutes < 0 else '+'}{hours:02d}:{rest:02d}"


def read_moment(text: str, what: str) -> Moment:
    """A time of a record. `what` names it in errors. Raises Unreadable for what Go refuses."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise Unreadable(f"{what} {text[:60]!r} is not a time such as 2026-02-18T12:00:00Z")
    *clock, fraction, sign, hours, minutes = found.groups()
    offset = timedelta()
    if sign:
        if int(hours) > _OFFSET_HOURS_MAX or int(minutes) > _OFFSET_MINUTES_MAX:
            raise Unreadable(f"{what} {text[:60]!r} has an offset beyond 24 hours")
        offset = timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == "-" else 1)
    try:
        local = datetime(*map(int, clock))  # type: ignore[arg-type] # noqa: DTZ001
        moment = Moment(local, int(f"{fraction or '':0<9}"[:_NANO_DIGITS]), offset)
        moment.seconds_text()
    except (ValueError, OverflowError) as error:
        raise Unreadable(f"{what} {text[:60]!r} is no time: {error}") from error
    return moment
