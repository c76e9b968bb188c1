"""What the tests of the reading side share: events, sites with real ledgers, and erasing."""

import argparse
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from intentproof_schemas import ExecutionEvent
from intentproof_store import Ledger, LedgerSettings, Undecodable
from intentproof_store.columns import SEGMENT_SCHEMA
from intentproof_store.commands import register
from intentproof_store.identity import load_identity
from intentproof_store.layout import Layout, SegmentName, parse_segment_file
from intentproof_store.note import SegmentNote, sign_note
from intentproof_store.reader import Reader
from intentproof_store.segments import write_segment

START_NS = 1_795_262_400_000_000_000  # 2026-11-21T12:00:00Z
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OTHER_TRACE = "0af7651916cd43dd8448eb211c80319c"


def event(number: int, **changes: Any) -> ExecutionEvent:
    """The event of that number; ten in a row share a trace."""
    made = ExecutionEvent(
        event_id=f"event-{number}",
        trace_id=f"{number // 10 + 1:032x}",
        span_id=f"{number + 1:016x}",
        parent_span_id="",
        action="stripe.refund.create",
        status="ok",
        started_ns=START_NS + number * 1_000_000,
        completed_ns=START_NS + number * 1_000_000 + 1_500_000,
        provenance="declared",
        mapping_rule="intentproof/1",
        intent="Return captured funds",
        correlation_id=f"order-{number // 5}",
        attributes='{"http.response.status_code":200,"service.name":"refunds"}',
        inputs=f'{{"amount":{number}}}',
        output='{"id":"re_1"}',
        error=None,
    )
    return made._replace(**changes)


class Clock:
    """Time that goes only when it is told to."""

    def __init__(self, now_ns: int = START_NS) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        self.now_ns += 1_000
        return self.now_ns


@dataclass(frozen=True)
class Site:
    """One receiver's home beside a store that others may share."""

    root: Path
    home_name: str = "home"

    @property
    def store(self) -> Path:
        return self.root / "proofs"

    @property
    def hot(self) -> Path:
        return self.root / f"hot-{self.home_name}"

    @property
    def home(self) -> Path:
        return self.root / self.home_name

    @property
    def events(self) -> Path:
        return self.store / "events"

    @contextmanager
    def ledger(self, clock: Callable[[], int] | None = None, **knobs: Any) -> Iterator[Ledger]:
        settings = LedgerSettings(store=self.store, home=self.home, hot=self.hot, **knobs)
        with Ledger.open(settings, clock_ns=clock or Clock()) as ledger:
            yield ledger

    def keep(
        self,
        events: Sequence[ExecutionEvent],
        undecodable: Sequence[Undecodable] = (),
        *,
        tenant: str = "acme",
        clock: Callable[[], int] | None = None,
    ) -> None:
        """Append, and seal by closing."""
        with self.ledger(clock) as ledger:
            append(ledger, events, undecodable, tenant=tenant)

    def reader(self, tenant: str | None = "acme") -> Reader:
        return Reader(self.store, hot=self.hot, home=self.home, tenant=tenant)

    def segments(self, tenant: str = "acme") -> list[Path]:
        return sorted((self.events / f"tenant={tenant}").rglob("*.parquet"))

    def trust(self, other: "Site") -> None:
        """Add another writer's keys to what this home trusts."""
        with (self.home / "trusted.vkeys").open("a") as file:
            file.write((other.home / "trusted.vkeys").read_text())

    def publish(self, rows: pa.Table, name: SegmentName, day: str, tenant: str = "acme") -> Path:
        """Put a segment of rows and its signed note in place."""
        identity = load_identity(self.home, "intentproof.local")
        layout = Layout(self.store)
        path = layout.segment(tenant, day, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        size_bytes, sha256 = write_segment(rows.to_batches(), path)
        origin = identity.origin(tenant)
        note = SegmentNote(origin, name.first, name.last, name.rev, size_bytes, sha256)
        raw = sign_note(note.text(), name=origin, key=identity.signing_key)
        (layout.log(tenant, name.writer) / name.note()).write_bytes(raw)
        return path

    def erase(self, path: Path, columns: Sequence[str], tenant: str = "acme") -> Path:
        """Publish the next revision of a segment, with columns of its events nulled."""
        name = parse_segment_file(path.name)
        assert name is not None
        rows = pq.read_table(path, partitioning=None).sort_by("log_index")
        for column in columns:
            at = SEGMENT_SCHEMA.get_field_index(column)
            nothing = pa.nulls(len(rows), SEGMENT_SCHEMA.field(at).type)
            rows = rows.set_column(at, SEGMENT_SCHEMA.field(at), nothing)
        later = SegmentName(name.writer, name.first, name.last, name.rev + 1)
        return self.publish(rows, later, path.parent.name.removeprefix("date="), tenant)


CONTEXT = ("intent", "correlation_id", "attributes", "service_name", "context_salt")
PAYLOAD = ("inputs", "output", "error", "payload_salt")


def append(
    ledger: Ledger,
    events: Sequence[ExecutionEvent],
    undecodable: Sequence[Undecodable] = (),
    *,
    tenant: str = "acme",
) -> None:
    """Append and wait until it is durable."""
    ledger.append(tenant, list(events), list(undecodable)).result(timeout=30)


def copy_hot(site: Site) -> Path:
    """A copy of the hot folder as it is."""
    aside = site.root / "hot-aside"
    shutil.copytree(site.hot, aside)
    return aside


def ids(reader: Reader, view: str = "events") -> list[str]:
    """Event ids that a view shows, sorted."""
    found = reader.rows(f"SELECT event_id FROM {view} WHERE event_id IS NOT NULL ORDER BY 1")
    return [row["event_id"] for row in found]


def count(reader: Reader, view: str = "events") -> int:
    """How many rows a view shows."""
    return int(reader.rows(f"SELECT count(*) AS n FROM {view}")[0]["n"])


Run = Callable[..., tuple[int, str, str]]
"""Runs a command line; its exit code, stdout and stderr."""


def commander(site: Site, capsys: pytest.CaptureFixture[str]) -> Run:
    """The commands that read, over a site."""

    def command(*argv: str) -> tuple[int, str, str]:
        parser = argparse.ArgumentParser()
        register(parser.add_subparsers(required=True))
        places = argparse.Namespace(store=site.store, home=site.home, hot=site.hot)
        args = parser.parse_args(argv, places)
        capsys.readouterr()
        code = args.run(args)
        out, err = capsys.readouterr()
        return code, out, err

    return command
