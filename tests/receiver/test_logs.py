"""Logs: one JSON object a line, and what never stands in them."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
from intentproof_receiver.logs import JsonFormatter, log

from tests.receiver.support import Service, request_bytes, span_message

SECRET = "sk_live_very_secret"


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What is logged, formatted as `serve` does."""
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler.stream
    root.setLevel(level)
    root.removeHandler(handler)


def test_a_line_is_one_object(written: io.StringIO) -> None:
    """A log line is one JSON object with its fields."""
    log(logging.getLogger("x"), logging.INFO, "ready", port=4317)
    (line,) = lines(written.getvalue())
    assert (line["event"], line["level"], line["port"]) == ("ready", "info", 4317)
    assert str(line["time"]).endswith("Z")


def test_no_secret_is_logged(service: Service, written: io.StringIO) -> None:
    """Neither keys nor payloads are logged, also where a bug quotes them."""
    body = request_bytes(span_message(inputs=SECRET))
    service.ledger.fault = KeyError(SECRET)
    assert service.call(body)[0] == 503
    service.ledger.fault = OSError(28, "No space left on device", SECRET)
    assert service.call(body)[0] == 503
    assert service.call(b"\xff" + SECRET.encode())[0] == 400
    wrong = service.key[:-4] + "0000"
    assert service.call(body, key=wrong)[0] == 401
    text = written.getvalue()
    for secret in (SECRET, service.key, wrong, service.key[-43:]):  # may have an underscore, too
        assert secret not in text
    logged = lines(text)
    assert {"KeyError", "OSError"} <= {str(line.get("error")) for line in logged}
    assert any(line.get("message") == "No space left on device" for line in logged)


def test_an_exception_names_type_and_place() -> None:
    """Of an exception the type and the place are written."""
    try:
        raise ValueError(SECRET)
    except ValueError:
        record = logging.LogRecord("x", 40, "f", 1, "failed", None, sys.exc_info())
    line = json.loads(JsonFormatter().format(record))
    assert line["error"] == "ValueError"
    assert line["at"][0].startswith("test_logs.py:")
    assert SECRET not in json.dumps(line)
