"""What a tenant may send: the quotas of the configuration, and the bucket behind events a second.

Pure: clocks are arguments.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from intentproof_schemas import TENANT

from .errors import ConfigInvalid

BURST_SECONDS = 10  # of its rate, that a tenant may have saved up
_DEFAULT = "default"


@dataclass(frozen=True, kw_only=True)
class Quota:
    """The limits of one tenant; 0 is none."""

    events_per_second: float = 0.0
    bytes_per_day: int = 0


_HIGHEST = {"events_per_second": 10**9, "bytes_per_day": 2**60}


@dataclass(frozen=True, kw_only=True)
class Quotas:
    """The limits of all tenants: `default` of those that have none of their own."""

    default: Quota = Quota()
    tenants: Mapping[str, Quota] = field(default_factory=dict)

    def of(self, tenant: str) -> Quota:
        """The limits of a tenant."""
        return self.tenants.get(tenant, self.default)


NO_QUOTAS = Quotas()


def read_quotas(value: Any, source: str) -> Quotas:
    """The quotas of a configuration. Raises ConfigInvalid with the member's name and `source`.

    What a tenant's entry does not name is as in `default`.
    """
    entries = _mapping("quotas", value, source)
    for name in entries:
        if not isinstance(name, str) or not TENANT.fullmatch(name):
            raise ConfigInvalid(
                f"quotas.{name} {source}: must be default or a tenant id: lower-case letters, "
                "digits and '-', a letter first, at most 63"
            )
    default = _quota(_DEFAULT, entries.get(_DEFAULT, {}), Quota(), source)
    tenants = {
        name: _quota(name, entry, default, source)
        for name, entry in entries.items()
        if name != _DEFAULT
    }
    return Quotas(default=default, tenants=tenants)


def _quota(tenant: str, value: Any, base: Quota, source: str) -> Quota:
    where = f"quotas.{tenant}"
    members = _mapping(where, value, source)
    known = [one.name for one in fields(Quota)]
    for name, limit in members.items():
        if name not in known:
            raise ConfigInvalid(
                f"{where}.{name} {source}: no such limit; there are {', '.join(known)}"
            )
        kinds = (int, float) if name == "events_per_second" else (int,)
        if type(limit) not in kinds:
            wanted = "a number" if float in kinds else "a whole number"
            raise ConfigInvalid(f"{where}.{name} {source}: must be {wanted}")
        if not 0 <= limit <= _HIGHEST[name]:
            raise ConfigInvalid(
                f"{where}.{name} {source}: must be from 0 (no limit) to {_HIGHEST[name]}"
            )
    return replace(base, **members)


def _mapping(where: str, value: Any, source: str) -> Mapping[Any, Any]:
    if not isinstance(value, dict):
        raise ConfigInvalid(f"{where} {source}: must be a mapping, in the file")
    return value


class Bucket:
    """Tokens of one tenant, one an event. It may go into debt: only then is anyone refused.

    So the largest request passes, and over time no more than the rate does.
    """

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._most = max(1.0, rate * BURST_SECONDS)
        self._tokens = self._most
        self._now = now

    def wait(self, now: float) -> float:
        """Seconds until there is a whole token; 0 where there is."""
        self._fill(now)
        return max(0.0, (1.0 - self._tokens) / self._rate)

    def spend(self, events: int, now: float) -> None:
        """Take tokens, also those that are not there."""
        self._fill(now)
        self._tokens -= events

    def _fill(self, now: float) -> None:
        passed, self._now = max(0.0, now - self._now), now
        self._tokens = min(self._most, self._tokens + passed * self._rate)
