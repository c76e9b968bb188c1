"""Run everything once, print one table. `--large` adds ten million events to look a trace up in."""

import argparse
import os
import platform
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from .floor import run_floor
from .over_grpc import Served, run_over_grpc
from .reading import build_store, run_lookups, run_verify
from .whole import run_whole
from .workload import Workload, make_workload

T = TypeVar("T")
_ROW = "{:<58} {:>14} {:>9} {:>14}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--runs", type=int, default=5, help="runs of each; medians are shown")
    parser.add_argument("--spans", type=int, default=100_000, help="spans of a run")
    parser.add_argument("--events", type=int, default=1_000_000, help="events to look up among")
    parser.add_argument("--large", action="store_true", help="look up among ten million as well")
    args = parser.parse_args()
    workload = make_workload(args.spans)
    print(_machine())
    print(
        f"{args.spans} spans, {workload.span_bytes:.0f} bytes each, medians of {args.runs} runs\n"
    )
    print(_ROW.format("what", "measured", "x floor", "to reach"))
    floor = _ingest(workload, args.runs)
    _read(args.events, args.runs, floor)
    if args.large:
        _lookups(10_000_000, args.runs)


def _machine() -> str:
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _ingest(workload: Workload, runs: int) -> float:
    warm_up = make_workload(2_000)
    with _one_core():
        run_in_folder(lambda folder: run_floor(warm_up, folder))  # imports are not measured
        run_in_folder(lambda folder: run_whole(warm_up, folder))
        floor = _median(runs, lambda folder: run_floor(workload, folder))
        _show("floor: parse, SHA-256, Arrow IPC + fsync, Parquet; 1 core", floor, floor, "")
        whole = _median(runs, lambda folder: run_whole(workload, folder))
        _show("export(bytes) to acknowledged and sealed; 1 core", whole, floor, "40,000/s")
    served: list[Served] = [
        run_in_folder(lambda folder: run_over_grpc(workload, folder)) for _ in range(runs)
    ]
    rate = statistics.median(one.events_a_second for one in served)
    _show("over gRPC, client and server on the same cores", rate, floor, "30,000/s")
    memory = max(one.memory_mib for one in served)
    print(_ROW.format("  the receiver's highest memory", f"{memory:.0f} MiB", "", "< 400 MiB"))
    return floor


def _read(events: int, runs: int, floor: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workload = make_workload(events, seed=2)
        size = build_store(workload, folder) / events
        print(_ROW.format("sealed size of an event", f"{size:.0f} bytes", "", "< 350 bytes"))
        with _one_core():
            rates = [run_verify(events, folder) for _ in range(runs)]
        _show("verify; 1 core", statistics.median(rates), floor, "100,000/s")
        _show_lookups(events, run_lookups(workload.trace_id, folder, times=max(runs, 20)))


def _lookups(events: int, runs: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        workload = make_workload(events, seed=3)
        build_store(workload, Path(name))
        _show_lookups(events, run_lookups(workload.trace_id, Path(name), times=max(runs, 20)))


def _show_lookups(events: int, measured: Sequence[float]) -> None:
    wanted = "< 20 ms" if events <= 1_000_000 else ""
    what = f"select * of one trace among {events:,} events, warm"
    print(_ROW.format(what, f"{statistics.median(measured):.1f} ms", "", wanted))


def _show(what: str, rate: float, floor: float, wanted: str) -> None:
    print(_ROW.format(what, f"{rate:,.0f}/s", f"{rate / floor:.2f}", wanted), flush=True)


def _median(runs: int, run: Callable[[Path], float]) -> float:
    return statistics.median(run_in_folder(run) for _ in range(runs))


def run_in_folder(run: Callable[[Path], T]) -> T:
    """One run in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as name:
        return run(Path(name))


@contextmanager
def _one_core() -> Iterator[None]:
    """Keep this process to one core meanwhile."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


if __name__ == "__main__":
    main()
