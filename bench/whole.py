"""The whole way in process: `export(bytes)` until every event is acknowledged and sealed."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from intentproof_receiver.client_certificates import MappingStore
from intentproof_receiver.credentials import Credentials
from intentproof_receiver.export import Exporter
from intentproof_receiver.keys import KeyStore
from intentproof_receiver.process import collecting_often
from intentproof_receiver.status import Encoding
from intentproof_store import Ledger, LedgerSettings

from .over_grpc import IN_FLIGHT
from .served import create_key, settings
from .workload import Workload


def run_whole(workload: Workload, folder: Path) -> float:
    """Events a second, sealing included."""
    places = settings(folder)
    key = create_key(places.home)
    with collecting_often():  # as `serve` does
        return run_exporter(places, key, workload)


def run_exporter(places: LedgerSettings, key: str, workload: Workload) -> float:
    """Events a second with these settings, 8 requests in flight."""
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
