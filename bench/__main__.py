"""Run everything once, print one table. `--large` adds ten million events to look a trace up in."""

import argparse
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from intentproof_schemas import ExecutionEvent

from . import kernel
from .checkpointing import run_checkpoints
from .floor import run_floor
from .kernel import make_events
from .latency import OFFERS, Latency, Offer, median_of, run_latency
from .peers import (
    CONNECTIONS,
    PEERS,
    PEERS_FOLDER,
    peer_workload,
    run_ours,
    run_peer,
    version_of,
)
from .proving import run_receipts
from .reading import build_store, run_lookups, run_verify
from .throughput import over_grpc, over_http, run_served
from .verifying import peak_mib
from .whole import run_whole
from .workload import Workload, make_workload

T = TypeVar("T")
_ROW = "{:<62} {:>14} {:>9} {:>14}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--runs", type=int, default=5, help="runs of each; medians are shown")
    parser.add_argument("--spans", type=int, default=100_000, help="spans of a run")
    parser.add_argument("--seconds", type=float, default=10, help="seconds of a run of latency")
    parser.add_argument("--events", type=int, default=1_000_000, help="events to look up among")
    parser.add_argument("--large", action="store_true", help="look up among ten million as well")
    parser.add_argument("--peers", type=Path, default=PEERS_FOLDER, help="where they are installed")
    parser.add_argument("--peer-spans", type=int, default=3_000, help="spans of a run beside them")
    parser.add_argument("--kernel-events", type=int, default=5_000, help="one by one, beside it")
    args = parser.parse_args()
    # Ended from outside, it ends what it started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    workload = make_workload(args.spans)
    print(_machine())
    print(
        f"{args.spans} spans, {workload.span_bytes:.0f} bytes each, medians of {args.runs} runs\n"
    )
    print(_ROW.format("what", "measured", "x floor", "to reach"))
    with _part("ingestion"):
        floor = _ingest(workload, args.runs)
        _checkpoints(workload, args.runs)
    with _part("latency"):
        _latency(min(3, args.runs), args.seconds)
    with _part("reading, verifying, proving"):
        _read(args.events, args.runs, floor)
    with _part("beside receipt-kernel"):
        _kernel(make_events(args.kernel_events))
    with _part("beside others"):
        _peers(peer_workload(args.peer_spans), args.peers)
    if args.large:
        with _part("among ten million"):
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
    grpc = [
        run_in_folder(lambda folder: run_served(workload, folder, over_grpc)) for _ in range(runs)
    ]
    rate = statistics.median(one.events_a_second for one in grpc)
    _show("over gRPC, client and server on the same cores", rate, floor, "30,000/s")
    memory = max(one.memory_mib for one in grpc)
    print(_ROW.format("  the receiver's highest memory", f"{memory:.0f} MiB", "", "< 400 MiB"))
    http = [
        run_in_folder(lambda folder: run_served(workload, folder, over_http)) for _ in range(runs)
    ]
    rate = statistics.median(one.events_a_second for one in http)
    _show("over HTTP with protobuf, the same", rate, floor, "")
    return floor


def _checkpoints(workload: Workload, runs: int) -> None:
    """Shares of the processor time of ingestion; the second row has some sixty times as many."""
    for seconds, what, wanted in (
        (None, "checkpoints at seals and each 60 s: of ingestion's processor time", "< 1 %"),
        (1.0, "  with one each second besides", ""),
    ):
        run = partial(run_checkpoints, workload, checkpoint_seconds=seconds)
        found = [run_in_folder(run) for _ in range(runs)]
        share = statistics.median(one.checkpoints for one in found)
        print(_ROW.format(what, f"{share:.2%}", "", wanted))
    tree = statistics.median(one.tree for one in found)
    print(_ROW.format("  the tree that they are over, whatever the cadence", f"{tree:.2%}", "", ""))


def _latency(runs: int, seconds: float) -> None:
    for offer in OFFERS:
        found = median_of([_one_latency(offer, seconds, seed) for seed in range(runs)])
        what = f"acknowledged at {offer.rate:,}/s in requests of {offer.spans_a_request}: p50 / p99"
        print(_ROW.format(what, str(found), "", str(offer.to_reach or "")), flush=True)


def _one_latency(offer: Offer, seconds: float, seed: int) -> Latency:
    return run_in_folder(lambda folder: run_latency(offer, folder, seconds=seconds, seed=seed + 10))


def _peers(workload: Workload, venvs: Path) -> None:
    """Stored spans a second, ours first. No floor: these are other spans a request."""
    ours = run_in_folder(lambda folder: run_ours(workload, folder))
    what = f"stored of {workload.spans:,} spans over HTTP, {CONNECTIONS} connections"
    print(_ROW.format(what, f"{ours.a_second:,.0f}/s", "", ""), flush=True)
    for peer in PEERS:
        what = f"  the same by {peer.name} {version_of(peer, venvs)}"
        try:
            found = run_in_folder(partial(run_peer, peer, venvs, workload))
        except FileNotFoundError:
            print(_ROW.format(f"  the same by {peer.name}", "not installed: make peers", "", ""))
            continue
        print(_ROW.format(what, f"{found.a_second:,.0f}/s", "", ""), flush=True)
        if not found.stored == found.acknowledged == found.sent:
            print(
                f"    {found.sent} sent, {found.acknowledged} acknowledged, {found.stored} stored"
            )


def _read(events: int, runs: int, floor: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workload = make_workload(events, seed=2)
        size = build_store(workload, folder) / events
        print(_ROW.format("sealed size of an event", f"{size:.0f} bytes", "", "< 350 bytes"))
        with _one_core():
            rates = [run_verify(events, folder) for _ in range(runs)]
        _show("verify; 1 core", statistics.median(rates), floor, "200,000/s")
        _show_memory(events, folder)
        _show_lookups(events, run_lookups(workload.trace_id, folder, times=max(runs, 20)))
        _show_receipts(events, run_receipts(folder, times=max(runs, 20)))
    few = max(1, events // 10)
    with tempfile.TemporaryDirectory() as name:
        build_store(make_workload(few, seed=5), Path(name))
        _show_memory(few, Path(name))


def _kernel(events: list[ExecutionEvent]) -> None:
    """The same events in each, as each is used; each verifies what it has just kept."""
    one_by_one = f"{len(events):,} events, each durable before the next"
    for name, run in (
        (f"{one_by_one}: ours", partial(kernel.run_ours, events)),
        ("  the same by receipt-kernel 0.1.0, with SQLite", partial(kernel.run_kernel, events)),
        (f"  ours, {kernel.BATCH} at once", partial(kernel.run_ours, events, batch=kernel.BATCH)),
    ):
        kept = run_in_folder(run)
        print(_ROW.format(name, f"{kept.appended:,.0f}/s", "", ""))
        print(_ROW.format("    and verified", f"{kept.verified:,.0f}/s", "", ""), flush=True)


def _lookups(events: int, runs: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        workload = make_workload(events, seed=3)
        build_store(workload, Path(name))
        trace_id = workload.trace_id
        del workload  # some seven gigabytes
        _show_lookups(events, run_lookups(trace_id, Path(name), times=max(runs, 20)))
        _show_receipts(events, run_receipts(Path(name), times=max(runs, 20)))
        _show_memory(events, Path(name))


def _show_lookups(events: int, measured: Sequence[float]) -> None:
    wanted = "< 20 ms" if events <= 1_000_000 else ""
    what = f"select * of one trace among {events:,} events, warm"
    print(_ROW.format(what, f"{statistics.median(measured):.1f} ms", "", wanted))


def _show_receipts(events: int, measured: Sequence[float]) -> None:
    what = f"the receipt of one event among {events:,}, warm"
    print(_ROW.format(what, f"{statistics.median(measured):.1f} ms", "", "< 50 ms"), flush=True)


def _show_memory(events: int, folder: Path) -> None:
    what = f"  verify's highest memory, {events:,} events"
    print(_ROW.format(what, f"{peak_mib(events, folder):.0f} MiB", "", ""), flush=True)


def _show(what: str, rate: float, floor: float, wanted: str) -> None:
    print(_ROW.format(what, f"{rate:,.0f}/s", f"{rate / floor:.2f}", wanted), flush=True)


def _median(runs: int, run: Callable[[Path], float]) -> float:
    return statistics.median(run_in_folder(run) for _ in range(runs))


def run_in_folder(run: Callable[[Path], T]) -> T:
    """One run in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as name:
        return run(Path(name))


@contextmanager
def _part(name: str) -> Iterator[None]:
    """Say on stderr how long a part of all took."""
    began = time.perf_counter()
    yield
    print(f"({name}: {time.perf_counter() - began:.0f} s)", file=sys.stderr, flush=True)


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
