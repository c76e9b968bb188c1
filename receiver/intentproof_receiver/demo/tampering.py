"""What a forger would do to the demo's store: change one bit of one value in its segment."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from .told import Differs

_COLUMN = "correlation_id"
_BEFORE, _AFTER = b"order-1042", b"order-1043"  # `2` and `3` differ in one bit


@dataclass(frozen=True)
class Flipped:
    """The byte that was changed."""

    path: Path
    offset: int


def flip_one_bit(store: Path) -> Flipped:
    """Make the correlation id order-1042 into order-1043. Raises Differs if it is not there."""
    segments = sorted(store.glob("events/tenant=*/date=*/*.parquet"))
    if len(segments) != 1:
        raise Differs(f"there should be one segment, not {len(segments)}")
    path = segments[0]
    content = bytearray(path.read_bytes())
    first, last = _place_of_column(path)
    # The last one: statistics before the page hold the value too, and no reader shows them.
    offset = content.rfind(_BEFORE, first, last) + len(_BEFORE) - 1
    if offset < first:
        raise Differs(f"{_BEFORE.decode()} should stand in the segment's {_COLUMN}")
    content[offset] = _AFTER[-1]
    path.write_bytes(content)
    return Flipped(path, offset)


def _place_of_column(path: Path) -> tuple[int, int]:
    """Where the column's pages begin and end in the file."""
    with pq.ParquetFile(path) as file:
        group = file.metadata.row_group(0)
        for number in range(group.num_columns):
            column = group.column(number)
            if column.path_in_schema == _COLUMN:
                first = column.dictionary_page_offset or column.data_page_offset
                return first, first + column.total_compressed_size
    raise Differs(f"the segment should have a column {_COLUMN}")
