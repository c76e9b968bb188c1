"""What `verify` says of statistics and bloom filters that would hide rows from a search."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_store.bloom import bitset_place, header
from intentproof_store.columns import BLOOM_COLUMNS, COLUMNS, SEGMENT_SCHEMA
from intentproof_store.rows import RowMaker
from intentproof_store.segments import write_segment
from intentproof_store.verify.skipping import Skipping

from tests.examples import examples
from tests.store.support import NOON_NS, TENANT, WRITER, add_event, event

Rows = list[dict[str, Any]]
Told = list[tuple[str, int | None]]


def some_rows(count: int = 40) -> Rows:
    maker = RowMaker(TENANT, WRITER, NOON_NS)
    for number in range(count):
        add_event(maker, event(number))
    rows: Rows = maker.batch(0).to_pylist()
    return rows


def batch(rows: Rows) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, SEGMENT_SCHEMA)


def written(path: Path, rows: Rows) -> Path:
    write_segment([batch(rows)], path)
    return path


def told(path: Path, rows: Rows) -> Told:
    """What is said where these rows stand behind the footer and the filters of that file."""
    found: Told = []
    skipping = Skipping(pq.read_metadata(path), path.read_bytes(), lambda *each: found.append(each))
    for at in range(0, len(rows), 7):
        skipping.see(batch(rows[at : at + 7]))
    return found


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("skipping") / "x.parquet", some_rows())


@settings(max_examples=examples(20), deadline=None)
@given(
    texts=st.lists(
        st.one_of(st.none(), st.text(st.characters(codec="utf-8"), min_size=1)), min_size=1
    )
)
def test_of_what_this_version_writes_nothing_is_told(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str | None]
) -> None:
    """Statistics and filters of the writer's own agree with rows of any text, absent ones too."""
    rows = [
        row | {"correlation_id": text, "action": text, "stage": text}
        for row, text in zip(some_rows(len(texts)), texts, strict=True)
    ]
    assert told(written(tmp_path_factory.mktemp("own") / "x.parquet", rows), rows) == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("log_index", 99),
        ("log_index", -1),
        ("received_at", 0),
        ("duration_ms", 1e9),
        ("duration_ms", -1.0),
        ("trace_id", "f" * 32 + "0"),
        ("action", "\U0010ffff"),
        ("action", "!"),
    ],
)
def test_a_row_that_statistics_leave_out_is_told(path: Path, column: str, value: object) -> None:
    """A value below or above them is told with its log index, once, in every type of column."""
    rows = some_rows()
    for at in (17, 18):
        rows[at][column] = value
    found = [each for each in told(path, rows) if "statistics" in each[0]]
    index = value if column == "log_index" else 17
    text = f"row group 0 has statistics of {column} that leave out what is in it"
    assert found == [(text, index)]


@pytest.mark.parametrize("column", BLOOM_COLUMNS)
def test_a_row_that_a_filter_denies_is_told(path: Path, column: str) -> None:
    """A value whose bits are not all in the filter is told with its log index."""
    rows = some_rows()
    rows[17][column] = f"{rows[17][column][:-1]}~"
    found = [each for each in told(path, rows) if "filter" in each[0]]
    assert found == [(f"row group 0 has a bloom filter of {column} that denies what is in it", 17)]


def test_wrong_counts_of_absent_values_are_told(path: Path) -> None:
    """A column that statistics call absent throughout is one that engines do not even read."""
    rows = some_rows()
    rows[5]["run_id"] = "run-1"
    assert told(path, rows) == [
        ("row group 0 has statistics that count 40 absent run_id, and there are 39", None)
    ]


def test_what_the_writer_never_makes_is_told(tmp_path: Path) -> None:
    """Page indexes, filters of numbers, and files of other writers are refused unread."""
    rows = some_rows()
    options = {"write_page_index": True, "bloom_filter_options": {"log_index": {"ndv": 9}}}
    pq.write_table(pa.Table.from_batches([batch(rows)]), tmp_path / "x.parquet", **options)
    found = {message for message, _ in told(tmp_path / "x.parquet", rows)}
    assert found == {
        *(f"row group 0 has a page index of {name}, which nothing vouches for" for name in COLUMNS),
        "row group 0 has a bloom filter of log_index in a form that is not known here",
    }


def test_a_file_of_another_writer_is_told(tmp_path: Path, path: Path) -> None:
    """Arrow passes over some statistics of others' files, which another engine may heed."""
    raw = path.read_bytes()
    name = b"parquet-cpp-arrow"
    assert raw.count(name) == 1
    other = tmp_path / "x.parquet"
    other.write_bytes(raw.replace(name, b"parquet-mrr-arrow"))
    ((message, _),) = told(other, some_rows())
    assert "parquet-mrr-arrow" in message


def test_a_filter_whose_header_says_otherwise_is_told(tmp_path: Path, path: Path) -> None:
    """A reader that believes the header would look at other bits than the verifier."""
    chunk = pq.read_metadata(path).row_group(0).column(COLUMNS.index("event_id"))
    raw = bytearray(path.read_bytes())
    offset, length = chunk.bloom_filter_offset, chunk.bloom_filter_length
    _, size = bitset_place(offset, length)
    assert raw[offset : offset + length - size] == header(size)
    raw[offset + 1] ^= 0x02
    other = tmp_path / "x.parquet"
    other.write_bytes(raw)
    assert told(other, some_rows()) == [
        ("row group 0 has a bloom filter of event_id in a form that is not known here", None)
    ]


@pytest.mark.parametrize("size", [32, 64, 4096, 16384, 1 << 20, 1 << 24])
def test_the_header_is_arrow_s(tmp_path: Path, size: int) -> None:
    """For filters of any size, the header that is expected is the one that is written."""
    path = tmp_path / "x.parquet"
    table = pa.table({"event_id": ["a"]})
    ndv = max(1, size * 8 // 12)  # of which the writer makes the next power of two
    pq.write_table(table, path, bloom_filter_options={"event_id": {"ndv": ndv, "fpp": 0.01}})
    chunk = pq.read_metadata(path).row_group(0).column(0)
    offset, length = chunk.bloom_filter_offset, chunk.bloom_filter_length
    start, found = bitset_place(offset, length)
    assert path.read_bytes()[offset:start] == header(found)


def mistyped(raw: bytes) -> Iterator[bytes]:
    """A file with one of its columns' values said to be of a type that there is not, each in turn.

    `15 .. 19` is how a column's metadata begins: the type, then the list of encodings.
    """
    footer = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")
    for found in re.finditer(rb"\x15[\x04\x0a\x0c]\x19[\x15\x25\x35\x45][\x00-\x12]", raw[footer:]):
        at = footer + found.start() + 1
        yield raw[:at] + bytes([raw[at] ^ 0x20]) + raw[at + 1 :]


def test_values_of_no_type_end_no_process(tmp_path: Path, path: Path) -> None:
    """Arrow would abort over the statistics of such a column: they are not asked for."""
    files = list(mistyped(path.read_bytes()))
    assert len(files) == len(COLUMNS)
    for raw in files:
        (tmp_path / "x.parquet").write_bytes(raw)
        with pytest.raises(pa.ArrowInvalid, match="values in the column"):
            told(tmp_path / "x.parquet", some_rows())
