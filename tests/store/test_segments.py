"""Segments: how one is written, and which files among them count."""

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from intentproof_store import Layout
from intentproof_store import rowgroups as rowgroups_module
from intentproof_store import segments as segments_module
from intentproof_store.columns import COLUMNS, SEGMENT_SCHEMA
from intentproof_store.durable import make_folder
from intentproof_store.layout import SegmentName
from intentproof_store.note import SegmentNote, VerifierKey, sign_note
from intentproof_store.rows import RowMaker
from intentproof_store.segments import Segment, file_sha256, find_segments, write_segment

from tests.store.support import NOON_NS, TENANT, WRITER, add_event, event

DAY = "2026-11-21"
ORIGIN = f"intentproof.local/{TENANT}/{WRITER}"
SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TRUSTED = VerifierKey(ORIGIN, SIGNING_KEY.public_key().public_bytes_raw())


def batch(first: int, end: int, **changes: str) -> pa.RecordBatch:
    maker = RowMaker(TENANT, WRITER, NOON_NS)
    for number in range(first, end):
        # Trace ids that run against the log's order.
        one = event(number, trace_id=f"{(end - number) // 2 + 1:032x}", **changes)
        add_event(maker, one)
    return maker.batch(first)


def publish(
    layout: Layout,
    first: int,
    last: int,
    rev: int = 0,
    *,
    rows: pa.RecordBatch | None = None,
    day: str = DAY,
    key: Ed25519PrivateKey | None = SIGNING_KEY,
    extra_bytes: int = 0,
) -> Path:
    """A segment in place with its note; a note that says `extra_bytes` more than there are."""
    name = SegmentName(WRITER, first, last, rev)
    path = layout.segment(TENANT, day, name)
    make_folder(path.parent)
    size, digest = write_segment([batch(first, last + 1) if rows is None else rows], path)
    if key is not None:
        note = SegmentNote(ORIGIN, first, last, rev, size + extra_bytes, digest)
        make_folder(layout.log(TENANT, WRITER))
        signed = sign_note(note.text(), name=ORIGIN, key=key)
        (layout.log(TENANT, WRITER) / name.note()).write_bytes(signed)
    return path


def found(layout: Layout) -> tuple[list[tuple[int, int, int]], list[tuple[str, str]]]:
    """What counts, as (first, last, rev), and what is left out, as (code, file name)."""
    kept, problems = find_segments(layout, TENANT, keys=[TRUSTED])
    return (
        [(each.name.first, each.name.last, each.name.rev) for each in kept],
        [(each.code, each.path.name) for each in problems],
    )


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_a_segments_rows_are_sorted_by_trace_then_log_index(tmp_path: Path) -> None:
    """Rows come back complete, in the order of trace id and then log index."""
    rows = batch(0, 50)
    write_segment([rows.slice(0, 20), rows.slice(20)], tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.schema.equals(SEGMENT_SCHEMA)
    keys = list(zip(table["trace_id"].to_pylist(), table["log_index"].to_pylist(), strict=True))
    assert keys == sorted(keys)
    expected = pa.Table.from_batches([rows]).sort_by("log_index")
    assert table.sort_by("log_index").equals(expected)


def test_leaves_without_a_trace_stand_in_log_order(tmp_path: Path) -> None:
    """Rows without a trace id are in a segment too, in the log's order among themselves."""
    maker = RowMaker(TENANT, WRITER, NOON_NS)
    for number in range(3):
        one = event(number)
        maker.add_detail("gap", {"reason": "x", "message": str(number)})
        add_event(maker, one)
    write_segment([maker.batch(0)], tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    gaps = [
        i
        for i, k in zip(table["log_index"].to_pylist(), table["kind"].to_pylist(), strict=True)
        if k == "gap"
    ]
    assert gaps == [0, 2, 4]


def test_a_segment_is_compressed_columnar_and_filtered(tmp_path: Path) -> None:
    """The file says so itself: columns in order, zstd, row groups of 20,000, bloom filters."""
    path = tmp_path / "x.parquet"
    size, digest = write_segment([batch(0, 500)] * 90, path)
    assert (size, digest) == (path.stat().st_size, file_sha256(path))
    metadata = pq.read_metadata(path)
    assert tuple(metadata.schema.to_arrow_schema().names) == COLUMNS
    groups = [metadata.row_group(at) for at in range(metadata.num_row_groups)]
    assert [group.num_rows for group in groups] == [20_000, 20_000, 5_000]
    compressions = {g.column(c).compression for g in groups for c in range(len(COLUMNS))}
    assert compressions == {"ZSTD"}
    assert all(group.column(0).statistics.has_min_max for group in groups)
    filtered = duckdb.execute(
        "SELECT path_in_schema, count(*) FROM parquet_metadata(?) "
        "WHERE bloom_filter_offset IS NOT NULL GROUP BY ALL",
        [str(path)],
    ).fetchall()
    assert sorted(filtered) == [("correlation_id", 3), ("event_id", 3), ("trace_id", 3)]


def test_large_rows_make_smaller_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row group holds no more values than its limit in bytes, however few rows that is."""
    monkeypatch.setattr(rowgroups_module, "ROW_GROUP_BYTES", 64 << 10)
    rows = batch(0, 100, inputs='{"text":"' + "x" * 4_000 + '"}')
    write_segment([rows], tmp_path / "x.parquet")
    metadata = pq.read_metadata(tmp_path / "x.parquet")
    assert metadata.num_row_groups > 6
    assert all(metadata.row_group(i).num_rows <= 16 for i in range(metadata.num_row_groups))


def test_segments_that_follow_each_other_count(layout: Layout) -> None:
    """Signed files of consecutive leaves count, in the log's order, whatever their dates."""
    publish(layout, 10, 14, day="2026-11-20")
    publish(layout, 0, 9)
    assert found(layout) == ([(0, 9, 0), (10, 14, 0)], [])


def test_an_unsigned_file_is_left_out(layout: Layout) -> None:
    """A file without a note does not count and is reported."""
    path = publish(layout, 0, 4, key=None)
    assert found(layout) == ([], [("unsigned_file", path.name)])


def test_a_note_by_another_key_does_not_count(layout: Layout) -> None:
    """Where the log's key is at hand, its signature is checked."""
    path = publish(layout, 0, 4, key=Ed25519PrivateKey.generate())
    assert found(layout) == ([], [("note_invalid", path.name)])


def test_a_note_of_another_segment_does_not_count(layout: Layout) -> None:
    """A note under a file's name that speaks of other leaves is none of this file."""
    path = publish(layout, 0, 4)
    publish(layout, 5, 9)
    folder = layout.log(TENANT, WRITER)
    one, two = SegmentName(WRITER, 0, 4, 0).note(), SegmentName(WRITER, 5, 9, 0).note()
    shutil.copy(folder / two, folder / one)
    assert found(layout) == ([(5, 9, 0)], [("note_invalid", path.name)])


def test_a_file_of_another_length_is_left_out(layout: Layout) -> None:
    """A file that is not as long as its note says does not count."""
    path = publish(layout, 0, 4, extra_bytes=1)
    assert found(layout) == ([], [("wrong_length", path.name)])


@pytest.mark.parametrize(("first", "end"), [(0, 4), (0, 6), (1, 6), (1, 5)])
def test_a_file_of_other_rows_is_left_out(layout: Layout, first: int, end: int) -> None:
    """A file whose rows are not as many as, or not where, its name says does not count."""
    path = publish(layout, 0, 4, rows=batch(first, end))
    assert found(layout) == ([], [("wrong_rows", path.name)])


def test_what_is_no_parquet_is_left_out(layout: Layout) -> None:
    """A file of the right length that is no Parquet is reported, not raised."""
    path = publish(layout, 0, 4)
    path.write_bytes(bytes(path.stat().st_size))
    assert found(layout) == ([], [("not_parquet", path.name)])


def test_files_that_are_not_named_like_segments_are_reported(layout: Layout) -> None:
    """A stranger among the segments is reported and does not count."""
    path = publish(layout, 0, 4)
    shutil.copy(path, path.with_name("copy.parquet"))
    shutil.copy(path, path.parent.parent / path.name)
    kept, problems = found(layout)
    assert kept == [(0, 4, 0)]
    assert [code for code, _ in problems] == ["not_a_segment", "not_a_segment"]


def test_a_later_revision_supersedes_quietly(layout: Layout) -> None:
    """Of the same range, the largest revision counts and the others are no problem."""
    for rev in (0, 2, 1):
        publish(layout, 0, 4, rev)
    assert found(layout) == ([(0, 4, 2)], [])


def test_a_wider_range_supersedes_quietly(layout: Layout) -> None:
    """Ranges strictly inside another valid file's are superseded, whatever their revision."""
    publish(layout, 0, 4, 3)
    publish(layout, 5, 9)
    publish(layout, 0, 9)
    assert found(layout) == ([(0, 9, 0)], [])


def test_an_invalid_file_supersedes_nothing(layout: Layout) -> None:
    """A later revision that does not count leaves the earlier one standing."""
    publish(layout, 0, 4)
    later = publish(layout, 0, 4, 1, extra_bytes=7)
    wider = publish(layout, 0, 9, key=None)
    kept, problems = found(layout)
    assert kept == [(0, 4, 0)]
    assert sorted(problems) == [("unsigned_file", wider.name), ("wrong_length", later.name)]


def test_other_overlaps_are_a_problem(layout: Layout) -> None:
    """Of two ranges that overlap otherwise, the later is left out and reported."""
    publish(layout, 0, 6)
    path = publish(layout, 5, 9)
    publish(layout, 10, 12)
    assert found(layout) == ([(0, 6, 0), (10, 12, 0)], [("overlap", path.name)])


def test_the_same_file_under_two_dates_counts_once(layout: Layout) -> None:
    """A copy of a segment under another date is reported, and its leaves count once."""
    path = publish(layout, 0, 4)
    other = path.parent.with_name("date=2026-11-22")
    other.mkdir()
    shutil.copy(path, other)
    assert found(layout) == ([(0, 4, 0)], [("overlap", path.name)])


def test_judgements_are_remembered_until_a_file_changes(layout: Layout) -> None:
    """An unchanged file is judged once; a changed one again."""
    path = publish(layout, 0, 4)
    checked: dict[tuple[Path, int, int], Segment | segments_module.SegmentProblem] = {}
    assert len(find_segments(layout, TENANT, checked=checked)[0]) == 1
    assert len(checked) == 1
    path.write_bytes(path.read_bytes() + b"x")
    kept, problems = find_segments(layout, TENANT, checked=checked)
    assert (kept, [problem.code for problem in problems]) == ([], ["wrong_length"])


@pytest.mark.parametrize("origin", ["beta/" + WRITER, f"{TENANT}/other-00000001"])
def test_a_note_of_another_log_does_not_count(layout: Layout, origin: str) -> None:
    """A note that speaks of another tenant or writer, whose key is not at hand, is no note."""
    path = publish(layout, 0, 4)
    name = SegmentName(WRITER, 0, 4, 0)
    whole = f"intentproof.local/{origin}"
    note = SegmentNote(whole, 0, 4, 0, path.stat().st_size, file_sha256(path))
    raw = sign_note(note.text(), name=whole, key=Ed25519PrivateKey.generate())
    (layout.log(TENANT, WRITER) / name.note()).write_bytes(raw)
    assert found(layout) == ([], [("note_invalid", path.name)])


def test_a_file_without_a_middle_row_is_left_out(layout: Layout) -> None:
    """First and last leaf are not enough: there must be as many rows as the name says."""
    rows = batch(0, 5)
    path = publish(layout, 0, 4, rows=rows.filter(pa.array([True, True, False, True, True])))
    assert found(layout) == ([], [("wrong_rows", path.name)])


@pytest.mark.parametrize("kind", ["folder between", "link to nowhere", "backwards"])
def test_what_cannot_be_a_segment_is_told(layout: Layout, kind: str) -> None:
    """A segment in a deeper folder, a link to nothing and a range backwards are no segments."""
    path = publish(layout, 0, 4)
    other = path.parent.parent / "deeper" / path.parent.name / path.name
    if kind == "backwards":
        other = path.with_name(SegmentName(WRITER, 4, 3, 0).file())
    make_folder(other.parent)
    if kind == "link to nowhere":
        other.symlink_to("nothing")
    else:
        shutil.copy(path, other)
    assert found(layout) == ([(0, 4, 0)], [("not_a_segment", other.name)])


def test_a_slice_is_sealed_as_itself(tmp_path: Path) -> None:
    """Of a sliced batch just the rows of the slice are written, each with its own values."""
    rows = batch(0, 9)
    path = tmp_path / "x.parquet"
    write_segment([rows.slice(2, 3)], path)
    table = pq.read_table(path, partitioning=None).sort_by("log_index")
    assert table.to_pylist() == rows.slice(2, 3).to_pylist()


def test_an_unchanged_file_is_not_opened_again(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was judged once is told again without another look at its rows."""
    publish(layout, 0, 4)
    checked: dict[tuple[Path, int, int], Segment | segments_module.SegmentProblem] = {}
    before = find_segments(layout, TENANT, checked=checked)

    def refuse(*_: object) -> None:
        raise AssertionError("it was opened again")

    monkeypatch.setattr(segments_module, "_misplaced_rows", refuse)
    assert find_segments(layout, TENANT, checked=checked) == before


def test_a_segment_is_durable_before_its_digest_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole file is fsynced when its length and SHA-256 are handed on to be signed."""
    synced: list[tuple[Path, bytes]] = []
    monkeypatch.setattr(
        segments_module, "sync_file", lambda path: synced.append((path, path.read_bytes()))
    )
    path = tmp_path / "x.parquet"
    size, _ = write_segment([batch(0, 3)], path)
    assert synced == [(path, path.read_bytes())]
    assert size == len(synced[0][1])


def test_a_segment_knows_its_date_and_note(layout: Layout) -> None:
    """What counts is handed on with its date, name and note."""
    path = publish(layout, 0, 4)
    (segment,) = find_segments(layout, TENANT)[0]
    assert (segment.path, segment.day) == (path, DAY)
    assert replace(segment.note, sha256="", size_bytes=0) == SegmentNote(ORIGIN, 0, 4, 0, 0, "")


def test_every_value_survives_the_sorting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absent, empty, short and long values come back as they were, from slices and small groups."""
    monkeypatch.setattr(rowgroups_module, "ROW_GROUP_ROWS", 7)
    maker = RowMaker(TENANT, WRITER, NOON_NS)
    for number in range(40):
        output = (None, "1", '"' + "x" * 12 + '"', '"' + "y" * 5_000 + '"')[number % 4]
        error = '{"message":"m","name":"n"}' if number % 5 == 0 else None
        one = event(number, output=output, error=error)
        add_event(maker, one)
        if number % 9 == 0:
            maker.add_detail("gap", {"reason": "x", "message": "z" * number})
    rows = maker.batch(0)
    cuts = [0, 1, 3, 17, 18, rows.num_rows]
    slices = [rows.slice(a, b - a) for a, b in itertools.pairwise(cuts)]
    write_segment(slices, tmp_path / "x.parquet")
    assert slices == []
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.sort_by("log_index").equals(pa.Table.from_batches([rows]))
    assert table["trace_id"].to_pylist()[-5:] == [None] * 5
