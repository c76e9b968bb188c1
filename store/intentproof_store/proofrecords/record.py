"""A proof record v1: read, normalised and hashed as the reference does. Pure."""

import re
from dataclasses import dataclass
from typing import Any

from .controls import read_controls
from .hashing import jcs, sha256_hex
from .members import Kind, kept, read_members
from .moment import Moment, read_moment
from .relationship import read_relationship

HASH = re.compile(r"sha256:[a-f0-9]{64}")
_DERIVED_ID = re.compile(r"prf-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ-[a-f0-9]{8}", re.ASCII)
_ID_DIGITS = 8
_RECORD = {
    "record_id": Kind.TEXT,
    "record_version": Kind.TEXT,
    "timestamp": Kind.TEXT,
    "source": Kind.TEXT,
    "source_product": Kind.TEXT,
    "agent_id": Kind.TEXT,
    "record_type": Kind.TEXT,
    "event": Kind.OBJECT,
    "controls": Kind.OBJECT,
    "metadata": Kind.OBJECT,
    "relationship": Kind.OBJECT,
    "relations": Kind.OBJECT,
    "integrity": Kind.OBJECT,
}
_INTEGRITY = {
    "record_hash": Kind.TEXT,
    "previous_record_hash": Kind.TEXT,
    "signing_key_id": Kind.TEXT,
    "signature": Kind.TEXT,
}


@dataclass(frozen=True, kw_only=True)
class Record:
    """One record as it is hashed. Nothing of it is true before it was verified.

    `unprotected` names members that neither the schema knows nor the hash covers.
    """

    record_id: str
    record_version: str
    timestamp: Moment | None
    source: str
    source_product: str
    agent_id: str
    record_type: str
    event: dict[str, Any] | None
    controls: dict[str, Any]
    metadata: dict[str, Any] | None
    relationship: dict[str, Any] | None
    relations: dict[str, Any] | None
    record_hash: str
    previous_record_hash: str
    signing_key_id: str
    signature: str
    unprotected: tuple[str, ...] = ()

    def payload(self) -> bytes:
        """The bytes that `record_hash` is the SHA-256 of. Raises Unreadable."""
        return jcs(self._payload())

    def hash(self) -> str:
        """What `record_hash` must be. Raises Unreadable."""
        return "sha256:" + sha256_hex(self._payload())

    def derived_id(self) -> str:
        """What the reference makes `record_id` of. Raises Unreadable."""
        seconds = self._seconds()
        named = {
            "timestamp": seconds,
            "source": self.source,
            "source_product": self.source_product,
            "agent_id": self.agent_id,
            "record_type": self.record_type,
            "event": self.event,
        }
        return f"prf-{seconds}-{sha256_hex(named)[:_ID_DIGITS]}"

    def claims_derived_id(self) -> bool:
        """Whether the id has the form of one that was derived from the record."""
        return _DERIVED_ID.fullmatch(self.record_id) is not None

    def document(self) -> dict[str, Any]:
        """The record as the reference writes it again: what schemas and chain digests see."""
        return {
            "record_id": self.record_id,
            "record_version": self.record_version,
            "timestamp": "" if self.timestamp is None else self.timestamp.text(),
            "source": self.source,
            "source_product": self.source_product,
            "record_type": self.record_type,
            "event": self.event,
            "controls": self.controls,
            "integrity": {
                "record_hash": self.record_hash,
                **kept({name: getattr(self, name) for name in list(_INTEGRITY)[1:]}),
            },
            **kept({"agent_id": self.agent_id}),
            **({"metadata": self.metadata} if self.metadata else {}),
            **self._relationships(),
        }

    def _seconds(self) -> str:
        return "" if self.timestamp is None else self.timestamp.seconds_text()

    def _payload(self) -> dict[str, Any]:
        return {
            "record_id": self.record_id,
            "record_version": self.record_version,
            "timestamp": self._seconds(),
            "source": self.source,
            "source_product": self.source_product,
            "agent_id": self.agent_id,
            "record_type": self.record_type,
            "event": self.event,
            "controls": self.controls,
            "metadata": self.metadata,
            "integrity": {"previous_record_hash": self.previous_record_hash},
            **self._relationships(),
        }

    def _relationships(self) -> dict[str, Any]:
        found = {"relationship": self.relationship, "relations": self.relations}
        return {name: each for name, each in found.items() if each is not None}


def read_record(value: object, what: str = "the record") -> Record:
    """A record of a JSON value, normalised. Raises Unreadable for what Go cannot decode."""
    members = read_members(value, _RECORD, what)
    known = members.known
    integrity = read_members(known.pop("integrity"), _INTEGRITY, f"{what}: integrity")
    controls, unprotected = read_controls(known.pop("controls"))
    given = value.get("timestamp") if isinstance(value, dict) else None
    timestamp = None if given is None else read_moment(given, f"{what}: timestamp")
    for name in ("relationship", "relations"):
        known[name] = read_relationship(known[name], f"{what}: {name}")
    return Record(
        **{**known, **integrity.known, "timestamp": timestamp, "controls": controls},
        unprotected=(
            *members.unknown,
            *(f"integrity.{name}" for name in integrity.unknown),
            *unprotected,
        ),
    )
