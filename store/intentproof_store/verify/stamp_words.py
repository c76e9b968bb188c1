"""What time stamps show, in words."""

from collections.abc import Iterator

from intentproof_schemas import timestamp

from .report import LogReport


def stamp_lines(log: LogReport) -> Iterator[str]:
    """What an authority vouches for, and from which leaf on it does not. None without stamps."""
    if not log.stamps:
        return
    size = log.stamped_size
    before = timestamp(log.stamped_times(size)[0] * 10**6)
    yield f"the first {size} leaves existed before {before}: {len(log.stamps)} time stamps hold"
    if log.size > size:
        yield f"leaves from {size} on have no time stamp yet"
    if not log.anchored:
        yield "a time stamp shows that this existed then, not whose it is: give --key or --known"
