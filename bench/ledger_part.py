"""CPU of the ledger's part alone, an event: the writer's thread and the caller's `append`."""

import argparse
import os
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from random import Random
from typing import Any

from intentproof_schemas import ExecutionEvent, default_event_id
from intentproof_store import Ledger, LedgerSettings, event_columns

BATCH = 512
START_NS = 1_795_263_000_000_000_000


def made_event(random: Random, number: int) -> ExecutionEvent:
    trace_id, span_id = random.randbytes(16), random.randbytes(8)
    start = START_NS + number * 1_000_003
    charge = random.randbytes(12).hex()
    return ExecutionEvent(
        event_id=default_event_id(trace_id, span_id),
        trace_id=trace_id.hex(),
        span_id=span_id.hex(),
        parent_span_id=random.randbytes(8).hex(),
        action="stripe.refund.create",
        status="ok",
        started_ns=start,
        completed_ns=start + random.randrange(1_000_000, 400_000_000),
        provenance="declared",
        mapping_rule="intentproof/1",
        intent="Return captured funds to the customer",
        correlation_id=f"order-{number // 3:08d}",
        attributes='{"http.request.method":"POST","http.response.status_code":200,'
        '"intentproof.scope.name":"shop.payments","intentproof.span_kind":"client",'
        '"service.name":"refunds","service.version":"4.2.0",'
        f'"user.id":"customer-{number % 5000}"}}',
        inputs=f'{{"amount":{random.randrange(100, 100_000)},"charge":"ch_{charge}",'
        '"currency":"EUR","reason":"requested_by_customer"}',
        output=f'{{"id":"re_{charge}","status":"succeeded"}}',
        error=None,
        stream_id="7f0c3d1e5a",
        sequence=number + 1,
    )


def measure(batches: Sequence[Any], folder: Path, *, in_flight: int) -> tuple[float, float]:
    """CPU seconds of the writer's thread, and of the caller's `append`."""
    settings = LedgerSettings(
        store=folder / "p",
        home=folder / "h",
        hot=folder / "hot",
        seal_rows=10**9,
        seal_bytes=1 << 40,
        seal_seconds=1e9,
        checkpoint_seconds=1e9,
    )
    ledger = Ledger.open(settings, clock_ns=lambda: START_NS + 10**9)
    ledger.append("acme", batches[0]).result()
    (thread,) = (each for each in threading.enumerate() if each.name == "intentproof-writer")
    assert thread.ident is not None
    clock = time.pthread_getcpuclockid(thread.ident)
    before = time.clock_gettime(clock)
    waiting: deque[Future[Any]] = deque()
    append = 0.0
    for batch in batches[1:]:
        if len(waiting) >= in_flight:
            waiting.popleft().result()
        started = time.thread_time()
        waiting.append(ledger.append("acme", batch))
        append += time.thread_time() - started
    for future in waiting:
        future.result()
    spent = time.clock_gettime(clock) - before
    ledger.close()
    return spent, append


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--in-flight", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    random = Random(1)
    made = [made_event(random, number) for number in range(options.batches * BATCH)]
    batches = [event_columns(made[at : at + BATCH]) for at in range(0, len(made), BATCH)]
    os.sched_setaffinity(0, {1})
    results = []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            results.append(measure(batches, Path(folder), in_flight=options.in_flight))
    events = (options.batches - 1) * BATCH
    writer, append = (min(each) / events * 1e6 for each in zip(*results, strict=True))
    print(f"writer {writer:.2f} us/event, append {append:.2f} us/event")


if __name__ == "__main__":
    main()
