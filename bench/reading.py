"""Verifying a store, and finding one trace among many events."""

import time
from pathlib import Path

from intentproof_store import Reader
from intentproof_store.verify import Outcome, VerifyRequest, verify_store

from .served import settings
from .whole import run_whole
from .workload import Workload


def build_store(workload: Workload, folder: Path) -> int:
    """A sealed store of the workload; the bytes of its segments."""
    run_whole(workload, folder)
    return sum(path.stat().st_size for path in (folder / "proofs" / "events").rglob("*.parquet"))


def run_verify(events: int, folder: Path) -> float:
    """Events a second on one core."""
    places = settings(folder)
    request = VerifyRequest(store=places.store, hot=places.hot, home=places.home, processes=1)
    started = time.perf_counter()
    report = verify_store(request)
    if report.outcome is not Outcome.VERIFIED or report.events_verified != events:
        raise RuntimeError(f"{report.outcome} with {report.events_verified} events")
    return events / (time.perf_counter() - started)


def run_lookups(trace_id: str, folder: Path, *, times: int) -> list[float]:
    """Milliseconds of `select *` of one trace, warm, each time."""
    places = settings(folder)
    query = "SELECT * FROM events WHERE trace_id = ?"
    measured = []
    with Reader(places.store, hot=places.hot, home=places.home, tenant="acme") as reader:
        for _ in range(times + 2):
            started = time.perf_counter()
            found = reader.rows(query, [trace_id])
            measured.append((time.perf_counter() - started) * 1000)
            if not found:
                raise RuntimeError("the trace was not found")
    return measured[2:]  # the first ones read the files' footers
