"""Rows of older segments by event id, for the writer's question "is this the same event?"."""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from .columns import SEGMENT_SCHEMA

_MEMORY_LIMIT = "96MB"
# Times as microseconds are not asked for: fetching them would need a time zone library.
_SCHEMA = pa.schema(
    [each for each in SEGMENT_SCHEMA if not each.name.endswith("_at") and each.name != "leaf"]
)
_WANTED = ", ".join(_SCHEMA.names)


class SegmentLookUp:
    """Finds stored rows of events by id; bloom filters keep it to a few row groups."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(config={"threads": 1, "memory_limit": _MEMORY_LIMIT})

    def __call__(self, ids: Sequence[str], paths: Sequence[Path]) -> pa.RecordBatch:
        """Every row of the segments that has one of the ids. Blocks on the disk."""
        cursor = self._connection.execute(
            f"SELECT {_WANTED} FROM read_parquet(?, hive_partitioning = false) "  # noqa: S608 - our own column names
            "WHERE event_id IN (SELECT unnest(?))",
            [[str(path) for path in paths], list(ids)],
        )
        found = zip(*cursor.fetchall(), strict=True)
        columns = list(found) or [()] * len(_SCHEMA)
        return pa.RecordBatch.from_arrays(
            [pa.array(values, each.type) for values, each in zip(columns, _SCHEMA, strict=True)],
            schema=_SCHEMA,
        )

    def close(self) -> None:
        """Release the engine."""
        self._connection.close()


def segment_ids(path: Path) -> pa.Array:
    """Every event id in the segment. Reads one column."""
    column = pq.read_table(path, columns=["event_id"], partitioning=None).column(0)
    return column.drop_null().combine_chunks()


def details_of(paths: Sequence[Path], kinds: Sequence[str]) -> list[tuple[int, str, str]]:
    """Log index, kind and detail of every leaf of these kinds in the segments."""
    found: list[tuple[int, str, str]] = []
    for path in paths:
        table = pq.read_table(
            path,
            columns=["log_index", "kind", "detail"],
            filters=[("kind", "in", list(kinds))],
            partitioning=None,
        )
        found.extend(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return found
