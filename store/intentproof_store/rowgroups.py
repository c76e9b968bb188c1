"""The rows of a segment in their order, as row groups. Pure.

Wide columns are never copied: Arrow's view types say where each value stands, sixteen bytes a
value, and the Parquet writer takes the values from where the frames' own buffers hold them. That
saves the memory of all rows once over, and touching new memory is most of what sealing costs.
All chunks of a column go through Arrow in one call, however many frames they come from: each call
asks for the interpreter's lock again, which those who answer requests need meanwhile.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .columns import COLUMNS, ROW_GROUP_BYTES, ROW_GROUP_ROWS, SEGMENT_SCHEMA

_WIDE = ("inputs", "output", "error", "attributes", "detail", "leaf")
_VIEW_OF = {pa.string(): pa.string_view(), pa.binary(): pa.binary_view()}
_VIEW = np.dtype("V16")  # length, prefix, buffer, offset: Arrow's layout, here moved as a whole
# What the writer is given; Parquet knows one type of text, so that files are of SEGMENT_SCHEMA.
GROUP_SCHEMA = pa.schema(
    [
        field.with_type(_VIEW_OF[field.type]) if field.name in _WIDE else field
        for field in SEGMENT_SCHEMA
    ]
)
_Gather = Callable[[pa.Array], pa.Array]  # places to values


def rows_a_group(batches: list[pa.RecordBatch]) -> int:
    """Rows in a row group: 20,000, or fewer where those would hold over 64 MiB."""
    rows = pa.Table.from_batches(batches, SEGMENT_SCHEMA)
    size: int = sum(map(_value_bytes, rows.columns)) // max(1, rows.num_rows)
    return max(1, min(ROW_GROUP_ROWS, ROW_GROUP_BYTES // max(1, size)))


def _value_bytes(column: pa.ChunkedArray) -> int:
    of_text = pa.types.is_string(column.type) or pa.types.is_binary(column.type)
    size: int = (
        pc.sum(pc.binary_length(column), min_count=0).as_py()
        if of_text
        else len(column) * column.type.bit_width // 8
    )
    return size


def row_groups(batches: list[pa.RecordBatch], group_rows: int) -> Iterator[pa.Table]:
    """All rows by trace id, then log index, rows without a trace id last. Empties the list."""
    rows = pa.Table.from_batches(batches, SEGMENT_SCHEMA)
    batches.clear()
    narrow = rows.drop_columns(_WIDE).combine_chunks()
    names = ("trace_id", "log_index")
    order = pc.sort_indices(narrow.select(names), sort_keys=[(n, "ascending") for n in names])
    columns = {name: rows.column(name) for name in _WIDE}
    del rows
    gathers = {name: _gather(GROUP_SCHEMA.field(name), columns.pop(name)) for name in _WIDE}
    # Once a segment: the chunks of narrow columns are gone, and the writer needs memory next.
    pa.default_memory_pool().release_unused()
    for at in range(0, len(order), group_rows):
        places = order.slice(at, group_rows)
        taken = narrow.take(places)
        yield pa.Table.from_arrays(
            [gathers[n](places) if n in gathers else taken.column(n) for n in COLUMNS],
            schema=GROUP_SCHEMA,
        )


def _gather(field: pa.Field, column: pa.ChunkedArray) -> _Gather:
    """What puts values of a wide column into an array, given their places."""
    if column.null_count == len(column):
        return lambda places: pa.nulls(len(places), field.type)
    return _gather_views(column.cast(field.type).combine_chunks())


def _gather_views(column: pa.Array) -> _Gather:
    _, views, *values = column.buffers()
    all_views = np.frombuffer(views, _VIEW)[column.offset : column.offset + len(column)]
    present = column.is_valid() if column.null_count else None

    def gather(places: pa.Array) -> pa.Array:
        valid = None if present is None else present.take(places).buffers()[1]
        # Not `to_numpy`: that imports pandas where it is installed.
        numbers = np.frombuffer(places.buffers()[1], np.uint64)[places.offset :][: len(places)]
        buffers = [valid, pa.py_buffer(all_views[numbers]), *values]
        return pa.Array.from_buffers(column.type, len(places), buffers)

    return gather
