"""What a witness cosigned last, of each origin: durable before anyone is told.

SQLite, because checking the old size and storing the new one must be one step, for threads and
processes alike, and must survive a power cut: a transaction of a well-tried library is that. The
rollback journal with `synchronous=EXTRA` syncs the file and its folder before a commit returns.
"""

import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from intentproof_store import Seen, Submission, check_growth

from ..errors import Unavailable, Unusable

_BUSY_SECONDS = 10.0
_STEP_BACK_SECONDS = 60  # a clock that went back by more is broken, and its times would be lies
_TABLE = """CREATE TABLE IF NOT EXISTS cosigned (
    origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL,
    time_s INTEGER NOT NULL, note BLOB NOT NULL
) WITHOUT ROWID"""
_PUT = "INSERT OR REPLACE INTO cosigned (origin, size, root, time_s, note) VALUES (?, ?, ?, ?, ?)"


class WitnessState:
    """The latest cosigned checkpoints. Thread-safe; several processes may share the file."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._database = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._database.execute("PRAGMA journal_mode=DELETE")
            self._database.execute("PRAGMA synchronous=EXTRA")
            self._database.execute(_TABLE)
            path.chmod(0o600)
            _sync_folder(path.parent)
        except (sqlite3.Error, OSError) as error:
            raise Unusable(f"{path}: cannot be used as the witness's memory: {error}") from error

    def take(self, submission: Submission, clock_s: Callable[[], int]) -> int:
        """Make the submission the latest of its origin; the time of its cosignature.

        Checked and stored in one transaction: when this returns, it is on the disk. Blocks. Raises
        what `check_growth` does, and Unavailable where it cannot be stored or the clock went back;
        then nothing changed.
        """
        with self._lock:
            try:
                self._database.execute("BEGIN IMMEDIATE")
                try:
                    time_s = self._take(submission, clock_s())
                    self._database.execute("COMMIT")  # the point of no return: it is durable
                finally:
                    if self._database.in_transaction:
                        self._database.execute("ROLLBACK")
            except (sqlite3.Error, OSError) as error:
                raise Unavailable(f"the witness's memory cannot be written: {error}") from error
        return time_s

    def _take(self, submission: Submission, now_s: int) -> int:
        checkpoint = submission.checkpoint
        row = self._database.execute(
            "SELECT size, root, time_s FROM cosigned WHERE origin = ?", (checkpoint.origin,)
        ).fetchone()
        size, root, last_s = row or (0, Seen().root, 0)
        check_growth(submission, Seen(size, root))
        if now_s < last_s - _STEP_BACK_SECONDS:
            raise Unavailable(
                f"the clock went back: it says {now_s}, and a cosignature was given at {last_s}"
            )
        # A cosignature says what was the largest tree at its time, so times never fall.
        time_s = max(now_s, last_s)
        new = (checkpoint.origin, checkpoint.size, checkpoint.root, time_s, submission.note)
        self._database.execute(_PUT, new)
        return time_s

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
