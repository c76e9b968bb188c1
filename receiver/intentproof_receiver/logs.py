"""Structured logs: one JSON object a line on stderr, without secrets and without payloads.

Fields are given by the code that logs, never taken from a request's body or headers. Of an
unexpected exception the type and the place are written, not the message: that may quote a payload.
"""

import json
import logging
import sys
import time
import traceback
from typing import Any

_QUIET = ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "grpc")


class JsonFormatter(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """`time`, `level`, `logger`, `event`, then the fields of the event."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line.update(_describe(record.exc_info[1]))
        return json.dumps(line, default=str)


def _describe(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    described: dict[str, Any] = {
        "error": type(error).__name__,
        "at": [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames],
    }
    if isinstance(error, OSError):
        described["message"] = error.strerror  # of the system, such as "No space left on device"
    return described


def configure(level: str) -> None:
    """Send every log of this process to stderr as JSON. Called once, by `serve`.

    `sys.stderr` is taken as it is now: within `NativeOutput`, which must not log to its own pipe.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.raiseExceptions = False  # a record that cannot be written is not printed in clear
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def log(logger: logging.Logger, level: int, event: str, **fields: Any) -> None:
    """Log one event with its fields."""
    logger.log(level, event, extra={"fields": fields})
