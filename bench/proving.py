"""Receipts of single events, in a process that has made some before."""

import time
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
from intentproof_store import Places, finder_of, receipt_of

from .served import settings

_WARM_UP = 3


def run_receipts(folder: Path, *, times: int) -> list[float]:
    """Milliseconds of a receipt, found, proved, and verified before it is given out, each time.

    Of events in segments all over the store, another one each time.
    """
    given = settings(folder)
    places = Places(store=given.store, hot=given.hot, home=given.home)
    paths = sorted((given.store / "events").rglob("*.parquet"))
    measured = []
    with closing(finder_of(places)) as finder:
        for turn in range(times + _WARM_UP):
            event_id = _an_event(paths[turn * len(paths) // (times + _WARM_UP)], turn)
            began = time.perf_counter()
            receipt_of(places, "acme", event_id, finder=finder)
            measured.append((time.perf_counter() - began) * 1000)
    return measured[_WARM_UP:]  # the first one reads the segments' footers


def _an_event(path: Path, turn: int) -> str:
    with pq.ParquetFile(path) as file:
        ids = file.read_row_group(0, columns=["event_id", "kind"])
    events = [
        event_id
        for event_id, kind in zip(*(column.to_pylist() for column in ids.columns), strict=True)
        if kind == "event"
    ]
    return str(events[turn * 997 % len(events)])
