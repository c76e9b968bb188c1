"""The memory of a process, looked at again and again while something else is measured."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20


@dataclass(frozen=True)
class Sample:
    """Bytes at a time by `time.perf_counter`; `own` is without pages of files.

    The kernel takes pages of files back whenever it needs them, and reads them again.
    """

    at: float
    resident: int
    own: int


class Watch:
    """Samples of a process, in order of time."""

    def __init__(self, pid: int, *, every_seconds: float) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._every_seconds = every_seconds
        self._done = threading.Event()
        self.samples: list[Sample] = [self._look()]

    def _look(self) -> Sample:
        lines = (line.split() for line in self._status.read_text().splitlines())
        kib = {line[0]: int(line[1]) for line in lines if line[0] in ("VmRSS:", "RssAnon:")}
        return Sample(time.perf_counter(), kib["VmRSS:"] << 10, kib["RssAnon:"] << 10)

    def run(self) -> None:
        """Look until `stop`."""
        while not self._done.wait(self._every_seconds):
            self.samples.append(self._look())

    def stop(self) -> None:
        """End `run`."""
        self._done.set()

    def peak_mib(self) -> float:
        """The highest resident memory."""
        return max(sample.resident for sample in self.samples) / MIB


@contextmanager
def watching(pid: int, *, every_seconds: float = 0.05) -> Iterator[Watch]:
    """Watch a process meanwhile; it must live until the end."""
    watch = Watch(pid, every_seconds=every_seconds)
    thread = threading.Thread(target=watch.run, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join()
