"""What can be set: where events go, and how many may wait. Read once, checked at once.

The variables are OpenTelemetry's, read as the Python SDK reads them (empty is unset, timeouts
are seconds, gRPC is the default); `INTENTPROOF_*` wins where both are set.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from opentelemetry.util.re import parse_env_headers

from .errors import SettingError

GRPC = "grpc"
HTTP = "http/protobuf"
_OTLP = "OTEL_EXPORTER_OTLP_"
_TRACES = "OTEL_EXPORTER_OTLP_TRACES_"
_TRACES_PATH = "/v1/traces"
_DEFAULT_ENDPOINT = {GRPC: "http://localhost:4317", HTTP: "http://localhost:4318"}
_COMPRESSIONS = ("none", "gzip")
_HEADER_NAME = re.compile(r"[0-9A-Za-z_.-]{1,256}")


@dataclass(frozen=True, kw_only=True)
class OtlpSettings:
    """Where and how to send. For HTTP, `endpoint` is the full URL.

    Raises SettingError at construction. `from_environment` is how most programs make one.
    """

    protocol: str = GRPC
    endpoint: str = _DEFAULT_ENDPOINT[GRPC]
    headers: tuple[tuple[str, str], ...] = ()
    compression: str = "none"
    timeout_s: float = 10.0
    insecure: bool | None = None  # gRPC only; None: as the endpoint's scheme says
    certificate: str | None = None
    client_key: str | None = None
    client_certificate: str | None = None

    def __post_init__(self) -> None:
        if self.protocol not in _DEFAULT_ENDPOINT:
            raise SettingError("protocol", self.protocol, f"must be {GRPC} or {HTTP}")
        if self.protocol == HTTP and urlsplit(self.endpoint).scheme not in ("http", "https"):
            raise SettingError("endpoint", self.endpoint, "must start with http:// or https://")
        if self.compression not in _COMPRESSIONS:
            raise SettingError("compression", self.compression, "must be none or gzip")
        if not 0 < self.timeout_s <= 3600:
            raise SettingError("timeout_s", self.timeout_s, "must be within 0 and 3600 seconds")
        for name, value in self.headers:
            if not _HEADER_NAME.fullmatch(name) or not (value.isascii() and value.isprintable()):
                # The value may be a secret, so that it is not shown.
                raise SettingError("headers", name, "must be a token with printable ASCII text")
        for name in ("certificate", "client_key", "client_certificate"):
            path = getattr(self, name)
            if path is not None and not Path(path).is_file():
                raise SettingError(name, path, "no such file")

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] = os.environ, *, api_key: str | None = None
    ) -> Self:
        """The settings that the environment asks for; `api_key` wins over INTENTPROOF_API_KEY.

        Headers meant for another backend are not sent to INTENTPROOF_ENDPOINT.
        Raises SettingError, which names the variable.
        """
        read = _Environment(environ)
        protocol = read.choice("PROTOCOL", GRPC, tuple(_DEFAULT_ENDPOINT))
        own_endpoint = read.value("INTENTPROOF_ENDPOINT")
        headers = {} if own_endpoint else dict(read.headers())
        key = api_key or read.value("INTENTPROOF_API_KEY")
        if key:
            if not key.isascii() or not key.isprintable():
                raise SettingError("INTENTPROOF_API_KEY", "…", "must be printable ASCII")
            headers["x-api-key"] = key
        return cls(
            protocol=protocol,
            endpoint=read.endpoint(protocol, own_endpoint),
            headers=tuple(headers.items()),
            compression=read.choice("COMPRESSION", "none", _COMPRESSIONS),
            timeout_s=read.seconds("TIMEOUT", 10.0),
            insecure=read.flag("INSECURE"),
            certificate=read.file("CERTIFICATE"),
            client_key=read.file("CLIENT_KEY"),
            client_certificate=read.file("CLIENT_CERTIFICATE"),
        )


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    """How many events may wait, and how long. Raises SettingError at construction.

    `queue_bytes` and `batch_bytes` count the text that spans carry, before encoding: the
    OpenTelemetry Collector takes requests up to 4 MiB.
    """

    queue_size: int = 2048
    batch_size: int = 512
    queue_bytes: int = 64 << 20
    batch_bytes: int = 2 << 20
    schedule_delay_ms: int = 1000
    shutdown_timeout_ms: int = 5000
    retry_delay_ms_min: int = 500
    retry_delay_ms_max: int = 30_000

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SettingError(name, value, "must be a whole number of at least 1")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The settings with OTEL_BSP_* where set. Raises SettingError, naming the variable."""
        read = _Environment(environ)
        queue_size = read.whole("OTEL_BSP_MAX_QUEUE_SIZE", cls.queue_size)
        batch_size = read.whole("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", cls.batch_size)
        return cls(
            queue_size=queue_size,
            batch_size=min(batch_size, queue_size),
            schedule_delay_ms=read.whole("OTEL_BSP_SCHEDULE_DELAY", cls.schedule_delay_ms),
            shutdown_timeout_ms=read.whole("INTENTPROOF_SHUTDOWN_TIMEOUT", cls.shutdown_timeout_ms),
        )


class _Environment:
    """Reads variables and says which one is wrong."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def value(self, name: str) -> str | None:
        return self._environ.get(name, "").strip() or None

    def otlp(self, name: str) -> tuple[str, str | None]:
        """The variable that answers for `name`, and its value; ours, then traces, then all."""
        candidates = [_TRACES + name, _OTLP + name]
        if name == "PROTOCOL":
            candidates.insert(0, "INTENTPROOF_PROTOCOL")
        for variable in candidates:
            value = self.value(variable)
            if value is not None:
                return variable, value
        return candidates[-1], None

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        variable, value = self.otlp(name)
        chosen = default if value is None else value.lower()
        if chosen not in allowed:
            raise SettingError(variable, value, f"must be one of {', '.join(allowed)}")
        return chosen

    def seconds(self, name: str, default: float) -> float:
        variable, value = self.otlp(name)
        try:
            number = default if value is None else float(value)
        except ValueError:
            number = 0.0
        if not 0 < number <= 3600:
            raise SettingError(variable, value, "must be seconds, above 0 and at most 3600")
        return number

    def whole(self, variable: str, default: int) -> int:
        value = self.value(variable)
        if value is None:
            return default
        if not (value.isascii() and value.isdigit()) or len(value) > 9 or int(value) < 1:
            raise SettingError(variable, value, "must be a whole number of at least 1")
        return int(value)

    def flag(self, name: str) -> bool | None:
        variable, value = self.otlp(name)
        if value is None:
            return None
        if value.lower() not in ("true", "false"):
            raise SettingError(variable, value, "must be true or false")
        return value.lower() == "true"

    def file(self, name: str) -> str | None:
        variable, value = self.otlp(name)
        if value is not None and not Path(value).is_file():
            raise SettingError(variable, value, "no such file")
        return value

    def headers(self) -> Mapping[str, str]:
        return parse_env_headers(self.otlp("HEADERS")[1] or "", liberal=True)

    def endpoint(self, protocol: str, own: str | None) -> str:
        """For gRPC as given; for HTTP a base URL gets `/v1/traces`, a traces URL is kept."""
        if protocol == GRPC:
            return own or self.otlp("ENDPOINT")[1] or _DEFAULT_ENDPOINT[GRPC]
        for variable, value in (
            ("INTENTPROOF_ENDPOINT", own),
            (_TRACES + "ENDPOINT", self.value(_TRACES + "ENDPOINT")),
            (_OTLP + "ENDPOINT", self.value(_OTLP + "ENDPOINT")),
        ):
            if value is None:
                continue
            if urlsplit(value).scheme not in ("http", "https"):
                raise SettingError(variable, value, "must start with http:// or https://")
            complete = variable == _TRACES + "ENDPOINT" or value.endswith(_TRACES_PATH)
            return value if complete else value.rstrip("/") + _TRACES_PATH
        return _DEFAULT_ENDPOINT[HTTP] + _TRACES_PATH
