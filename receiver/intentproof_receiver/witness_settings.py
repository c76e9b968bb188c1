"""The setting `witnesses`: whom the receiver asks to cosign its checkpoints."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import yaml
from intentproof_store import NoteInvalid, WitnessKey

from .errors import ConfigInvalid

WITNESSES_MAX = 32
_MEMBERS = {"url", "vkey"}


@dataclass(frozen=True)
class WitnessSetting:
    """Where a witness is asked (its submission prefix), and the key that its answers must have."""

    url: str
    key: WitnessKey

    @property
    def name(self) -> str:
        """The witness's own name."""
        return self.key.name


def read_witnesses(value: Any, source: str) -> tuple[WitnessSetting, ...]:
    """A list of mappings with `url` and `vkey`, or its YAML or JSON text.

    Raises ConfigInvalid, which names the member.
    """
    if isinstance(value, str):
        try:
            value = yaml.safe_load(value)
        except (yaml.YAMLError, RecursionError) as error:
            raise ConfigInvalid(f"witnesses {source}: neither YAML nor JSON") from error
    if not isinstance(value, list):
        raise ConfigInvalid(f"witnesses {source}: must be a list of mappings with url and vkey")
    if len(value) > WITNESSES_MAX:
        raise ConfigInvalid(f"witnesses {source}: must be at most {WITNESSES_MAX}")
    found: list[WitnessSetting] = []
    for number, item in enumerate(value):
        where = f"witnesses[{number}]"
        one = _witness(where, item, source)
        if any(known.key.key == one.key.key for known in found):
            raise ConfigInvalid(f"{where}.vkey {source}: the key stands above already")
        found.append(one)
    return tuple(found)


def _witness(where: str, item: Any, source: str) -> WitnessSetting:
    if not isinstance(item, dict) or item.keys() != _MEMBERS:
        raise ConfigInvalid(f"{where} {source}: must be a mapping with url and vkey, no more")
    for name in ("url", "vkey"):
        if not isinstance(item[name], str):
            raise ConfigInvalid(f"{where}.{name} {source}: must be a text")
    try:
        key = WitnessKey.parse(item["vkey"].strip())
    except NoteInvalid as error:
        raise ConfigInvalid(f"{where}.vkey {source}: {error}") from error
    if not key.is_supported:
        raise ConfigInvalid(
            f"{where}.vkey {source}: {key.algorithm_name} cannot be verified by the installed "
            "cryptography library: upgrade it"
        )
    return WitnessSetting(_url(where, item["url"].strip(), source), key)


def _url(where: str, url: str, source: str) -> str:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.query or parts.fragment or parts.username or not url.isascii():
        raise ConfigInvalid(
            f"{where}.url {source}: must be http(s)://HOST[:PORT][/PATH], the witness's submission "
            "prefix"
        )
    return url.rstrip("/")
