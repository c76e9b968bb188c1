"""API keys: who may send and read, and for which tenant.

`api-keys.json` in --home holds, of each key, the SHA-256 of a 256-bit random secret. The key itself
is shown once, when it is made, and stands nowhere. A key is `ipk_<id>_<secret>`.
"""

import hashlib
import hmac
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from intentproof_schemas import TENANT

from .errors import Forbidden, KeysUnavailable, Unauthenticated
from .homefile import Watched

FILE_NAME = "api-keys.json"
ROLES = ("ingest", "read", "admin")
REFUSALS = ("missing", "unknown", "revoked", "expired")  # why a request has no principal

_KEY = re.compile(r"ipk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ApiKey:
    """What is kept of a key. Times are RFC 3339, "" where there is none."""

    id: str
    tenant: str
    roles: tuple[str, ...]
    sha256: str
    created: str
    expires: str = ""
    revoked: str = ""


@dataclass(frozen=True)
class Principal:
    """Who sent a request: tenant and roles come from the key or mapped certificate alone.

    `key_id` is "" where there was no key, `identity` where there was no mapped certificate.
    """

    tenant: str
    roles: tuple[str, ...]
    key_id: str = ""
    identity: str = ""

    def require(self, role: str) -> None:
        """Raises Forbidden unless they have `role`, both where both were shown."""
        if role not in self.roles:
            shown = (("API key", self.key_id), ("client certificate", self.identity))
            who = " with this ".join(name for name, value in shown if value)
            raise Forbidden(f"this {who} does not have the role {role}")


def utc(timestamp: float) -> str:
    """Unix seconds as RFC 3339 in UTC, whole seconds."""
    return datetime.fromtimestamp(int(timestamp), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def digest(secret: str) -> str:
    """The hex SHA-256 of a key's secret; it has 256 random bits, so no slow hash is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def read_keys(path: Path) -> dict[str, ApiKey]:
    """The keys in the file, by id. Raises KeysUnavailable if it is missing or damaged."""
    try:
        entries = json.loads(path.read_bytes())["keys"]
        keys = [_read_key(entry) for entry in entries]
    except FileNotFoundError as error:
        raise KeysUnavailable(
            "there is no file of API keys: make one with `keys create`"
        ) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise KeysUnavailable(f"the file of API keys cannot be read: {_why(error)}") from error
    return {key.id: key for key in keys}


def keys_text(keys: dict[str, ApiKey]) -> bytes:
    """The file's bytes."""
    entries = [asdict(key) for key in keys.values()]
    return json.dumps({"version": 1, "keys": entries}, indent=1).encode() + b"\n"


def _why(error: Exception) -> str:
    return str(error.strerror) if isinstance(error, OSError) else type(error).__name__


def _read_key(entry: Any) -> ApiKey:
    key = ApiKey(**{**entry, "roles": tuple(entry["roles"])})
    if not TENANT.fullmatch(key.tenant) or not _SHA256.fullmatch(key.sha256):
        raise ValueError("a damaged entry")
    for moment in (key.created, key.expires, key.revoked):
        if moment:
            datetime.fromisoformat(moment)
    return key


@dataclass(frozen=True, kw_only=True)
class KeysStatus:
    """The file of keys in numbers. `next_expiry` is in Unix seconds, of keys that are valid now."""

    readable: bool
    valid: int = 0
    expired: int = 0
    revoked: int = 0
    next_expiry: float | None = None
    refusals: dict[str, int]


class KeyStore:
    """The keys of a running receiver. Thread-safe; reads the file again when it has changed."""

    def __init__(self, home: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._file = Watched(home / FILE_NAME, read_keys)
        self._clock = clock
        self._lock = threading.Lock()
        self._refusals = dict.fromkeys(REFUSALS, 0)

    def authenticate(self, text: str | None) -> Principal:
        """The principal of a key.

        Raises Unauthenticated where it is certain that there is no valid key, and KeysUnavailable
        where that cannot be known.
        """
        if not text:
            raise self._refused(
                "missing", "no API key: send one in x-api-key or authorization: Bearer"
            )
        match = _KEY.fullmatch(text)
        key = self._find(match[1]) if match else None
        # Compared also where the id is unknown, so that time does not tell ids from one another.
        known = key.sha256 if key else "0" * 64
        same = hmac.compare_digest(digest(match[2] if match else ""), known)
        if key is None or not same:
            raise self._refused("unknown", "unknown API key")
        if key.revoked:
            raise self._refused("revoked", "this API key was revoked")
        if key.expires and datetime.fromisoformat(key.expires).timestamp() <= self._clock():
            raise self._refused("expired", f"this API key expired on {key.expires[:10]}")
        return Principal(key.tenant, key.roles, key.id)

    def _refused(self, reason: str, message: str) -> Unauthenticated:
        with self._lock:
            self._refusals[reason] += 1
        return Unauthenticated(message)

    def status(self) -> KeysStatus:
        """The keys in numbers. Reads the file where it has changed; raises nothing."""
        now = self._clock()
        with self._lock:
            refusals = dict(self._refusals)
        try:
            keys = list(self._file.content(now=True).values())
        except KeysUnavailable:
            return KeysStatus(readable=False, refusals=refusals)
        live = [key for key in keys if not key.revoked]
        ends = [datetime.fromisoformat(key.expires).timestamp() for key in live if key.expires]
        expired = sum(end <= now for end in ends)
        return KeysStatus(
            readable=True,
            valid=len(live) - expired,
            expired=expired,
            revoked=len(keys) - len(live),
            next_expiry=min((end for end in ends if end > now), default=None),
            refusals=refusals,
        )

    def _find(self, key_id: str) -> ApiKey | None:
        key = self._file.content().get(key_id)
        return key or self._file.content(now=True).get(key_id)
