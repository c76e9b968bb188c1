"""One thing that the doctor looked at."""

from typing import NamedTuple


class Finding(NamedTuple):
    """`mend` says what to do, "" where all is well; not `urgent` is advice, and no failure."""

    subject: str
    state: str
    mend: str = ""
    urgent: bool = True

    @property
    def mark(self) -> str:
        """The word before it: `ok`, `NOTE` or `MEND`."""
        if not self.mend:
            return "ok"
        return "MEND" if self.urgent else "NOTE"
