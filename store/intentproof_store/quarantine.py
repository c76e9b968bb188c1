"""What could not be taken: its bytes on disk, once, and the detail of its leaf (contract §4).

A file is named by its commitment, and holds the salt and then the bytes. The leaf has a reason, a
size and the commitment, and nothing else: a message would quote the span, and could not be erased.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intentproof_schemas import QUARANTINE_DOMAIN, QUARANTINE_SALT_BYTES, commitment

from .durable import create_file
from .layout import quarantine_file

_UNNAMED_MAX = 10_000  # files remembered; of those before, a resend writes another copy


@dataclass(frozen=True)
class Undecodable:
    """A span that a rule takes, or that cannot be read, and cannot become an event.

    `raw` are a request of it alone, with its bytes as received, and `reason` a stable word that
    quotes nothing of the span.
    """

    raw: bytes
    reason: str
    message: str = ""


class Quarantine:
    """One tenant's quarantine folder, as one writer uses it. One thread only.

    Writers share the folder, so each writes to a path of its own, `aside`, before.
    """

    def __init__(self, folder: Path, *, aside: Path) -> None:
        self._folder = folder
        self._aside = aside
        self._secret = secrets.token_bytes(32)
        self._unread: list[str] = []
        self._kept: set[bytes] = set()
        self._staged: dict[bytes, dict[str, Any]] = {}
        self._unnamed: dict[bytes, str] = {}  # written for groups that failed: no leaf names them

    def learn(self, details: Iterable[str]) -> None:
        """Tell of quarantine leaves that the log has, by their details."""
        self._unread += [quarantine_file(json.loads(detail)["sha256"]) for detail in details]

    def put(self, item: Undecodable) -> dict[str, Any] | None:
        """Keep the bytes durably; the detail of their leaf, or None if the log has it. Blocks."""
        self._read_kept()
        digest = self._digest(item.raw)
        if digest in self._kept or digest in self._staged:
            return None
        sha256 = self._unnamed.get(digest) or self._write(item.raw)
        detail = {"reason": item.reason, "sha256": sha256, "size": len(item.raw)}
        self._staged[digest] = detail
        return detail

    def _write(self, raw: bytes) -> str:
        salt = os.urandom(QUARANTINE_SALT_BYTES)
        sha256 = commitment(QUARANTINE_DOMAIN, salt, raw)
        create_file(self._folder / quarantine_file(sha256), salt + raw, aside=self._aside)
        return sha256

    def _read_kept(self) -> None:
        """Digests of what earlier processes kept, from the files that leaves name."""
        while self._unread:
            path = self._folder / self._unread.pop()
            if path.is_file():
                self._kept.add(self._digest(path.read_bytes()[QUARANTINE_SALT_BYTES:]))

    def _digest(self, raw: bytes) -> bytes:
        return hashlib.sha256(self._secret + raw).digest()[:16]

    def commit(self) -> None:
        """The group's leaves are durable."""
        self._kept.update(self._staged)
        for digest in self._staged:
            self._unnamed.pop(digest, None)
        self._staged.clear()

    def discard(self) -> None:
        """The group failed. The next try names the same files: each would else leave its own."""
        self._unnamed.update({key: detail["sha256"] for key, detail in self._staged.items()})
        while len(self._unnamed) > _UNNAMED_MAX:
            del self._unnamed[next(iter(self._unnamed))]
        self._staged.clear()
