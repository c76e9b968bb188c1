"""Limits that are too low for what comes, of the receiver and of its process."""

import resource
from collections.abc import Iterator

from ..config import Config
from .finding import Finding

COLLECTOR_BATCH_BYTES = 4_000_000  # sending_queue.batch.max_size of collector-config.yaml
RECOMMENDED_BYTES = 64 << 20  # by the OTLP specification
OPEN_FILES_MIN = 4_096


def limit_findings(config: Config, *, open_files: int | None = None) -> Iterator[Finding]:
    """`open_files` is the running receiver's limit; by default that of this process."""
    yield _message(config.message_bytes_max)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if open_files is None else open_files
    subject = f"open files {most}"
    if 0 <= most < OPEN_FILES_MIN:
        yield Finding(
            subject,
            f"under {OPEN_FILES_MIN}",
            "each connection and segment needs one: ulimit -n 65536, or LimitNOFILE=65536",
            urgent=False,
        )
    else:
        yield Finding(subject, "enough")


def _message(bytes_max: int) -> Finding:
    subject = f"message_bytes_max {bytes_max}"
    if bytes_max < COLLECTOR_BATCH_BYTES:
        return Finding(
            subject,
            f"under {COLLECTOR_BATCH_BYTES}, what a Collector puts into one batch",
            "a larger message is refused for good and the Collector deletes it: raise it, or "
            "lower sending_queue.batch.max_size in every Collector first",
        )
    if bytes_max < RECOMMENDED_BYTES:
        return Finding(
            subject,
            f"under {RECOMMENDED_BYTES}, which the OTLP specification recommends",
            "an SDK that sends without a Collector does not know the limit: raise it",
            urgent=False,
        )
    return Finding(subject, "enough")
