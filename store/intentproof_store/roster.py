"""The roster: which other writers of its tenant a log names, and with which signed checkpoint.

Receivers share nothing but the layout, so that each names in its own log what it sees beside it.
Whoever would hide one log would then have to hide every log that names it.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from .checkpoints import checkpoint_sizes
from .errors import NoteInvalid
from .files import read_regular
from .identity import trusted_keys
from .layout import Layout
from .note import VerifierKey, open_note

_log = logging.getLogger("intentproof.store")
ROSTER_KINDS = ("genesis", "key-rotation", "writer-added", "writer-retired")


@dataclass
class Roster:
    """What one log says of writers and keys.

    `ended` are those of the named that write no more. `retired_at` is where it says that it ends
    itself, `rotated_to` the newest key that it names.
    """

    writer: str
    named: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    retired_at: int = -1
    rotated_to: str = ""

    def learn(self, log_index: int, kind: str, detail: str) -> None:
        """Take a leaf of ROSTER_KINDS that is in the log."""
        said = orjson.loads(detail)
        if kind == "key-rotation":
            self.rotated_to = said["new_key"]
            return
        if kind == "genesis":
            said = said.get("former", {})
        writer = said.get("writer")
        if writer == self.writer and kind == "writer-retired":
            self.retired_at = log_index
        elif writer is not None:
            self.named.add(writer)
            if kind != "writer-added":
                self.ended.add(writer)


def seen_beside(layout: Layout, home: Path, tenant: str, roster: Roster) -> list[dict[str, Any]]:
    """Details of `writer-added` leaves for writers of the tenant that are not named yet.

    Only logs that a key of `trusted.vkeys` signed: whoever can write to the store must not be able
    to have this log name what never was. Reads small files.
    """
    others = set(layout.writers(tenant)) - roster.named - {roster.writer}
    if not others:
        return []
    keys = trusted_keys(home)
    found = []
    for writer in sorted(others):
        signed = newest_checkpoint(layout, tenant, writer, keys)
        if signed is not None:
            text, key = signed
            found.append({"checkpoint": text, "log_key": key.vkey(), "writer": writer})
    return found


def newest_checkpoint(
    layout: Layout, tenant: str, writer: str, keys: tuple[VerifierKey, ...]
) -> tuple[str, VerifierKey] | None:
    """A log's newest checkpoint and the trusted key that signed it; None where there is none."""
    folder = layout.log(tenant, writer)
    sizes = checkpoint_sizes(folder)
    if not sizes:
        return None
    suffix = f"/{tenant}/{writer}"
    path = folder / f"checkpoint.{sizes[-1]}"
    try:
        raw = read_regular(path)
        _, signers = open_note(raw, [key for key in keys if key.name.endswith(suffix)])
    except (OSError, NoteInvalid) as error:
        fields = {"tenant": tenant, "writer": writer, "reason": str(error)}
        _log.warning("a log beside this one is not vouched for", extra={"fields": fields})
        return None
    return raw.decode(), signers[-1]
