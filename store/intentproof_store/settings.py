"""What a ledger needs to know, with its defaults and their reasons."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class LedgerSettings:
    """Where a ledger writes and when it seals. Times in seconds, sizes in bytes.

    `seal_bytes` counts rows as Arrow holds them in memory, because sealing sorts them there.
    `heartbeat_seconds` is how long a log may be silent before it says that nothing happened.
    `hole_seconds` is how long a hole in a producer's numbers stands before the log tells it.
    `queue_bytes` bounds what waits for the writer: beyond it `append` answers StoreUnavailable.
    """

    store: Path
    home: Path
    hot: Path
    log_name: str = "intentproof.local"
    seal_rows: int = 500_000
    seal_bytes: int = 64 << 20  # sealing needs some four times that while it sorts and encodes
    seal_seconds: float = 900.0
    checkpoint_seconds: float = 60.0
    heartbeat_seconds: float = 3600.0
    hole_seconds: float = 300.0
    group_rows: int = 8_192
    queue_bytes: int = 128 << 20
    new_writer: bool = False
