"""The views in DuckDB, over files that a reader found and hot rows that it read.

What a query sees changes in one transaction. Hot rows that came on top of those already there are
added to them; when segments change, all of them are loaded anew.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from .columns import SEGMENT_SCHEMA
from .hotread import HotRows, Log
from .views import CONFLICTED_TABLE, HOT_TABLE, parquet, view_statements

_HOT_SCHEMA = SEGMENT_SCHEMA.append(pa.field("tenant", pa.string())).append(
    pa.field("date", pa.date32())
)
_Place = tuple[Path, int, int]


class Engine:
    """An in-memory DuckDB with the views. `show` is called by one thread at a time."""

    def __init__(self) -> None:
        self._connection = _connect()
        self._conflicts: dict[Path, list[tuple[str, str, str]]] = {}
        self._paths: list[Path] = []
        self._loaded: list[_Place] = []
        self._views: list[str] = []

    def show(self, sealed: Sequence[tuple[Log, Path]], rows: Sequence[HotRows]) -> None:
        """Put the views over these segments and rows, at once for every query that follows."""
        paths = [path for _, path in sealed]
        places = [(row.path, row.first, row.end) for row in rows]
        goes_on = self._views and paths == self._paths
        kept = len(self._loaded) if goes_on and places[: len(self._loaded)] == self._loaded else 0
        if goes_on and kept == len(places) == len(self._loaded):
            return
        logs = {log for log, _ in sealed} | {row.log for row in rows}
        conflicts = [] if kept else self._conflicted(paths)
        with self._connection.cursor() as cursor:
            cursor.begin()
            self._load(cursor, rows[kept:], conflicts, anew=not kept)
            known = cursor.execute(f"SELECT count(*) FROM {CONFLICTED_TABLE}").fetchone()  # noqa: S608 - our own name
            views = _views(paths, logs, disputes=known is not None and known[0] > 0)
            if views != self._views:
                for statement in views:
                    cursor.execute(statement)
            cursor.commit()
        self._paths, self._loaded, self._views = paths, places, views

    def _load(
        self,
        cursor: duckdb.DuckDBPyConnection,
        rows: Sequence[HotRows],
        conflicts: Sequence[tuple[str, str, str]],
        *,
        anew: bool,
    ) -> None:
        cursor.register("arriving", _hot_table(rows))
        told = "SELECT tenant, writer, event_id FROM arriving WHERE kind = 'conflict'"
        if anew:
            cursor.execute(f"CREATE OR REPLACE TABLE {HOT_TABLE} AS FROM arriving")
            cursor.execute(f"CREATE OR REPLACE TABLE {CONFLICTED_TABLE} AS {told}")
        else:
            cursor.execute(f"INSERT INTO {HOT_TABLE} FROM arriving")
            cursor.execute(f"INSERT INTO {CONFLICTED_TABLE} {told}")
        if conflicts:
            cursor.executemany(f"INSERT INTO {CONFLICTED_TABLE} VALUES (?, ?, ?)", conflicts)  # noqa: S608
        cursor.unregister("arriving")

    def _conflicted(self, paths: Sequence[Path]) -> list[tuple[str, str, str]]:
        """Which events have a sealed conflict; a segment is asked once, as it never changes."""
        known = self._conflicts
        self._conflicts = {path: known[path] for path in paths if path in known}
        new = [path for path in paths if path not in known]
        if new:
            query = (
                f"SELECT filename, tenant, writer, event_id FROM {parquet(new)} "  # noqa: S608
                "WHERE kind = 'conflict' AND event_id IS NOT NULL"
            )
            with self._connection.cursor() as cursor:
                found = cursor.execute(query).fetchall()
            self._conflicts.update({path: [] for path in new})
            for path, tenant, writer, event_id in found:
                self._conflicts[Path(path)].append((tenant, writer, event_id))
        return [key for keys in self._conflicts.values() for key in keys]

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of the caller's own to the views; the caller closes it."""
        return self._connection.cursor()

    def rows(self, query: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        """The answer to a query as dicts."""
        with self.cursor() as cursor:
            cursor.execute(query, list(values))
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def close(self) -> None:
        """Release the engine."""
        self._connection.close()


def _connect() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "python_enable_replacements": "false",
            "temp_directory": "",  # a reader writes nothing, not even what it sorts
        }
    )
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET parquet_metadata_cache = true")  # sealed files never change
    connection.execute("CREATE SCHEMA ours")
    return connection


def _views(paths: Sequence[Path], logs: set[Log], *, disputes: bool) -> list[str]:
    tenants = [tenant for tenant, _ in logs]
    shared = sorted({tenant for tenant in tenants if tenants.count(tenant) > 1})
    return view_statements(paths, tenants=tenants, shared=shared, disputes=disputes)


def _hot_table(rows: Sequence[HotRows]) -> pa.Table:
    batches = []
    for each in rows:
        tenant = pa.repeat(pa.scalar(each.log[0]), each.batch.num_rows)
        date = pc.cast(each.batch.column("received_at"), pa.date32())
        batches.append(
            pa.RecordBatch.from_arrays([*each.batch.columns, tenant, date], schema=_HOT_SCHEMA)
        )
    return pa.Table.from_batches(batches, _HOT_SCHEMA)
