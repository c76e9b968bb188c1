"""Rows of older segments by event id, for the writer's question "is this the same event?"."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from .columns import COLUMNS

_MEMORY_LIMIT = "96MB"
# Times as microseconds are not asked for: fetching them would need a time zone library.
_WANTED = ", ".join(name for name in COLUMNS if not name.endswith("_at") and name != "leaf")


class SegmentLookUp:
    """Finds stored rows of events by id; bloom filters keep it to a few row groups."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(config={"threads": 1, "memory_limit": _MEMORY_LIMIT})

    def __call__(self, ids: Sequence[str], paths: Sequence[Path]) -> list[dict[str, Any]]:
        """Every row of the segments that has one of the ids. Blocks on the disk."""
        cursor = self._connection.execute(
            f"SELECT {_WANTED} FROM read_parquet(?, hive_partitioning = false) "  # noqa: S608 - our own column names
            "WHERE event_id IN (SELECT unnest(?))",
            [[str(path) for path in paths], list(ids)],
        )
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def close(self) -> None:
        """Release the engine."""
        self._connection.close()


def segment_ids(paths: Sequence[Path]) -> list[str]:
    """Every event id in the segments. Reads one column of each."""
    found: list[str] = []
    for path in paths:
        column = pq.read_table(path, columns=["event_id"], partitioning=None).column(0)
        found.extend(column.drop_null().to_pylist())
    return found


def quarantine_details(paths: Sequence[Path]) -> list[str]:
    """Details of every quarantine leaf in the segments."""
    found: list[str] = []
    for path in paths:
        table = pq.read_table(
            path,
            columns=["detail"],
            filters=[("kind", "==", "quarantine")],
            partitioning=None,
        )
        found.extend(table.column(0).to_pylist())
    return found
