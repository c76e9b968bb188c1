"""What the environment may ask for, and how a mistake is told."""

from pathlib import Path

import pytest

from otel_bridge import BridgeError, OtlpExporter, OtlpSettings, QueueSettings, SettingError

HTTP = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}


@pytest.mark.parametrize(
    ("environ", "endpoint"),
    [
        ({}, "http://localhost:4317"),
        (HTTP, "http://localhost:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1"}, "http://c:1"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, "http://localhost:4317"),
        (HTTP | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1/"}, "http://c:1/v1/traces"),
        (HTTP | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1/otlp"}, "http://c:1/otlp/v1/traces"),
        (HTTP | {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:1/x"}, "http://c:1/x"),
        (HTTP | {"INTENTPROOF_ENDPOINT": "http://p:2"}, "http://p:2/v1/traces"),
        (HTTP | {"INTENTPROOF_ENDPOINT": "http://p:2/v1/traces"}, "http://p:2/v1/traces"),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:1", "INTENTPROOF_ENDPOINT": "p:2"},
            "p:2",
        ),
    ],
)
def test_endpoints(environ: dict[str, str], endpoint: str) -> None:
    """Endpoints are read as the SDK reads them, ours first."""
    assert OtlpSettings.from_environment(environ).endpoint == endpoint


def test_traces_win_over_all_signals() -> None:
    """A variable for traces wins over the one for all signals."""
    read = OtlpSettings.from_environment(
        {
            "OTEL_EXPORTER_OTLP_TIMEOUT": "3",
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "2.5",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_EXPORTER_OTLP_INSECURE": "true",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        }
    )
    assert (read.timeout_s, read.compression, read.insecure) == (2.5, "gzip", True)
    assert read.protocol == "http/protobuf"


def test_headers_and_key() -> None:
    """Headers are URL-encoded pairs; the key is one of them, and the argument wins."""
    environ = {
        "OTEL_EXPORTER_OTLP_HEADERS": "x-team=a%20b, authorization=Bearer 1",
        "INTENTPROOF_API_KEY": "from-environment",
    }
    read = OtlpSettings.from_environment(environ, api_key="given")
    assert dict(read.headers) == {
        "x-team": "a b",
        "authorization": "Bearer 1",
        "x-api-key": "given",
    }


def test_other_backends_headers_stay_with_them() -> None:
    """A secret for another backend is not sent to our own endpoint."""
    environ = {
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=theirs",
        "INTENTPROOF_ENDPOINT": "http://localhost:4317",
    }
    assert OtlpSettings.from_environment(environ).headers == ()


def test_certificates_are_files(tmp_path: Path) -> None:
    """Certificates are named by path and must exist."""
    path = tmp_path / "ca.pem"
    path.write_text("")
    read = OtlpSettings.from_environment({"OTEL_EXPORTER_OTLP_CERTIFICATE": str(path)})
    assert read.certificate == str(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("INTENTPROOF_PROTOCOL", "udp"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "nan"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "yes"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/no/such/file"),
        ("INTENTPROOF_API_KEY", "two\nlines"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    """A setting that cannot be used is refused at once, by the name of its variable."""
    with pytest.raises(SettingError, match=name):
        OtlpSettings.from_environment({name: value})


@pytest.mark.parametrize("name", ["INTENTPROOF_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"])
def test_an_http_endpoint_is_a_url(name: str) -> None:
    """HTTP needs a scheme."""
    with pytest.raises(SettingError, match=name):
        OtlpSettings.from_environment(HTTP | {name: "localhost:4318"})


@pytest.mark.parametrize(
    "given",
    [
        {"protocol": "x"},
        {"compression": "x"},
        {"timeout_s": 0},
        {"headers": (("bad name", "x"),)},
        {"headers": (("x-key", "line\nline"),)},
        {"protocol": "http/protobuf", "endpoint": "x"},
        {"certificate": "/no/such/file"},
    ],
)
def test_wrong_options_are_refused(given: dict[str, object]) -> None:
    """Settings made by hand are checked like those of the environment."""
    with pytest.raises(BridgeError, match=str(list(given)[-1])):
        OtlpSettings(**given)  # type: ignore[arg-type]


def test_the_queue_reads_the_batch_processors_variables() -> None:
    """OTEL_BSP_* say how many events wait and how long."""
    environ = {
        "OTEL_BSP_MAX_QUEUE_SIZE": "100",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "INTENTPROOF_SHUTDOWN_TIMEOUT": "700",
    }
    read = QueueSettings.from_environment(environ)
    assert (read.queue_size, read.batch_size, read.schedule_delay_ms) == (100, 100, 50)
    assert read.shutdown_timeout_ms == 700
    with pytest.raises(SettingError, match="OTEL_BSP_MAX_QUEUE_SIZE"):
        QueueSettings.from_environment({"OTEL_BSP_MAX_QUEUE_SIZE": "many"})
    with pytest.raises(SettingError, match="queue_size"):
        QueueSettings(queue_size=0)


def test_the_exporter_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake shows where the program is set up, not when spans run."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "smoke signals")
    with pytest.raises(SettingError, match="OTEL_EXPORTER_OTLP_PROTOCOL"):
        OtlpExporter()
