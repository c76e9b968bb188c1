"""Quotas and pressure of the service as a process."""

import socket
from pathlib import Path

from intentproof_receiver.key_commands import create_key
from intentproof_receiver.usage import FILE_NAME

from tests.receiver.support import PROTOBUF, request_bytes, span_message
from tests.receiver.test_serve import finished, process

FIRST, SECOND = request_bytes(span_message(1)), request_bytes(span_message(2))


def config(tmp_path: Path, text: str) -> tuple[str, str]:
    """The flag for a configuration of this text."""
    file = tmp_path / "receiver.yaml"
    file.write_text(text)
    return "--config", str(file)


def test_a_day_outlives_a_restart(tmp_path: Path) -> None:
    """Bytes of a day that were used up before a stop are so after it, and of that tenant alone."""
    acme = create_key(tmp_path / "home", tenant="acme")[1]
    calm = create_key(tmp_path / "home", tenant="calm")[1]
    more = config(tmp_path, f"quotas: {{acme: {{bytes_per_day: {len(FIRST)}}}}}")
    with process(tmp_path, *more) as running:
        assert running.post(FIRST, acme) == 200
        assert running.post(SECOND, acme) == 429
        assert running.stop() == 0
    with process(tmp_path, *more) as running:
        assert running.post(SECOND, acme) == 429
        assert running.post(SECOND, calm) == 200
        assert running.stop() == 0
    with process(tmp_path) as running:
        assert running.post(SECOND, acme) == 200


def test_a_damaged_count_stops_nobody(tmp_path: Path) -> None:
    """A file of used bytes that cannot be read is told, and the service takes spans."""
    acme = create_key(tmp_path / "home", tenant="acme")[1]
    (tmp_path / "home" / FILE_NAME).write_text("{")
    more = config(tmp_path, "quotas: {default: {bytes_per_day: 1000000}}")
    with process(tmp_path, *more) as running:
        assert running.post(FIRST, acme) == 200
        assert running.stop() == 0
        assert running.popen.stderr is not None
    assert b'"acme"' in (tmp_path / "home" / FILE_NAME).read_bytes()


def test_a_bad_quota_is_named(tmp_path: Path) -> None:
    """A quota that cannot be used ends the start with exit code 6 and one line."""
    done = finished(tmp_path, *config(tmp_path, "quotas: {acme: {bytes_per_day: -1}}"))
    assert done.returncode == 6
    assert "quotas.acme.bytes_per_day in " in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_limits_of_a_tenant_are_the_configured_ones(tmp_path: Path) -> None:
    """A tenant with as many requests as it may have is refused another, and others are not."""
    acme = create_key(tmp_path / "home", tenant="acme")[1]
    calm = create_key(tmp_path / "home", tenant="calm")[1]
    head = (
        f"POST /v1/traces HTTP/1.1\r\nhost: x\r\nx-api-key: {acme}\r\n"
        f"content-type: {PROTOBUF}\r\ncontent-length: {len(FIRST)}\r\n"
        "expect: 100-continue\r\n\r\n"
    )
    with process(tmp_path, *config(tmp_path, "tenant_requests_in_flight_max: 1")) as running:
        host, port = running.http.split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(head.encode())
            assert connection.recv(1000).startswith(b"HTTP/1.1 100")  # it is being read
            assert running.post(SECOND, acme) == 503
            assert running.post(SECOND, calm) == 200
            connection.sendall(FIRST)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        assert running.post(SECOND, acme) == 200


def test_pressure_is_shown(tmp_path: Path) -> None:
    """Metrics say what waits, why requests were refused, and the delay that would be told now."""
    with process(tmp_path) as running:
        text = running.get("/metrics")[1]
    for line in (
        "intentproof_requests_waiting 0.0",
        "intentproof_bytes_waiting 0.0",
        "intentproof_decoding_waiting 0.0",
        "intentproof_retry_delay_seconds 1.0",
        "# TYPE intentproof_refused_total counter",
    ):
        assert line in text
