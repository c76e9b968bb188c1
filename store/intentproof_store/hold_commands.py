"""`intentproof-otel hold`: a legal hold is placed, released and listed, and stands in the log."""

import argparse
import secrets
import sys
from typing import Any

import orjson

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
)
from .errors import RequestInvalid
from .holds import PLACED, RELEASED, Hold, standing_holds
from .layout import Layout, check_tenant
from .ordering import make_request, own_writer
from .period import read_period
from .present import cell, lines, shown
from .ranges import Ranges
from .reader import Reader
from .requests import HOLD, Request
from .selection import Found, Selection, ids_of_correlation, ids_of_event, select_events

_LIST, _RELEASE = "list", "release"


def register(subparsers: Any) -> None:
    """Add `hold` to the command line."""
    parser = subparsers.add_parser("hold", help="keep from erasure what a dispute may need")
    parser.add_argument("action", nargs="?", choices=(_LIST, _RELEASE), help="default: place one")
    parser.add_argument("hold_id", nargs="?", metavar="HOLD_ID", help="which to release")
    parser.add_argument("--tenant", required=True, help="whose events")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--event", metavar="ID", help="one event, by its id")
    what.add_argument("--correlation", metavar="ID", help="the events that have it now")
    what.add_argument(
        "--period",
        metavar="A..B",
        help="what is received from A on until before B: dates or instants, UTC",
    )
    what.add_argument("--all", action="store_true", help="everything, also what is still to come")
    parser.add_argument("--json", action="store_true", help="of `hold list`: one JSON document")
    add_asking(parser)
    parser.set_defaults(run=answering(_run))


def _run(args: argparse.Namespace) -> int:
    check_tenant(args.tenant)
    named = args.event or args.correlation or args.period or args.all
    if args.action == _LIST:
        if args.hold_id or named or args.reason or args.dry_run:
            raise RequestInvalid(
                "`hold list` shows every hold that stands: give no more but --json"
            )
        return run_list(args)
    if args.action == _RELEASE:
        if not args.hold_id or named:
            raise RequestInvalid("`hold release` takes one HOLD_ID, as `hold list` shows it")
        return run_release(args)
    if not named:
        raise RequestInvalid("what is to be held? --event, --correlation, --period or --all")
    return run_place(args)


def run_list(args: argparse.Namespace) -> int:
    """Show the holds that stand."""
    with reader_of(args) as reader:
        holds = standing_holds(reader, args.tenant)
    if args.json:
        found = [_members(hold) for hold in holds]
        sys.stdout.write(orjson.dumps({"tenant": args.tenant, "holds": found}).decode() + "\n")
    elif not holds:
        say(f"nothing of {args.tenant} is held")
    else:
        rows = [("HOLD", "COVERS", "REASON")]
        rows += [(cell(hold.hold_id), cell(hold.words()), cell(hold.reason)) for hold in holds]
        sys.stdout.write("".join(f"{shown(line)}\n" for line in lines(rows)))
    return OK


def _members(hold: Hold) -> dict[str, Any]:
    return {
        "hold_id": hold.hold_id,
        "writer": hold.writer,
        "placed_ns": str(hold.placed_ns),
        "reason": hold.reason,
        "log_indexes": None if hold.ranges is None else hold.ranges.listed(),
        "from_ns": None if hold.from_ns is None else str(hold.from_ns),
        "to_ns": None if hold.to_ns is None else str(hold.to_ns),
    }


def run_place(args: argparse.Namespace) -> int:
    """Place a hold; its id goes to stdout."""
    writer = own_writer(args.home)
    asked = Asked.of(args)
    detail: dict[str, Any] = {"hold_id": f"hold-{secrets.token_hex(4)}", "state": PLACED}
    ranges, others = Ranges(), False
    if args.event or args.correlation:
        with reader_of(args) as reader:
            found = reader.steadily(lambda: _found(reader, args))
        mine = found.pop(writer, Found())
        ranges, others = mine.ranges, _tell(mine, found)
        if not ranges:
            return PARTLY if others else OK
    elif args.period:
        period = read_period(args.period)
        detail |= {"from_ns": str(period.first_ns), "to_ns": str(period.end_ns)}
        say(f"what {args.tenant} sent, received in {args.period}, and all that comes in it")
    else:
        say(f"everything of {args.tenant}, also what is still to come")
    if args.dry_run:
        return OK
    if not confirmed(asked, "Hold this? Nothing of it can be erased until it is released."):
        return PARTLY
    code = carry_out(args, [_request(args, writer, detail, ranges, asked.reason)], "held")
    if code == OK:
        sys.stdout.write(f"{detail['hold_id']}\n")
    return code or (PARTLY if others else OK)


def _found(reader: Reader, args: argparse.Namespace) -> Selection:
    if args.event:
        ids = ids_of_event(reader, args.tenant, args.event)
    else:
        ids = ids_of_correlation(reader, args.tenant, args.correlation)
    return select_events(reader, args.tenant, ids, context=True, erased=True) if ids else {}


def _tell(mine: Found, others: Selection) -> bool:
    say(f"{many(mine.events, 'event')} and {many(mine.conflicts, 'conflict')} match")
    for writer, log in sorted(others.items()):
        say(f"{len(log.indexes)} stand in the log of {writer}: hold them with its own home too")
    return bool(others)


def run_release(args: argparse.Namespace) -> int:
    """Release a hold."""
    writer = own_writer(args.home)
    asked = Asked.of(args)
    with reader_of(args) as reader:
        holds = standing_holds(reader, args.tenant)
    mine = [hold for hold in holds if hold.hold_id == args.hold_id]
    if not mine:
        raise RequestInvalid(f"no hold of {args.tenant} that stands is called {args.hold_id!r}")
    for hold in mine:
        say(f"the hold {hold.hold_id} ({hold.reason}) covers {hold.words()}")
    if args.dry_run:
        return OK
    if not confirmed(asked, "Release it? What it covers can be erased then."):
        return PARTLY
    detail = {"hold_id": args.hold_id, "state": RELEASED}
    return carry_out(args, [_request(args, writer, detail, Ranges(), asked.reason)], "released")


def _request(
    args: argparse.Namespace, writer: str, detail: dict[str, Any], ranges: Ranges, reason: str
) -> Request:
    return make_request(
        Layout(args.store),
        args.tenant,
        writer,
        kind=HOLD,
        detail={**detail, "reason": reason},
        ranges=ranges,
    )
