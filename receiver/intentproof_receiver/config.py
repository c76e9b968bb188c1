"""The receiver's settings: defaults, then one YAML file, then the environment, then flags.

The file is for operators; what a test or another program needs to inject is an argument elsewhere.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from intentproof_schemas import EVENT_BYTES_MAX

from .errors import ConfigInvalid
from .quotas import NO_QUOTAS, Quotas, read_quotas
from .witness_settings import WitnessSetting, read_witnesses

ENV_PREFIX = "INTENTPROOF_"
_MIB = 1 << 20
_ADDRESS = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")
_LOG_NAME = re.compile(r"[a-z0-9.-]{1,100}")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_LEVELS = ("debug", "info", "warning", "error")


def _number(default: float, low: float, high: float) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every setting of `serve`. The name of a field is its key in the file; README explains each.

    In the environment it is INTENTPROOF_ and the key in upper case.
    """

    store: Path = Path("proofs")
    home: Path = Path(".intentproof")
    hot: Path | None = None
    grpc: str = "127.0.0.1:4317"
    http: str = "127.0.0.1:4318"
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    insecure: bool = False
    log_name: str = "intentproof.local"
    log_level: str = "info"
    message_bytes_max: int = _number(64 * _MIB, 1024, 1024 * _MIB)
    event_bytes_max: int = _number(EVENT_BYTES_MAX, 1024, 64 * _MIB)
    bytes_in_flight_max: int = _number(128 * _MIB, 2048, 64 * 1024 * _MIB)
    requests_in_flight_max: int = _number(256, 1, 65_536)
    tenant_bytes_in_flight_max: int = _number(0, 0, 64 * 1024 * _MIB)
    tenant_requests_in_flight_max: int = _number(0, 0, 65_536)
    quotas: Quotas = NO_QUOTAS
    witnesses: tuple[WitnessSetting, ...] = ()
    export_threads: int = _number(12, 1, 256)
    drain_seconds: float = _number(30.0, 0, 3600)
    seal_rows: int = _number(500_000, 1, 100_000_000)
    seal_bytes: int = _number(64 * _MIB, _MIB, 16 * 1024 * _MIB)
    seal_seconds: float = _number(900.0, 1, 86_400)
    checkpoint_seconds: float = _number(60.0, 1, 86_400)
    heartbeat_seconds: float = _number(3600.0, 3600, 86_400)
    tsa_url: str | None = None
    tsa_roots: Path | None = None
    tsa_authorization: Path | None = None
    tsa_seconds: float = _number(3600.0, 1, 604_800)
    tsa_timeout_seconds: float = _number(30.0, 1, 300)

    @property
    def hot_folder(self) -> Path:
        """Where acknowledged events wait for their segment: by default inside the store."""
        return self.hot or self.store / "hot"

    @property
    def tenant_bytes_max(self) -> int:
        """Bytes in flight of one tenant: by default half of all."""
        return self.tenant_bytes_in_flight_max or self.bytes_in_flight_max // 2

    @property
    def tenant_requests_max(self) -> int:
        """Requests in flight of one tenant: by default half of all."""
        return self.tenant_requests_in_flight_max or max(1, self.requests_in_flight_max // 2)


_FIELDS = {one.name: one for one in fields(Config)}
_KINDS: dict[str, type] = {name: type(one.default) for name, one in _FIELDS.items()}
_KINDS |= {name: type(Config.store) for name, kind in _KINDS.items() if kind is type(None)}
_KINDS["tsa_url"] = str


def default() -> Config:
    """The settings without a file, environment or flags."""
    return Config()


def load(
    *, file: str | None = None, environ: Mapping[str, str] = os.environ, flags: Mapping[str, Any]
) -> Config:
    """The settings of this process. Raises ConfigInvalid, naming the key, where it stands and why.

    `flags` are command-line options by the names of their keys; None is one that was not given.
    """
    config = default()
    sources: dict[str, str] = {}
    for key, value in _from_file(file).items():
        sources[key] = f"in {file}"
        config = _put(config, key, value, sources[key])
    for key in _FIELDS:
        text = environ.get(ENV_PREFIX + key.upper())
        if text:
            sources[key] = f"from {ENV_PREFIX}{key.upper()}"
            config = _put(config, key, text, sources[key], from_text=True)
    for key, value in flags.items():
        if value is not None:
            sources[key] = f"from --{key.replace('_', '-')}"
            config = _put(config, key, str(value), sources[key], from_text=True)
    validate(config, sources)
    return config


def _from_file(file: str | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        content = yaml.load(Path(file).read_text(encoding="utf-8"), _UniqueKeys)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ConfigInvalid(f"{file}: cannot be read as YAML: {_one_line(error)}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigInvalid(f"{file}: must be a mapping of keys to values")
    for key in content:
        if key not in _FIELDS:
            raise ConfigInvalid(
                f"{key} in {file}: no such setting; there are {', '.join(sorted(_FIELDS))}"
            )
    return content


class _UniqueKeys(yaml.SafeLoader):
    """PyYAML keeps the last of equal keys in silence; a setting given twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        """A mapping, or ConstructorError where a key stands twice."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _put(config: Config, key: str, value: Any, source: str, *, from_text: bool = False) -> Config:
    if key == "quotas":
        return replace(config, quotas=read_quotas(value, source))
    if key == "witnesses":
        return replace(config, witnesses=read_witnesses(value, source))
    kind = _KINDS[key]
    try:
        if from_text and kind in (int, float):
            value = kind(value)
        elif from_text and kind is bool:
            value = {"true": True, "false": False}.get(value.lower())
        elif isinstance(value, str) and issubclass(kind, Path) and value:
            value = Path(value)
        elif kind is float and type(value) is int:
            value = float(value)
    except ValueError:
        value = None
    if type(value) is not kind:
        wanted = {int: "a whole number", float: "a number", bool: "true or false"}.get(
            kind, "a text"
        )
        raise ConfigInvalid(f"{key} {source}: must be {wanted}")
    change: dict[str, Any] = {key: value}
    return replace(config, **change)


def validate(config: Config, sources: Mapping[str, str]) -> None:
    """Raises ConfigInvalid for the first setting that is out of range.

    `sources` says of a key where its value comes from, for the message.
    """
    for key, one in _FIELDS.items():
        if one.metadata:
            low, high = one.metadata["low"], one.metadata["high"]
            if not low <= getattr(config, key) <= high:
                raise _out_of_range(key, sources, f"must be from {low} to {high}")
    for key in ("grpc", "http"):
        match = _ADDRESS.fullmatch(getattr(config, key))
        if match is None or int(match[1]) > 65_535:
            raise _out_of_range(key, sources, "must be HOST:PORT with a port from 0 to 65535")
    if not _LOG_NAME.fullmatch(config.log_name):
        raise _out_of_range("log_name", sources, "must be 1 to 100 of a-z, 0-9, . and -")
    if config.log_level not in _LEVELS:
        raise _out_of_range("log_level", sources, f"must be one of {', '.join(_LEVELS)}")
    _validate_tls(config, sources)
    _validate_tsa(config, sources)
    if config.bytes_in_flight_max < 2 * config.message_bytes_max:
        raise _out_of_range(
            "bytes_in_flight_max",
            sources,
            f"must be at least twice message_bytes_max ({config.message_bytes_max}), or the "
            "largest message could never be taken: raise the one or lower the other",
        )
    _validate_tenant_limits(config, sources)


def _validate_tenant_limits(config: Config, sources: Mapping[str, str]) -> None:
    """What one tenant may have in flight lies between one message and what all may have."""
    if config.tenant_bytes_max < config.message_bytes_max:
        raise _out_of_range(
            "tenant_bytes_in_flight_max",
            sources,
            f"must be at least message_bytes_max ({config.message_bytes_max}), or 0 for half of "
            "bytes_in_flight_max: raise the one or lower the other",
        )
    for key in ("bytes_in_flight_max", "requests_in_flight_max"):
        limit = getattr(config, key)
        if getattr(config, f"tenant_{key}") > limit:
            raise _out_of_range(
                f"tenant_{key}", sources, f"must be at most {key} ({limit}), or 0 for half of it"
            )


def _validate_tls(config: Config, sources: Mapping[str, str]) -> None:
    if (config.tls_certificate is None) != (config.tls_key is None):
        given = "tls_certificate" if config.tls_key is None else "tls_key"
        other = "tls_key" if config.tls_key is None else "tls_certificate"
        raise _out_of_range(given, sources, f"needs {other} beside it")
    if config.tls_client_ca is not None and config.tls_certificate is None:
        raise _out_of_range("tls_client_ca", sources, "needs tls_certificate and tls_key, too")


def _validate_tsa(config: Config, sources: Mapping[str, str]) -> None:
    """The authority has a URL, and no credentials cross the network in clear."""
    if config.tsa_url is None:
        for key in ("tsa_roots", "tsa_authorization"):
            if getattr(config, key) is not None:
                raise _out_of_range(key, sources, "needs tsa_url, too")
        return
    try:
        parts = urlsplit(config.tsa_url)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or not config.tsa_url.isprintable():
        raise _out_of_range("tsa_url", sources, "must be http://HOST… or https://HOST…")
    if "@" in parts.netloc:
        raise _out_of_range("tsa_url", sources, "must have no password: give tsa_authorization")
    if config.tsa_authorization and parts.scheme == "http" and host not in _LOOPBACK:
        raise _out_of_range("tsa_url", sources, "must be https:// with tsa_authorization")


def _out_of_range(key: str, sources: Mapping[str, str], message: str) -> ConfigInvalid:
    return ConfigInvalid(f"{key} {sources.get(key, '(default)')}: {message}")
