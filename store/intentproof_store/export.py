"""What `export` takes out of a store, before any format is chosen."""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .durable import write_pieces
from .lookups import Told
from .proving import Places
from .reader import Reader

STDOUT = Path("-")


@dataclass(frozen=True, kw_only=True)
class Export:
    """What was asked for, and what the store tells of it. `told` can be gone through once.

    `asked_by` is `trace_id`, `correlation_id` or `period`, and `asked` the value. Events come by
    start, writer and log index, those of a period by receipt, writer and log index. `reader` is
    open for as long as the format's writer runs. `sign_key` is a PEM file, for proof records.
    """

    places: Places
    reader: Reader
    tenant: str
    asked_by: str
    asked: str
    told: Iterator[Told]
    output: Path
    without_payload: bool = False
    sign_key: Path | None = None


Format = Callable[[Export], None]
"""Writes an export to its `output`; raises StoreError or OSError, and then leaves no file."""


def put(output: Path, pieces: Iterable[bytes]) -> None:
    """Write a file aside and rename it; `-` is stdout. Blocks on the disk. Raises OSError."""
    if output == STDOUT:
        sys.stdout.buffer.writelines(pieces)
    elif output.exists() and not output.is_file():
        with output.open("wb") as file:  # a pipe or a device is written to, never replaced
            file.writelines(pieces)
    else:
        write_pieces(output, pieces)
