"""receipt-kernel 0.1.0 beside ours: the same events appended one by one, and the log verified.

Both in this process, each durable as it is by default: theirs commits to SQLite in WAL mode with
`synchronous=FULL`, ours syncs a hot frame. What each verifies is its own: theirs that the rows of
a run are a hash chain; ours what the README says of `verify`, signatures included.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intentproof_schemas import ExecutionEvent, default_event_id, event_text
from intentproof_store import Ledger
from receipt_kernel.envelope import make_envelope
from receipt_kernel.invariants.ledger_chain_valid import LedgerChainValidInvariant
from receipt_kernel.store_sqlite import SqliteReceiptStore
from receipt_kernel.types import Verdict

from .reading import run_verify
from .served import settings
from .workload import START_NS

BATCH = 512
_RUN = "bench"


@dataclass(frozen=True)
class Kept:
    """Events a second: appended one by one, and verified."""

    appended: float
    verified: float


def make_events(count: int) -> list[ExecutionEvent]:
    """Events of about 500 bytes, the same in each run."""
    return [_event(number) for number in range(count)]


def _event(number: int) -> ExecutionEvent:
    trace_id, span_id = (number // 10 + 1).to_bytes(16, "big"), (number + 1).to_bytes(8, "big")
    started_ns = START_NS + number * 1_000_003
    charge = f"{number:024x}"
    return ExecutionEvent(
        event_id=default_event_id(trace_id, span_id),
        trace_id=trace_id.hex(),
        span_id=span_id.hex(),
        parent_span_id="",
        action="stripe.refund.create",
        status="ok",
        started_ns=started_ns,
        completed_ns=started_ns + 73_000_000,
        provenance="declared",
        mapping_rule="intentproof/1",
        intent="Return captured funds to the customer",
        correlation_id=f"order-{number // 3:08d}",
        attributes='{"http.request.method":"POST","service.name":"refunds"}',
        inputs=f'{{"amount":{100 + number % 9999},"charge":"ch_{charge}","currency":"EUR",'
        '"reason":"requested_by_customer"}',
        output=f'{{"id":"re_{charge}","status":"succeeded"}}',
        error=None,
    )


def run_kernel(events: Sequence[ExecutionEvent], folder: Path) -> Kept:
    """Theirs: one `append_event` an event, then `ledger.chain_valid` over the run."""
    payloads = [json.loads(event_text(event)) for event in events]
    with _kernel(folder / "kernel.db") as store:
        began = time.perf_counter()
        for payload in payloads:
            store.append_event(_RUN, _envelope(payload))
        appended = time.perf_counter() - began
        began = time.perf_counter()
        result = LedgerChainValidInvariant().evaluate({"store": store, "run_id": _RUN})
        verified = time.perf_counter() - began
        if result.verdict is not Verdict.PASS or store.event_count(_RUN) != len(events):
            raise RuntimeError(f"{result.verdict} of {store.event_count(_RUN)} events")
    return Kept(len(events) / appended, len(events) / verified)


def _envelope(payload: dict[str, Any]) -> dict[str, Any]:
    return make_envelope(
        event_type="EVIDENCE_PUT",
        stage="COLLECT",
        policy_id="default",
        policy_version="1.0",
        stage_graph_id="v1_default",
        actor_kind="system",
        actor_id="bench",
        payload=payload,
    )


@contextmanager
def _kernel(path: Path) -> Iterator[SqliteReceiptStore]:
    store = SqliteReceiptStore(str(path))
    store.initialize_schema()
    store.ensure_run(_RUN, "default", "1.0", "v1_default")
    try:
        yield store
    finally:
        store.close()


def run_ours(events: Sequence[ExecutionEvent], folder: Path, *, batch: int = 1) -> Kept:
    """Ours: one `append` a batch, each awaited until it is durable, then `verify` of the store."""
    with Ledger.open(settings(folder)) as ledger:
        began = time.perf_counter()
        for at in range(0, len(events), batch):
            ledger.append("acme", events[at : at + batch]).result()
        appended = time.perf_counter() - began
    return Kept(len(events) / appended, run_verify(len(events), folder))
