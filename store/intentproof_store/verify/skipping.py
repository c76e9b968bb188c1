"""What readers leave row groups out by: statistics and bloom filters, against the rows in them.

A wrong one hides sound rows from each query that relies on it. They are checked as Arrow reads
them; what this version's writer never makes, such as page indexes, is refused unread.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..bloom import BLOCK_BYTES, Blocks, block_numbers, header, may_hold, xxh64
from ..columns import COLUMNS
from ..footers import chunk_of

_CREATOR = "parquet-cpp-arrow "  # of others' files, Arrow passes over some statistics
_WORDS = BLOCK_BYTES // 4

Tell = Callable[[str, int | None], None]


class Skipping:
    """A file's statistics and filters. `tell` takes words, and a row that would be missed.

    `see` takes all rows in the file's order, in pieces of any length.
    """

    def __init__(self, file: pq.FileMetaData, raw: bytes, tell: Tell) -> None:
        self._file, self._raw, self._tell = file, raw, tell
        self._next = 0
        self._group: _RowGroup | None = None
        if not str(file.created_by).startswith(_CREATOR):
            tell(f"written by {file.created_by!r}, whose statistics are not known here", None)

    def see(self, rows: pa.RecordBatch) -> None:
        """Take rows with the columns of a segment."""
        while rows.num_rows:
            if self._group is None:
                self._group = _RowGroup(self._file, self._next, self._raw, self._tell)
                self._next += 1
            part = rows.slice(0, self._group.rows_left)
            self._group.see(part)
            if not self._group.rows_left:
                self._group.close()
                self._group = None
            rows = rows.slice(part.num_rows)


class _RowGroup:
    def __init__(self, file: pq.FileMetaData, number: int, raw: bytes, tell: Tell) -> None:
        self._number = number
        self._tell = tell
        self._bounds: dict[str, tuple[Any, Any]] = {}
        self._nulls: dict[str, int] = {}
        self._filters: dict[str, Blocks] = {}
        self._seen_nulls = dict.fromkeys(COLUMNS, 0)
        self.rows_left = file.row_group(number).num_rows
        for at, name in enumerate(COLUMNS):
            self._take(name, chunk_of(file, number, at), raw)

    def _take(self, name: str, chunk: pq.ColumnChunkMetaData, raw: bytes) -> None:
        if chunk.has_column_index or chunk.has_offset_index:
            self._say(f"has a page index of {name}, which nothing vouches for")
        told = chunk.statistics
        if told is not None and told.has_min_max:
            self._bounds[name] = (told.min_raw, told.max_raw)
        if told is not None and told.has_null_count:
            self._nulls[name] = told.null_count
        offset, length = chunk.bloom_filter_offset, chunk.bloom_filter_length
        if offset is None and length is None:
            return
        size = 1 << (max(length or 0, 1).bit_length() - 1)
        front = header(size)
        place = (offset or 0) + len(front)
        sound = chunk.physical_type == "BYTE_ARRAY" and length == len(front) + size
        if sound and raw[offset or 0 : place] == front and size % BLOCK_BYTES == 0:
            words = np.frombuffer(raw, "<u4", size // 4, place)
            self._filters[name] = words.reshape(-1, _WORDS)
        else:
            self._say(f"has a bloom filter of {name} in a form that is not known here")

    def see(self, rows: pa.RecordBatch) -> None:
        self.rows_left -= rows.num_rows
        for name in COLUMNS:
            column = _plain(rows.column(name))
            self._seen_nulls[name] += column.null_count
            place = _beyond(column, self._bounds.get(name))
            if place is not None:
                del self._bounds[name]  # once is enough
                self._say(f"has statistics of {name} that leave out what is in it", rows, place)
            place = _excluded(column, self._filters.get(name))
            if place is not None:
                del self._filters[name]
                self._say(f"has a bloom filter of {name} that denies what is in it", rows, place)

    def close(self) -> None:
        for name, told in self._nulls.items():
            if told != self._seen_nulls[name]:
                seen = self._seen_nulls[name]
                self._say(f"has statistics that count {told} absent {name}, and there are {seen}")

    def _say(
        self, message: str, rows: pa.RecordBatch | None = None, place: int | None = None
    ) -> None:
        log_index = None if rows is None else rows.column("log_index")[place].as_py()
        self._tell(f"row group {self._number} {message}", log_index)


def _plain(column: pa.Array) -> pa.Array:
    """Values as Parquet orders and hashes them: texts as bytes, moments as numbers."""
    if pa.types.is_string(column.type):
        return column.view(pa.binary())
    return column.view(pa.int64()) if pa.types.is_timestamp(column.type) else column


def _beyond(column: pa.Array, bounds: tuple[Any, Any] | None) -> int | None:
    """The place of a value outside the bounds."""
    if bounds is None or column.null_count == len(column):
        return None
    ends = pc.min_max(column).as_py()
    below = not bounds[0] <= ends["min"]  # also where a bound is no number
    if not below and ends["max"] <= bounds[1]:
        return None
    place: int = pc.index(column, ends["min" if below else "max"]).as_py()
    return place


def _excluded(column: pa.Array, blocks: "Blocks | None") -> int | None:
    """The place of a value that a filter denies."""
    if blocks is None or column.null_count == len(column):
        return None
    # Rows of one trace stand together: each value is asked for once in a row.
    present = pc.run_end_encode(column.drop_null() if column.null_count else column).values
    hashed = xxh64(present)
    numbers = block_numbers(hashed, blocks.nbytes).astype(np.int64)
    held = may_hold(blocks.take(numbers, axis=0), hashed)
    if held.all():
        return None
    place: int = pc.index(column, present[int(held.argmin())]).as_py()
    return place
