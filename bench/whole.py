"""The whole way in process: `export(bytes)` until every event is acknowledged and sealed."""

import contextlib
import io
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from intentproof_receiver.cli import main
from intentproof_receiver.client_certificates import MappingStore
from intentproof_receiver.credentials import Credentials
from intentproof_receiver.export import Exporter
from intentproof_receiver.keys import KeyStore
from intentproof_receiver.process import collect_young_objects
from intentproof_receiver.status import Encoding
from intentproof_store import Ledger, LedgerSettings

from .workload import Workload

IN_FLIGHT = 8  # requests, as over gRPC


def settings(folder: Path) -> LedgerSettings:
    """A store in a folder, with the defaults of the receiver."""
    return LedgerSettings(
        store=folder / "proofs", home=folder / "home", hot=folder / "proofs" / "hot"
    )


def create_key(home: Path) -> str:
    """An API key of the tenant `acme`, made by the command that users call."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        main(["keys", "create", "--tenant", "acme", "--home", str(home)])
    return out.getvalue().strip()


def run_whole(workload: Workload, folder: Path) -> float:
    """Events a second, sealing included."""
    places = settings(folder)
    key = create_key(places.home)
    collect_young_objects()  # as `serve` does
    started = time.perf_counter()
    with Ledger.open(places) as ledger:
        exporter = Exporter(
            keys=KeyStore(places.home), mappings=MappingStore(places.home), ledger=ledger
        )

        def export(body: bytes) -> int:
            return exporter.export(Credentials(key), body, encoding=Encoding.PROTOBUF).stored

        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            stored = sum(pool.map(export, workload.requests))
    if stored != workload.spans:
        raise RuntimeError(f"{stored} of {workload.spans} events were stored")
    return workload.spans / (time.perf_counter() - started)
