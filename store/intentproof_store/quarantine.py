"""What could not be taken: its bytes on disk, once, and the detail of its leaf (contract §4)."""

import hashlib
import hmac
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intentproof_schemas import QUARANTINE_DOMAIN, QUARANTINE_SALT_BYTES, commitment

from .durable import create_file

_MESSAGE_MAX = 500


@dataclass(frozen=True)
class Undecodable:
    """A span that a rule takes, or that cannot be read, and cannot become an event.

    `raw` are its bytes as received, `reason` a stable word, `message` names what is wrong.
    """

    raw: bytes
    reason: str
    message: str


class Quarantine:
    """One tenant's quarantine folder. One thread only.

    File names are keyed: the same bytes give the same name, and a name tells nothing of them.
    """

    def __init__(self, folder: Path, key: bytes) -> None:
        self._folder = folder
        self._key = key
        self._kept: set[str] = set()
        self._staged: dict[str, dict[str, Any]] = {}

    def learn(self, details: Iterable[str]) -> None:
        """Tell of quarantine leaves that the log has, by their details."""
        for detail in details:
            self._kept.add(json.loads(detail)["file"])

    def put(self, item: Undecodable) -> dict[str, Any] | None:
        """Keep the bytes durably; the detail of their leaf, or None if the log has it. Blocks."""
        name = hmac.new(
            self._key, b"intentproof.quarantine.name\0" + item.raw, hashlib.sha256
        ).hexdigest()
        if name in self._kept or name in self._staged:
            return None
        salt = os.urandom(QUARANTINE_SALT_BYTES)
        path = self._folder / name
        if not create_file(path, salt + item.raw):
            salt = path.read_bytes()[:QUARANTINE_SALT_BYTES]  # of a try that was not acknowledged
        detail = {
            "file": name,
            "message": item.message[:_MESSAGE_MAX],
            "reason": item.reason,
            "sha256": commitment(QUARANTINE_DOMAIN, salt, item.raw),
            "size": len(item.raw),
        }
        self._staged[name] = detail
        return detail

    def commit(self) -> None:
        """The group's leaves are durable."""
        self._kept.update(self._staged)
        self._staged.clear()

    def discard(self) -> None:
        """The group failed; its files stay for the next try."""
        self._staged.clear()
