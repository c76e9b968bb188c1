"""Bloom filters of Parquet files, asked for one value by reading a block of it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_store.bloom import BLOCK_BYTES, bitset_place, block_numbers, may_hold, xxh64

from tests.examples import examples


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        # Of the reference implementation's own sanity checks and of its command line.
        (b"", 0xEF46DB3751D8E999),
        (b"a", 0xD24EC4F1A98C6E5B),
        (b"abc", 0x44BC2CF5AD770999),
        (b"message digest", 0x066ED728FCEEB3BE),
        (b"abcdefghijklmnopqrstuvwxyz", 0xCFE1F278FA89835C),
        (
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
            0xAAA46907D3047814,
        ),
        (b"1234567890" * 8, 0xE04A477F19EE145D),
    ],
)
def test_xxh64_is_the_reference_s(raw: bytes, expected: int) -> None:
    """The published hashes of short and long texts."""
    assert xxh64(pa.array([raw])).tolist() == [expected]


def held(path: Path, value: str) -> bool:
    """Whether the file's bloom filter of its one column may hold a value."""
    column = pq.read_metadata(path).row_group(0).column(0)
    offset, size = bitset_place(column.bloom_filter_offset, column.bloom_filter_length)
    hashed = xxh64(pa.array([value]))
    at = offset + int(block_numbers(hashed, size)[0]) * BLOCK_BYTES
    block = np.frombuffer(path.read_bytes()[at : at + BLOCK_BYTES], "<u4")
    return bool(may_hold(block.reshape(1, 8), hashed)[0])


@settings(max_examples=examples(30), deadline=None)
@given(values=st.lists(st.text(st.characters(codec="utf-8")), min_size=1))
def test_every_value_of_a_column_is_held(
    tmp_path_factory: pytest.TempPathFactory, values: list[str]
) -> None:
    """What Arrow's writer put into a filter is found in it, of any length."""
    path = tmp_path_factory.mktemp("bloom") / "x.parquet"
    table = pa.table({"event_id": values})
    pq.write_table(table, path, bloom_filter_options={"event_id": {"ndv": 100, "fpp": 0.01}})
    assert all(held(path, value) for value in values)


def test_most_other_values_are_not_held(tmp_path: Path) -> None:
    """A filter excludes nearly all of what its column does not have."""
    path = tmp_path / "x.parquet"
    table = pa.table({"event_id": [f"in {number}" for number in range(20_000)]})
    pq.write_table(table, path, bloom_filter_options={"event_id": {"ndv": 20_000, "fpp": 0.01}})
    assert all(held(path, f"in {number}") for number in range(0, 20_000, 97))
    assert sum(held(path, f"out {number}") for number in range(2_000)) < 40
