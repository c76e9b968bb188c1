"""The floor: the same bytes parsed, hashed and written, with nothing else."""

import hashlib
import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from .workload import Workload

_SCHEMA = pa.schema([("span", pa.binary()), ("sha256", pa.binary())])


def run_floor(workload: Workload, folder: Path) -> float:
    """Spans a second: protobuf, SHA-256 of each span, Arrow IPC with fsync, zstd Parquet."""
    started = time.perf_counter()
    batches = []
    with (folder / "floor.arrow").open("wb") as file, pa.ipc.new_stream(file, _SCHEMA) as stream:
        for raw in workload.requests:
            request = ExportTraceServiceRequest.FromString(raw)
            spans = [
                span.SerializeToString()
                for resource_spans in request.resource_spans
                for scope_spans in resource_spans.scope_spans
                for span in scope_spans.spans
            ]
            hashes = [hashlib.sha256(span).digest() for span in spans]
            batch = pa.record_batch([pa.array(spans), pa.array(hashes)], schema=_SCHEMA)
            stream.write_batch(batch)
            file.flush()
            os.fdatasync(file.fileno())
            batches.append(batch)
    path = folder / "floor.parquet"
    pq.write_table(pa.Table.from_batches(batches), path, compression="zstd", compression_level=1)
    with path.open("rb") as written:
        os.fsync(written.fileno())
    return workload.spans / (time.perf_counter() - started)
