"""`intentproof-otel retain`: what is old goes, and what was proved of it stays proved."""

import argparse
import time
from typing import Any

import orjson
import pyarrow as pa

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
from .identity import trusted_keys
from .layout import DAY_NS, Layout, check_tenant, date_of, quarantine_file
from .ordering import make_request, own_writer
from .period import day_start
from .ranges import Ranges
from .reader import Reader
from .requests import LEAVES, RETENTION, Request
from .revision import ALL, PAYLOAD
from .segments import find_segments

_PAYLOADS, _SEGMENTS = "payloads", "segments"
_INDEXES_A_REQUEST = 500_000  # what one request holds in memory while it is done


def register(subparsers: Any) -> None:
    """Add `retain` to the command line."""
    parser = subparsers.add_parser("retain", help="drop what is old; what was proved stays proved")
    parser.add_argument("--tenant", required=True, help="whose events")
    parser.add_argument(
        "--before", required=True, metavar="DATE", help="what was received before this day (UTC)"
    )
    parser.add_argument(
        "--drop",
        required=True,
        choices=(_PAYLOADS, _SEGMENTS),
        help="inputs, output and error; or the events altogether, of which hashes stay",
    )
    add_asking(parser)
    parser.set_defaults(run=answering(run_retain))


def run_retain(args: argparse.Namespace) -> int:
    """Drop what is old; the exit code of contract §7."""
    tenant, writer = check_tenant(args.tenant), own_writer(args.home)
    asked = Asked.of(args)
    before_ns = day_start(args.before)
    if before_ns > time.time_ns() // DAY_NS * DAY_NS:
        raise RequestInvalid(f"--before {args.before} has not begun: today is the latest")
    whole = args.drop == _SEGMENTS
    with reader_of(args) as reader:
        if whole:
            ranges = _old_segments(args, writer, before_ns)
        else:
            ranges = reader.steadily(lambda: _old_payloads(reader, args, writer, before_ns))
        reader.steadily(lambda: check_free(reader, tenant, writer, ranges, drops_leaves=whole))
    others = [each for each in Layout(args.store).writers(tenant) if each != writer]
    if others:
        say(f"not touched, each its own home's to retain: the logs of {', '.join(others)}")
    if not ranges:
        say(f"nothing of {tenant} that this home writes is from before {args.before}")
        return OK
    tell_set_aside(args, writer)
    if args.dry_run:
        return OK
    if not confirmed(asked, "Drop this for ever? The log will say that it was dropped."):
        return PARTLY
    parts = [ranges] if whole else list(ranges.parts(_INDEXES_A_REQUEST))
    requests = [_request(args, writer, part, before_ns, asked.reason) for part in parts]
    return carry_out(args, requests, "dropped")


def _old_payloads(reader: Reader, args: argparse.Namespace, writer: str, before_ns: int) -> Ranges:
    """The leaves from the first to the last that has something to lose, of those that are old."""
    old = "tenant = ? AND writer = ? AND received_ns < ?"
    values = [args.tenant, writer, before_ns]
    rows = reader.rows(
        f"SELECT log_index, detail FROM leaves WHERE kind = 'quarantine' AND {old}",  # noqa: S608 - our own texts
        values,
    )
    folder = Layout(args.store).quarantine(args.tenant)
    files = {row["log_index"]: orjson.loads(row["detail"])["sha256"] for row in rows}
    kept = [at for at, name in files.items() if (folder / quarantine_file(name)).is_file()]
    (found,) = reader.rows(
        "SELECT count(*) AS events, min(log_index) AS low, max(log_index) AS high FROM leaves "  # noqa: S608 - our own texts
        f"WHERE {old} AND kind IN ('event', 'conflict') AND payload_salt IS NOT NULL",
        values,
    )
    ends = [*kept, *(end for end in (found["low"], found["high"]) if end is not None)]
    if not ends:
        return Ranges()
    say(
        f"{many(found['events'], 'event')} of {args.tenant} and {len(kept)} in quarantine,"
        f" received before {args.before}: their inputs, output and error go"
    )
    with reader.cursor() as cursor:
        table: pa.Table = cursor.sql(
            f"SELECT log_index FROM leaves WHERE {old} AND log_index BETWEEN ? AND ? "  # noqa: S608
            "ORDER BY log_index",
            params=[*values, min(ends), max(ends)],
        ).to_arrow_table()
    return Ranges.of_sorted(table.column(0).combine_chunks().to_numpy())


def _old_segments(args: argparse.Namespace, writer: str, before_ns: int) -> Ranges:
    """The segments from the log's beginning on that are old: what stays has nothing missing."""
    day = date_of(before_ns)
    segments, _ = find_segments(Layout(args.store), args.tenant, keys=trusted_keys(args.home))
    dropped = []
    for segment in sorted(
        (each for each in segments if each.name.writer == writer), key=lambda each: each.name.first
    ):
        if segment.day >= day:
            break
        dropped.append(segment)
    if not dropped:
        return Ranges()
    leaves = sum(segment.name.rows for segment in dropped)
    say(
        f"{many(len(dropped), 'segment')} of {args.tenant} with {leaves} leaves received before "
        f"{args.before}: all of them go, and their hashes stay"
    )
    return Ranges.of((each.name.first, each.name.last) for each in dropped)


def _request(
    args: argparse.Namespace, writer: str, ranges: Ranges, before_ns: int, reason: str
) -> Request:
    whole = args.drop == _SEGMENTS
    detail = {
        "members": ALL if whole else PAYLOAD,
        "before_ns": str(before_ns),
        "reason": reason,
        "requested_ns": str(time.time_ns()),
    }
    if whole:
        detail["dropped"] = LEAVES
    return make_request(
        Layout(args.store), args.tenant, writer, kind=RETENTION, detail=detail, ranges=ranges
    )
