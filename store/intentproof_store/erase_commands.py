"""`intentproof-otel erase`: personal data goes, and the log says so and still verifies."""

import argparse
import re
import time
from pathlib import Path
from typing import Any

from .asking import (
    OK,
    PARTLY,
    Asked,
    add_asking,
    answering,
    carry_out,
    confirmed,
    many,
    reader_of,
    say,
    tell_set_aside,
)
from .errors import RequestInvalid
from .examination import check_free
from .layout import Layout, quarantine_file
from .ordering import make_request, own_writer
from .ranges import Ranges
from .reader import Reader
from .requests import ERASURE, Request
from .revision import ALL, PAYLOAD
from .selection import (
    Found,
    Selection,
    ids_of_attribute,
    ids_of_correlation,
    ids_of_event,
    quarantined_with,
    select_events,
    select_quarantined,
)

_HASH = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_INDEXES_A_REQUEST = 500_000  # what one request holds in memory while it is done


def register(subparsers: Any) -> None:
    """Add `erase` to the command line."""
    parser = subparsers.add_parser("erase", help="remove personal data; the log still verifies")
    parser.add_argument("--tenant", required=True, help="whose events")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--event", metavar="ID", help="one event, by its id")
    what.add_argument("--correlation", metavar="ID", help="every event of a correlation id")
    what.add_argument("--attribute", metavar="KEY=VALUE", help="every event with this attribute")
    what.add_argument("--quarantine", metavar="HASH", help="one file of the quarantine")
    parser.add_argument(
        "--all",
        action="store_true",
        help="intent, correlation id and attributes too, not the payload alone",
    )
    add_asking(parser)
    parser.set_defaults(run=answering(run_erase))


def run_erase(args: argparse.Namespace) -> int:
    """Erase what is named; the exit code of contract §7."""
    writer = own_writer(args.home)
    asked = Asked.of(args)
    with reader_of(args) as reader:
        found, aside = reader.steadily(lambda: _found(reader, args))
        mine = found.pop(writer, Found())
        reader.steadily(lambda: check_free(reader, args.tenant, writer, mine.ranges))
    _tell(args, mine, found)
    if mine.indexes:
        tell_set_aside(args, writer)
    left = _tell_aside(aside) | any(log.indexes for log in found.values())
    if args.dry_run or not mine.indexes:
        return PARTLY if left else OK
    if not confirmed(asked, "Erase this for ever? The log will say that it was erased."):
        return PARTLY
    requests = [
        _request(args, writer, part, asked.reason) for part in mine.ranges.parts(_INDEXES_A_REQUEST)
    ]
    code = carry_out(args, requests, "erased")
    return code or (PARTLY if left else OK)


def _found(reader: Reader, args: argparse.Namespace) -> tuple[Selection, list[str] | None]:
    """What is to go, and the quarantined files that may hold the same."""
    tenant = args.tenant
    if args.quarantine is not None:
        return _quarantined(reader, args.store, tenant, args.quarantine), []
    if args.event is not None:
        ids = ids_of_event(reader, tenant, args.event)
    elif args.correlation is not None:
        ids = ids_of_correlation(reader, tenant, args.correlation)
    else:
        key, equals, value = args.attribute.partition("=")
        if not key or not equals:
            raise RequestInvalid("--attribute takes KEY=VALUE, and a key is not empty")
        ids = ids_of_attribute(reader, tenant, key, value)
    if not ids:
        return {}, []
    aside = quarantined_with(reader, Layout(args.store), tenant, ids)
    return select_events(reader, tenant, ids, context=args.all), aside


def _tell_aside(aside: list[str] | None) -> bool:
    """Say what of the quarantine may be meant; whether anything is."""
    if aside is None:
        say("the quarantine was not searched for so many events: see `quarantine list`")
        return False
    for name in aside:
        say(
            f"the quarantined {name} has the span id of one of them, and stays: see `quarantine "
            f"show`, and `erase --quarantine {name}`"
        )
    return bool(aside)


def _quarantined(reader: Reader, store: Path, tenant: str, given: str) -> Selection:
    match = _HASH.fullmatch(given.strip().lower())
    if not match:
        raise RequestInvalid("--quarantine takes 64 hex digits, as `quarantine list` shows them")
    if not (Layout(store).quarantine(tenant) / quarantine_file(match[1])).exists():
        return {}
    return select_quarantined(reader, tenant, [match[1]])


def _tell(args: argparse.Namespace, mine: Found, others: Selection) -> None:
    half = "their payload and context" if args.all else "their payload"
    if mine.quarantined:
        say(f"{mine.quarantined} quarantined: its bytes go")
    elif mine.indexes:
        say(
            f"{many(mine.events, 'event')} and {many(mine.conflicts, 'conflict')} of "
            f"{args.tenant} lose {half}; ids, action, status and times stay"
        )
    else:
        say("nothing that is not erased matches in the logs that this home writes")
    if mine.erased:
        say(f"{mine.erased} more were erased before")
    for writer, log in sorted(others.items()):
        if log.indexes:
            say(
                f"{len(log.indexes)} stand in the log of {writer}, which only its own home can "
                "write: run this there too"
            )


def _request(args: argparse.Namespace, writer: str, ranges: Ranges, reason: str) -> Request:
    detail = {
        "members": ALL if args.all or args.quarantine else PAYLOAD,
        "reason": reason,
        "requested_ns": str(time.time_ns()),
    }
    return make_request(
        Layout(args.store), args.tenant, writer, kind=ERASURE, detail=detail, ranges=ranges
    )
