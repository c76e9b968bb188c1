"""The clock: by itself, and beside what was received before."""

import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from intentproof_store import chunk_of
from pyarrow import parquet

from .finding import Finding

BUILT_AFTER = 1_767_225_600  # 2026-01-01: a clock before that has not been set
STEP_BACK_S = 1.0  # contract §4: a step back of over one second is told in the log


def clock_findings(store: Path, hot: Path, now: float) -> Iterator[Finding]:
    """Whether the clock, at `now` in Unix seconds, is plausible. Reads footers of segments."""
    if now < BUILT_AFTER:
        yield Finding("clock", f"{now:.0f} seconds since 1970", "set the clock; run NTP")
        return
    newest = max((_newest_segment(store), _newest_frame(hot)), default=0.0)
    if newest > now + STEP_BACK_S:
        yield Finding(
            "clock",
            f"{_utc(now)}, and events were received until {_utc(newest)}",
            "the clock was set back: run NTP, which slews; the log tells it in a `gap` leaf",
        )
    else:
        yield Finding("clock", _utc(now))


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _newest_frame(hot: Path) -> float:
    """When a hot frame was last written: a moment after its events were received."""
    return max((path.stat().st_mtime for path in hot.glob("*/*.frames")), default=0.0)


def _newest_segment(store: Path) -> float:
    """The largest time of receipt in each tenant's newest folder; 0 if there is none."""
    newest = 0
    for tenant in (store / "events").glob("tenant=*"):
        for folder in sorted(tenant.glob("date=*"))[-1:]:
            newest = max([newest, *map(_received_ns, folder.glob("*.parquet"))])
    return newest / 1e9


def _received_ns(path: Path) -> int:
    try:
        footer = parquet.ParquetFile(path).metadata
        column = footer.schema.names.index("received_ns") if footer.num_row_groups else -1
        groups = range(footer.num_row_groups)
        found = [chunk_of(footer, group, column).statistics for group in groups]
    except (OSError, pa.ArrowException, ValueError):
        return 0  # `verify` is for what is damaged
    return max((one.max for one in found if one is not None and one.has_min_max), default=0)
