"""What libraries write to file descriptor 2 on their own, as lines of our log.

gRPC's core refuses a call before our code sees why, and says so on stderr only; Rust's panics go
there too. In `serve`, descriptor 2 is therefore one end of a pipe that a thread reads.
Python's own `sys.stderr`, our logs and faulthandler write to the real one, past the pipe.
"""

import faulthandler
import fcntl
import io
import logging
import os
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from .logs import log

LINE_BYTES_MAX = 1_000
_STDERR = 2
_PIPE_BYTES = 1 << 20  # the most that Linux grants without privilege
_READ_BYTES = 65_536
_DRAIN_SECONDS = 5.0
_log = logging.getLogger(__name__)

Listener = Callable[[str], None]


class NativeOutput:
    """Stands between the process and its stderr, as a context manager; once in a process.

    A writer that finds the pipe full is not held up: its line is dropped. At the end descriptor 2
    is the real one again, and what was written before has been logged. A crash takes with it what
    the thread has not read; the stacks that faulthandler prints then do not pass through here.
    """

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Call `listener` on the reading thread with each line from now on."""
        self._listeners.append(listener)

    def __enter__(self) -> Self:
        sys.stderr.flush()
        self._python_stderr = sys.stderr
        self._real = os.dup(_STDERR)
        self._stream = io.TextIOWrapper(
            open(self._real, "wb", buffering=0, closefd=False),
            encoding="utf-8",
            errors="backslashreplace",
            write_through=True,
        )
        self._read_end, write_end = os.pipe()
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        # Whoever writes may hold what the reading thread needs, so nobody may wait here.
        os.set_blocking(write_end, False)
        os.dup2(write_end, _STDERR)
        os.close(write_end)
        sys.stderr = self._stream
        faulthandler.enable(file=self._real)
        self._thread = threading.Thread(target=self._read, name="native-output", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.dup2(self._real, _STDERR)  # closes the pipe's last writing end: the thread comes to it
        self._thread.join(_DRAIN_SECONDS)
        faulthandler.disable()
        sys.stderr = self._python_stderr

    def _read(self) -> None:
        rest = b""
        while chunk := os.read(self._read_end, _READ_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._tell(line)
            if len(rest) > LINE_BYTES_MAX:
                self._tell(rest)
                rest = b""
        self._tell(rest)
        os.close(self._read_end)

    def _tell(self, raw: bytes) -> None:
        line = raw[:LINE_BYTES_MAX].decode(errors="backslashreplace").strip()
        if not line:
            return
        log(_log, logging.WARNING, "native_output", line=line)
        for listener in self._listeners:
            listener(line)
