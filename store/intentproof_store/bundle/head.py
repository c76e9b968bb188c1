"""`bundle.json`: what was asked for, of whom, and what is held back. Pure."""

from dataclasses import dataclass

import orjson
from intentproof_schemas import TENANT, CanonicalError, canonical

from ..errors import BundleInvalid

VERSION = "intentproof.bundle.v1"
FILE = "bundle.json"
EVENTS_MAX = 100_000
ASKED_BY = ("trace_id", "correlation_id", "period")
_MEMBERS = {"asked", "disputed", "events", "tenant", "v", "without"}
_PAYLOAD = "payload"


@dataclass(frozen=True)
class Head:
    """What the exporter says of the whole. No proof covers it; it decides what must be proved.

    `disputed` are places of events, from 0, that another telling in the exporter's store
    contradicts.
    """

    tenant: str
    asked_by: str
    asked: str
    without_payload: bool
    disputed: tuple[int, ...]
    events: int

    def encode(self) -> bytes:
        """The file's bytes."""
        return canonical(
            {
                "asked": {self.asked_by: self.asked},
                "disputed": [place + 1 for place in self.disputed],
                "events": self.events,
                "tenant": self.tenant,
                "v": VERSION,
                "without": [_PAYLOAD] if self.without_payload else [],
            }
        )


def decode_head(raw: bytes) -> Head:
    """Read the file, strictly: one way to write each. Raises BundleInvalid."""
    try:
        head = orjson.loads(raw)
    except ValueError as error:
        raise _invalid("not JSON") from error
    if not isinstance(head, dict) or head.keys() != _MEMBERS or head["v"] != VERSION:
        raise _invalid(f"not the members of {VERSION}")
    tenant, asked, events = head["tenant"], head["asked"], head["events"]
    if not isinstance(tenant, str) or not TENANT.fullmatch(tenant):
        raise _invalid("the tenant is none")
    if not isinstance(asked, dict) or len(asked) != 1 or not asked.keys() <= set(ASKED_BY):
        raise _invalid("what was asked for is not one trace, correlation id or period")
    ((asked_by, value),) = asked.items()
    if type(events) is not int or not 0 < events <= EVENTS_MAX:
        raise _invalid(f"not 1 to {EVENTS_MAX} events")
    numbers = head["disputed"]
    if not isinstance(numbers, list) or not all(type(each) is int for each in numbers):
        raise _invalid("`disputed` is not a list of numbers")
    read = Head(
        tenant=tenant,
        asked_by=asked_by,
        asked=value if isinstance(value, str) else "",
        without_payload=head["without"] == [_PAYLOAD],
        disputed=tuple(each - 1 for each in numbers),
        events=events,
    )
    if list(read.disputed) != sorted({*read.disputed} & {*range(events)}):
        raise _invalid("`disputed` names what is not there, or twice")
    try:
        if read.encode() != raw:
            raise _invalid("not the one way to write it")
    except CanonicalError as error:
        raise _invalid("not the one way to write it") from error
    return read


def _invalid(message: str) -> BundleInvalid:
    return BundleInvalid("bundle_invalid", f"{FILE}: {message}", FILE)
