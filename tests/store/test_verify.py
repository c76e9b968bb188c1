"""`verify` against an attacker who holds the disk and, where a test says so, the log's key."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from intentproof_schemas import ExecutionEvent
from intentproof_store import Ledger, LedgerSettings, Undecodable
from intentproof_store.columns import COLUMNS, SEGMENT_SCHEMA
from intentproof_store.frames import encode_frame, write_rows
from intentproof_store.hotlog import HotLog, NewFrame
from intentproof_store.identity import load_identity
from intentproof_store.layout import Layout, SegmentName, date_of, parse_segment_file
from intentproof_store.note import Checkpoint, SegmentNote, sign_note
from intentproof_store.rows import RowMaker
from intentproof_store.segments import file_sha256, write_segment
from intentproof_store.verify import Outcome, Report, VerifyRequest, verify_store

from tests.store.support import add_event
from tests.store.test_skipping import mistyped

NOW_NS = 1_795_262_400_000_000_000
EVENTS = 40


def event(number: int, **changes: Any) -> ExecutionEvent:
    made = ExecutionEvent(
        event_id=f"event-{number}",
        trace_id=f"{number % 7 + 1:032x}",
        span_id=f"{number + 1:016x}",
        parent_span_id=f"{number + 99:016x}",
        action="stripe.refund.create",
        status="error" if number % 5 == 0 else "ok",
        started_ns=NOW_NS - 5_000_000 + number,
        completed_ns=NOW_NS - 1_000_000,
        provenance="declared",
        mapping_rule="intentproof/1",
        intent='Return "captured" funds',
        correlation_id=f"order-{number}",
        attributes='{"intent":"x","service.name":"refunds"}',
        inputs=f'{{"amount":{number},"output":1}}',
        output=None if number % 5 == 0 else '{"id":"re_1"}',
        error='{"message":"declined","name":"CardError"}' if number % 5 == 0 else None,
        run_id="run-1",
        stage="pay",
        stream_id="s-1",
        sequence=number + 1,
        dropped_attributes_count=1,
        dropped_events_count=2,
        dropped_links_count=3,
    )
    return made._replace(**changes)


class Site:
    """A store with one sealed segment, its home, and what an attacker does to it."""

    def __init__(self, root: Path) -> None:
        self.settings = LedgerSettings(
            store=root / "proofs", home=root / "home", hot=root / "hot", seal_seconds=3600
        )
        self.layout = Layout(self.settings.store)

    def fill(self, first: int = 0, end: int = EVENTS, *, tenant: str = "acme") -> None:
        with Ledger.open(self.settings, clock_ns=lambda: NOW_NS) as ledger:
            bad = [Undecodable(b"\xff" * 9, "invalid_utf8")] if first == 0 else []
            ledger.append(tenant, [event(n) for n in range(first, end)], bad).result()
            if first == 0:
                ledger.append(tenant, [event(0, action="other")]).result()

    def verify(self, **changes: Any) -> Report:
        request = VerifyRequest(
            store=self.settings.store, hot=self.settings.hot, home=self.settings.home
        )
        return verify_store(replace(request, **changes))

    def segment(self) -> Path:
        return sorted(self.layout.tenant_events("acme").rglob("*.parquet"))[0]

    def identity(self) -> Any:
        return load_identity(self.settings.home, self.settings.log_name)

    def log(self) -> Path:
        writer: str = self.identity().writer
        return self.layout.log("acme", writer)

    def rewrite(self, table: pa.Table, *, rev: int | None = None) -> None:
        """Replace the segment's rows and sign its note again: the attacker has the key."""
        path = self.segment()
        name = parse_segment_file(path.name)
        assert name is not None
        name = replace(name, rev=name.rev if rev is None else rev)
        target = path.with_name(name.file())
        write_segment(table.cast(SEGMENT_SCHEMA).to_batches(), target)
        self.sign_segment(target, name)

    def sign_segment(self, path: Path, name: SegmentName) -> None:
        identity = self.identity()
        origin = identity.origin("acme")
        size, digest = path.stat().st_size, file_sha256(path)
        note = SegmentNote(origin, name.first, name.last, name.rev, size, digest)
        raw = sign_note(note.text(), name=origin, key=identity.signing_key)
        (self.log() / name.note()).write_bytes(raw)

    def table(self) -> pa.Table:
        return pq.read_table(self.segment(), partitioning=None).sort_by("log_index")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.fill()
    return made


def codes(report: Report) -> set[str]:
    return {problem.code for log in report.logs for problem in log.problems}


def test_an_untouched_store_is_verified(site: Site) -> None:
    """Nothing was touched: verified, under the operator's own key, every event counted."""
    report = site.verify()
    assert (report.outcome, report.anchor, codes(report)) == (Outcome.VERIFIED, "own-key", set())
    assert report.events_verified == EVENTS
    assert report.logs[0].size == report.logs[0].checkpoint_size == EVENTS + 3


def test_verify_writes_nothing(site: Site) -> None:
    """Not a byte and not a name changes under store and home."""

    def everything() -> dict[Path, bytes]:
        roots = (site.settings.store, site.settings.home)
        return {p: p.read_bytes() for root in roots for p in root.rglob("*") if p.is_file()}

    before = everything()
    site.verify()
    assert everything() == before


def test_a_flipped_byte_is_tampering_wherever_it_is(site: Site) -> None:
    """A byte of a segment, flipped at any of many places, is found."""
    path = site.segment()
    raw = path.read_bytes()
    for at in range(0, len(raw), max(1, len(raw) // 40)):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 0x20]) + raw[at + 1 :])
        assert site.verify().outcome is Outcome.TAMPERED, at
    path.write_bytes(raw)
    assert site.verify().outcome is Outcome.VERIFIED


def test_a_column_of_no_type_is_tampering_and_ends_no_process(site: Site) -> None:
    """Arrow aborts where it is asked for the statistics of such: neither judge nor reader does."""
    raw = site.segment().read_bytes()
    for altered_raw in mistyped(raw):
        site.segment().write_bytes(altered_raw)
        assert site.verify().outcome is Outcome.TAMPERED


@pytest.mark.parametrize("cut", [1, 8, 500])
def test_a_cut_segment_is_tampering(site: Site, cut: int) -> None:
    """A segment that lost its end is not what was signed."""
    raw = site.segment().read_bytes()
    site.segment().write_bytes(raw[:-cut])
    assert site.verify().outcome is Outcome.TAMPERED


def altered(column: pa.ChunkedArray, place: int) -> pa.Array:
    """The column with one other value at a place."""
    values = column.to_pylist()
    value = values[place]
    if value is None:
        values[place] = {"int64": 7, "double": 1.5, "binary": b"x" * 16}.get(str(column.type), "x")
        if pa.types.is_timestamp(column.type):
            values[place] = datetime(2026, 1, 1, tzinfo=UTC)
    elif isinstance(value, str):
        values[place] = value[:-1] + ("0" if value[-1] != "0" else "1")
    elif isinstance(value, bytes):
        values[place] = bytes([value[0] ^ 1]) + value[1:]
    elif isinstance(value, (int, float)):
        values[place] = value + 1
    else:
        values[place] = value.replace(year=value.year - 1)
    return pa.array(values, column.type)


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("place", [0, 5, 6])
def test_no_column_can_be_altered_even_with_the_log_key(site: Site, name: str, place: int) -> None:
    """A changed value in any column of any kind of row contradicts the leaf or a commitment."""
    table = site.table()
    at = table.schema.get_field_index(name)
    site.rewrite(table.set_column(at, name, altered(table.column(name), place)))
    report = site.verify()
    assert report.outcome in (Outcome.TAMPERED, Outcome.INCOMPLETE)
    assert codes(report) & {
        "column_differs",
        "commitment_differs",
        "leaf_invalid",
        "root_differs",
        "wrong_rows",
        "erased_without_leaf",
        "wrong_date",
    }


@pytest.mark.parametrize("name", COLUMNS)
def test_no_value_can_vanish_even_with_the_log_key(site: Site, name: str) -> None:
    """A value set to null in any column is found."""
    table = site.table()
    at = table.schema.get_field_index(name)
    values = table.column(name).to_pylist()
    place = next((n for n, value in enumerate(values) if value is not None and n > 3), None)
    if place is None:
        pytest.skip(f"no row of this store has a {name}")
    values[place] = None
    site.rewrite(table.set_column(at, name, pa.array(values, table.schema.field(name).type)))
    assert site.verify().outcome in (Outcome.TAMPERED, Outcome.INCOMPLETE)


@pytest.mark.parametrize(
    ("moved_from", "moved_to"), [("correlation_id", "attributes"), ("output", "inputs")]
)
def test_a_member_cannot_move_into_its_neighbour(
    site: Site, moved_from: str, moved_to: str
) -> None:
    """The committed text stays the same, but its members were cut elsewhere: found."""
    table = site.table()
    row = next(n for n, out in enumerate(table.column("output").to_pylist()) if out)
    member = {"correlation_id": "correlationId", "output": "output"}[moved_from]
    value = table.column(moved_from)[row].as_py()
    text = json.dumps(value) if moved_from == "correlation_id" else value
    for name, new in (
        (moved_to, f'{table.column(moved_to)[row].as_py()},"{member}":{text}'),
        (moved_from, None),
    ):
        values = table.column(name).to_pylist()
        values[row] = new
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, pa.array(values, pa.string()))
    site.rewrite(table)
    assert site.verify().outcome is Outcome.TAMPERED


def test_a_column_that_no_leaf_vouches_for_is_tampering(site: Site) -> None:
    """A column beyond the list, in a file of known leaves, tells what nothing proves."""
    path = site.segment()
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.append_column("approved", pa.array([True] * len(table))), path)
    name = parse_segment_file(path.name)
    assert name is not None
    site.sign_segment(path, name)
    assert "extra_columns" in codes(site.verify())


def test_a_removed_row_is_found_even_with_the_log_key(site: Site) -> None:
    """A segment without one of its rows has the wrong number of them."""
    table = site.table()
    site.rewrite(table.filter(pc.not_equal(table.column("log_index"), 5)))
    assert site.verify().outcome in (Outcome.TAMPERED, Outcome.INCOMPLETE)


def test_swapped_leaves_are_found_even_with_the_log_key(site: Site) -> None:
    """Two leaves that changed places make another root."""
    table = site.table()
    swapped = table.column("log_index").to_pylist()
    swapped[4], swapped[5] = swapped[5], swapped[4]
    site.rewrite(table.set_column(0, "log_index", pa.array(swapped, pa.int64())))
    assert "root_differs" in codes(site.verify())


def test_a_missing_segment_is_incomplete(site: Site) -> None:
    """Leaves under a checkpoint that nobody holds."""
    site.segment().unlink()
    report = site.verify()
    assert report.outcome is Outcome.INCOMPLETE
    assert "leaves_missing" in codes(report)


def test_a_missing_first_segment_is_incomplete(site: Site) -> None:
    """Nor do tiles that tell the hashes of the missing leaves make them there."""
    first = site.segment()
    site.fill(EVENTS, EVENTS + 5)
    first.unlink()
    report = site.verify()
    assert report.outcome is Outcome.INCOMPLETE
    assert codes(report) == {"leaves_missing"}


@pytest.mark.parametrize("more", [-1, 1])
def test_a_tile_of_another_width_than_its_name_is_tampering(site: Site, more: int) -> None:
    """A partial tile holds just as many hashes as its name says."""
    tile = max((site.log() / "tile" / "0").rglob("*.p/*"), key=lambda path: int(path.name))
    raw = tile.read_bytes()
    tile.write_bytes(raw[:-32] if more < 0 else raw + bytes(32))
    assert "tile_differs" in codes(site.verify())


def test_a_file_that_nobody_signed_is_incomplete(site: Site) -> None:
    """A file put among the segments is named, and its rows are not believed."""
    stranger = site.segment().with_name("extra.parquet")
    shutil.copy(site.segment(), stranger)
    report = site.verify()
    assert report.outcome is Outcome.INCOMPLETE
    assert "not_a_segment" in codes(report)


def test_a_segment_without_its_note_is_incomplete(site: Site) -> None:
    """Without the signed note nothing says that the file is ours."""
    next(site.log().glob("segment.*")).unlink()
    assert "unsigned_file" in codes(site.verify())


@pytest.mark.parametrize("folder", ["date=2020-01-01", "date=2026-11-22"])
def test_a_segment_under_another_date_is_tampering(site: Site, folder: str) -> None:
    """The date of a row comes from its path, and must be that of its receipt."""
    path = site.segment()
    target = path.parent.parent / folder / path.name
    target.parent.mkdir()
    path.rename(target)
    assert "wrong_date" in codes(site.verify())


def test_a_segment_under_another_tenant_is_found(site: Site) -> None:
    """One tenant's file shown as another's: nothing signed covers it there."""
    target = site.layout.tenant_events("evil") / site.segment().parent.name / site.segment().name
    target.parent.mkdir(parents=True)
    shutil.copy(site.segment(), target)
    assert site.verify().outcome is Outcome.INCOMPLETE
    assert site.verify(tenant="evil").outcome is Outcome.INCOMPLETE


def test_a_rolled_back_store_is_incomplete(site: Site, tmp_path: Path) -> None:
    """An older copy of the whole store, valid in itself, is behind what the home remembers."""
    older = tmp_path / "older"
    shutil.copytree(site.settings.store, older)
    site.fill(EVENTS, EVENTS + 5)
    assert site.verify().outcome is Outcome.VERIFIED
    shutil.rmtree(site.settings.store)
    older.rename(site.settings.store)
    assert site.verify().outcome is Outcome.INCOMPLETE


def test_a_deleted_log_is_incomplete(site: Site) -> None:
    """A log whose key is trusted, and of which nothing is left, is missed."""
    site.fill(100, 105, tenant="beta")
    shutil.rmtree(site.layout.tenant_events("beta"))
    shutil.rmtree(site.layout.tenant_log("beta"))
    assert "log_missing" in codes(site.verify())


def sign_checkpoint(site: Site, size: int, root: bytes) -> bytes:
    identity = site.identity()
    origin = identity.origin("acme")
    return sign_note(Checkpoint(origin, size, root).text(), name=origin, key=identity.signing_key)


def test_two_roots_for_one_size_are_a_fork(site: Site, tmp_path: Path) -> None:
    """A checkpoint that the auditor holds, signed by the log, says something else: fork."""
    held = tmp_path / "held"
    held.write_bytes(sign_checkpoint(site, EVENTS + 3, hashlib.sha256(b"other").digest()))
    assert site.verify(known=held).outcome is Outcome.FORK


def test_an_earlier_signed_root_that_does_not_fit_is_a_fork(site: Site, tmp_path: Path) -> None:
    """A signed root of fewer leaves, which the larger signed tree does not contain: fork."""
    held = tmp_path / "held"
    held.write_bytes(sign_checkpoint(site, 9, hashlib.sha256(b"other").digest()))
    assert site.verify(known=held).outcome is Outcome.FORK


def test_a_rewritten_history_with_the_key_is_a_fork_to_whoever_holds_a_checkpoint(
    site: Site, tmp_path: Path
) -> None:
    """The operator makes a new history under the same writer; the old checkpoint convicts it."""
    held = tmp_path / "held"
    shutil.copy(site.log() / "checkpoint", held)
    for path in (site.settings.store, site.settings.hot, site.settings.home / "last-checkpoint"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    site.fill(500, 540 + 3)
    assert site.verify().outcome is Outcome.VERIFIED  # nothing here can prove it ...
    assert site.verify(known=held).outcome in (Outcome.FORK, Outcome.TAMPERED)  # ... but that


def test_every_flipped_bit_of_a_checkpoint_is_found(site: Site) -> None:
    """No bit of a signed checkpoint can change unseen."""
    path = site.log() / f"checkpoint.{EVENTS + 3}"
    raw = path.read_bytes()
    for at in range(0, len(raw) * 8, 5):
        flipped = bytearray(raw)
        flipped[at // 8] ^= 1 << at % 8
        path.write_bytes(bytes(flipped))
        assert site.verify().outcome in (Outcome.TAMPERED, Outcome.FORK), at


def test_a_flipped_note_is_tampering(site: Site) -> None:
    """A segment note that does not hold is found, and its segment no longer counts."""
    path = next(site.log().glob("segment.*"))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(bytes(raw))
    assert site.verify().outcome is Outcome.TAMPERED


def test_a_flipped_tile_is_tampering(site: Site) -> None:
    """Tiles are what the leaves make."""
    path = sorted(p for p in (site.log() / "tile").rglob("*") if p.is_file())[-1]
    raw = bytearray(path.read_bytes())
    raw[40] ^= 1
    path.write_bytes(bytes(raw))
    assert "tile_differs" in codes(site.verify())


def test_quarantined_bytes_are_evidence_too(site: Site) -> None:
    """Altered quarantine is tampering, missing quarantine is incomplete."""
    path = next(site.layout.quarantine("acme").iterdir())
    raw = path.read_bytes()
    path.write_bytes(raw + b"x")
    assert "quarantine_differs" in codes(site.verify())
    path.unlink()
    report = site.verify()
    assert (report.outcome, codes(report)) == (Outcome.INCOMPLETE, {"quarantine_missing"})


def test_without_a_key_from_outside_nothing_is_verified(site: Site, tmp_path: Path) -> None:
    """A consistent store that nobody vouches for is unanchored; a vouched one is verified."""
    vkeys = tmp_path / "vkeys"
    vkeys.write_text(site.identity().verifier_key("acme").vkey() + "\n")
    assert site.verify(home=None).outcome is Outcome.UNANCHORED
    assert site.verify(home=None, keys=vkeys).outcome is Outcome.VERIFIED
    held = site.verify(home=None, known=site.log() / "checkpoint")
    assert (held.outcome, held.anchor) == (Outcome.VERIFIED, "known")


def test_a_held_checkpoint_vouches_for_no_leaf_above_it(site: Site, tmp_path: Path) -> None:
    """Anybody can append to a tree that they saw: what is above it does not count as verified."""
    held, before = tmp_path / "held", site.verify()
    shutil.copy(site.log() / "checkpoint", held)
    site.fill(600, 640)
    report = site.verify(home=None, known=held)
    assert (report.outcome, report.anchor) == (Outcome.VERIFIED, "known")
    assert report.events_verified == before.events_verified
    assert codes(report) == {"not_vouched"}
    assert report.logs[0].beyond == site.verify().logs[0].size - before.logs[0].checkpoint_size
    vkeys = tmp_path / "vkeys"
    vkeys.write_text(site.identity().verifier_key("acme").vkey() + "\n")
    judged = site.verify(home=None, known=held, keys=vkeys)
    assert judged.events_verified == before.events_verified + 40
    assert codes(judged) == set()


def test_the_key_of_another_log_vouches_for_nothing(site: Site, tmp_path: Path) -> None:
    """Trusting a key that is not this log's makes the log incomplete, never verified."""
    other = load_identity(tmp_path / "other", "intentproof.local")
    vkeys = tmp_path / "vkeys"
    vkeys.write_text(other.verifier_key("acme").vkey() + "\n")
    assert site.verify(home=None, keys=vkeys).outcome is Outcome.INCOMPLETE


def hot_frame(site: Site, rows: RowMaker, first: int, key: bytes) -> Path:
    """Append a frame to the hot files, with whatever key the attacker has."""
    identity = site.identity()
    folder = site.settings.hot / identity.writer
    folder.mkdir(parents=True, exist_ok=True)
    path: Path = folder / f"{9:020d}.frames"
    body = write_rows(rows.batch(first))
    path.write_bytes(encode_frame(9, "acme", body, key=key, writer=identity.writer))
    return path


def test_a_forged_hot_frame_is_tampering(site: Site) -> None:
    """A frame with a right checksum and another key is not ours."""
    rows = RowMaker("acme", site.identity().writer, NOW_NS)
    add_event(rows, event(900))
    hot_frame(site, rows, EVENTS + 3, b"x" * 32)
    assert "frame_forged" in codes(site.verify())


def test_what_the_receiver_lost_is_told(site: Site) -> None:
    """A leaf that tells of lost hot bytes is a remark: the log stands, and nobody overlooks it."""
    identity = site.identity()
    rows = RowMaker("acme", identity.writer, NOW_NS)
    rows.add_detail("gap", {"reason": "clock_step_back"})
    rows.add_detail("gap", {"reason": "hot_damaged", "lost": ["41-660"]})
    hot_frame(site, rows, EVENTS + 3, identity.hot_key)
    report = site.verify()
    assert report.outcome is Outcome.VERIFIED
    (told,) = [problem for log in report.logs for problem in log.problems]
    assert (told.code, told.log_index) == ("gap", EVENTS + 4)
    assert "41-660" in told.message


def test_a_frame_relabelled_as_another_tenants_is_tampering(site: Site) -> None:
    """A frame of this log with the name of a tenant that has none is missed nevertheless."""
    identity = site.identity()
    rows = RowMaker("acme", identity.writer, NOW_NS)
    add_event(rows, event(900))
    path = hot_frame(site, rows, EVENTS + 3, identity.hot_key)
    raw = path.read_bytes()
    head, body = raw[:54], raw[58:]
    mac, number = head[22:54], 9
    checksum = zlib.crc32(body, zlib.crc32(b"beta", zlib.crc32(mac, number)))
    path.write_bytes(head[:18] + checksum.to_bytes(4, "little") + mac + b"beta" + body)
    assert "frame_forged" in codes(site.verify())


def test_without_the_hot_key_hot_leaves_are_counted_not_judged(site: Site, tmp_path: Path) -> None:
    """An auditor without `hot.key` sees how many leaves are hot above every checkpoint."""
    rows = RowMaker("acme", site.identity().writer, NOW_NS)
    rows.add_detail("gap", {"reason": "clock_step_back"})
    hot_frame(site, rows, EVENTS + 3, b"x" * 32)
    vkeys = tmp_path / "vkeys"
    vkeys.write_text(site.identity().verifier_key("acme").vkey() + "\n")
    report = site.verify(home=None, keys=vkeys)
    assert (report.outcome, report.logs[0].hot) == (Outcome.VERIFIED, 1)


def append_leaf(site: Site, kind: str, detail: dict[str, Any], size: int) -> None:
    """Have the ledger take a leaf of a kind that it does not write yet."""
    identity = site.identity()
    rows = RowMaker("acme", identity.writer, NOW_NS)
    rows.add_detail(kind, detail)
    hot = HotLog(site.settings.hot, identity.writer, key=identity.hot_key, next_number=50)
    hot.append([NewFrame("acme", rows.batch(size), date_of(NOW_NS))])
    Ledger.open(site.settings, clock_ns=lambda: NOW_NS).close()


def erase(site: Site, index: int) -> None:
    table = site.table()
    for name in ("inputs", "output", "error", "payload_salt"):
        values = table.column(name).to_pylist()
        values[index] = None
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, pa.array(values, table.schema.field(name).type))
    site.rewrite(table, rev=1)


def test_an_erased_payload_needs_a_leaf_that_names_it(site: Site) -> None:
    """Erased without a leaf it is tampered, with a leaf that names the index verified."""
    erase(site, 6)
    assert "erased_without_leaf" in codes(site.verify())
    append_leaf(site, "erasure", {"log_indexes": [6], "members": "payload"}, EVENTS + 3)
    report = site.verify()
    assert (report.outcome, codes(report)) == (Outcome.VERIFIED, set())


def test_an_erasure_leaf_names_only_what_it_names(site: Site) -> None:
    """A leaf for another index or the other half does not excuse."""
    erase(site, 6)
    append_leaf(site, "erasure", {"log_indexes": [7], "members": "payload"}, EVENTS + 3)
    append_leaf(site, "erasure", {"log_indexes": [[0, 9]], "members": "context"}, EVENTS + 4)
    assert "erased_without_leaf" in codes(site.verify())


def test_a_kind_of_tomorrow_is_hashed_and_told(site: Site) -> None:
    """A leaf of an unknown kind counts, is named, and does not make the log bad."""
    append_leaf(site, "witness-note", {"by": "somebody"}, EVENTS + 3)
    report = site.verify()
    assert (report.outcome, codes(report)) == (Outcome.VERIFIED, {"unknown_kind"})
    assert report.logs[0].events_verified == EVENTS


def test_sealed_judges_only_what_is_sealed(site: Site) -> None:
    """Without the hot folder, `--sealed` judges up to the checkpoint within the segments."""
    shutil.rmtree(site.settings.hot)
    report = site.verify(sealed=True)
    assert (report.outcome, report.logs[0].beyond) == (Outcome.VERIFIED, 0)


def test_an_empty_store_and_an_unknown_tenant_are_incomplete(site: Site, tmp_path: Path) -> None:
    """Nothing is not the same as nothing wrong."""
    empty = verify_store(VerifyRequest(store=tmp_path / "none", hot=tmp_path / "none" / "hot"))
    assert (empty.outcome, codes(empty)) == (Outcome.INCOMPLETE, {"empty_store"})
    unknown = site.verify(tenant="nobody")
    assert (unknown.outcome, codes(unknown)) == (Outcome.INCOMPLETE, {"unknown_tenant"})


def test_strangers_beside_the_tenants_are_told(site: Site) -> None:
    """A file directly under `events/` belongs to nobody."""
    (site.layout.events / "note.txt").write_text("hello")
    assert "not_a_segment" in codes(site.verify())


def test_processes_give_the_same_answer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments checked in other processes make the same report."""
    site.fill(EVENTS, EVENTS + 5)
    alone = site.verify().document()
    monkeypatch.setattr("intentproof_store.verify.judge._PARALLEL_ROWS_MIN", 1)
    assert site.verify(processes=2).document() == alone


def test_the_command_prints_one_document_and_exits_as_promised(site: Site) -> None:
    """`verify --json` prints the report alone on stdout; exit 0, and 2 once a byte was flipped."""
    command = [str(Path(sys.executable).with_name("intentproof-otel")), "verify", "--json"]
    places = ["--store", str(site.settings.store), "--home", str(site.settings.home)]
    command += [*places, "--hot", str(site.settings.hot)]
    good = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (good.returncode, json.loads(good.stdout)["outcome"]) == (0, "verified")
    raw = bytearray(site.segment().read_bytes())
    raw[100] ^= 1
    site.segment().write_bytes(bytes(raw))
    bad = subprocess.run(command, capture_output=True, text=True, check=False)
    document = json.loads(bad.stdout)
    assert (bad.returncode, document["ok"], document["outcome"]) == (2, False, "tampered")
    assert document["logs"][0]["problems"][0]["file"] == site.segment().name


@pytest.mark.parametrize("kind", ["pipe", "folder", "loop"])
@pytest.mark.parametrize(
    "which", ["checkpoint", "checkpoint.1", "note", "tile", "segment", "quarantine"]
)
def test_what_is_no_file_is_a_finding(site: Site, which: str, kind: str) -> None:
    """A pipe, a folder or a link to itself in the place of a file is told, and stops nothing."""
    path = {
        "checkpoint": site.log() / "checkpoint",
        "checkpoint.1": site.log() / "checkpoint.1",
        "note": next(site.log().glob("segment.*")),
        "tile": sorted(p for p in (site.log() / "tile").rglob("*") if p.is_file())[-1],
        "segment": site.segment(),
        "quarantine": next(site.layout.quarantine("acme").iterdir()),
    }[which]
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path)
    assert site.verify().outcome in (Outcome.TAMPERED, Outcome.INCOMPLETE)


def test_a_pipe_among_the_hot_files_is_a_finding(site: Site) -> None:
    """Hot files that cannot be read are told, and stop nothing."""
    folder = site.settings.hot / site.identity().writer
    folder.mkdir(exist_ok=True)
    os.mkfifo(folder / f"{7:020d}.frames")
    assert "frame_damaged" in codes(site.verify())
