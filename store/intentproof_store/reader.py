"""Reading a store: sealed segments and hot frames as one, through DuckDB.

Needs no service and takes no lock. The hot folder is read before the segments are listed, so that
what is sealed in between is seen at least once; hot rows that a segment holds are dropped, so that
nothing is seen twice. A reader shows what was acknowledged when it was opened or refreshed.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from .columns import COLUMNS, SEGMENT_SCHEMA
from .errors import StoreError
from .hotread import HotReader, HotRows, Log, ReadProblem, unsealed
from .identity import read_hot_key, trusted_keys
from .layout import Layout, check_tenant
from .segments import Segment, SegmentProblem, find_segments
from .views import CONFLICTED_TABLE, HOT_TABLE, parquet, view_statements

_HOT_SCHEMA = SEGMENT_SCHEMA.append(pa.field("tenant", pa.string())).append(
    pa.field("date", pa.date32())
)
# Of a path's `name=value` folders, DuckDB lets these take the place of a segment's columns.
_PATH_NAMES = frozenset((*COLUMNS, "tenant", "date"))


class StoreMissing(StoreError, ValueError):
    """There is no store where one was looked for."""

    exit_code = 6

    def __init__(self, store: Path) -> None:
        super().__init__(
            f"there is no store at {str(store)!r}: give --store, or set INTENTPROOF_STORE"
        )


class Reader:
    """The views of a store as of its opening or last `refresh`. Thread-safe.

    `tenant` None reads all tenants. `home` adds keys: segment notes are then verified, and hot
    frames that were not written under its `hot.key` are left out. `problems` lists what was left
    out. Blocks on the disk; raises StoreMissing, TenantInvalid and HomeInvalid.
    """

    def __init__(
        self,
        store: Path,
        *,
        hot: Path | None = None,
        home: Path | None = None,
        tenant: str | None = None,
    ) -> None:
        if not store.is_dir():
            raise StoreMissing(store)
        self._layout = Layout(store.resolve())
        _check_path(self._layout.root)
        self._tenant = None if tenant is None else check_tenant(tenant)
        self._keys = () if home is None else trusted_keys(home)
        self._hot = HotReader(
            hot or store / "hot",
            key=None if home is None else read_hot_key(home),
            tenants=None if tenant is None else (tenant,),
        )
        self._checked: dict[tuple[Path, int, int], Segment | SegmentProblem] = {}
        self._conflicts: dict[Path, list[tuple[str, str, str]]] = {}
        self._shown: tuple[tuple[Path, ...], tuple[tuple[Path, int, int], ...]] | None = None
        self._lock = threading.Lock()
        self.problems: tuple[ReadProblem, ...] = ()
        self.paths: tuple[Path, ...] = ()
        self._connection = _connect()
        try:
            self.refresh()
        except BaseException:
            self._connection.close()
            raise

    def refresh(self) -> None:
        """See what was acknowledged since. Cheap where nothing was."""
        with self._lock:
            frames, hot_problems = self._hot.read()
            segments, problems = self._segments(frames)
            rows, left_out = unsealed(frames, _ranges(segments))
            self.problems = (*problems, *hot_problems, *left_out)
            self.paths = tuple(segment.path for _, segment in segments)
            shown = (self.paths, tuple((row.path, row.first, row.end) for row in rows))
            if shown != self._shown:
                self._show(segments, rows)
                self._shown = shown

    def _segments(
        self, frames: Sequence[HotRows]
    ) -> tuple[list[tuple[str, Segment]], list[ReadProblem]]:
        if self._tenant is not None:
            tenants = {self._tenant}
        else:
            tenants = {*self._layout.tenants(), *(frame.log[0] for frame in frames)}
        found: list[tuple[str, Segment]] = []
        problems: list[ReadProblem] = []
        for tenant in sorted(tenants):
            segments, left_out = find_segments(
                self._layout, tenant, keys=self._keys, checked=self._checked
            )
            found += [(tenant, segment) for segment in segments]
            problems += [ReadProblem(each.path, each.code, each.message) for each in left_out]
        return found, problems

    def _show(self, segments: Sequence[tuple[str, Segment]], rows: Sequence[HotRows]) -> None:
        """Put the views over these segments and rows, at once for every query that follows."""
        writers = {(tenant, segment.name.writer) for tenant, segment in segments}
        writers |= {row.log for row in rows}
        tenants = [tenant for tenant, _ in writers]
        shared = sorted({tenant for tenant in tenants if tenants.count(tenant) > 1})
        conflicts = self._conflicted()
        hot = _hot_table(rows)
        with self._connection.cursor() as cursor:
            cursor.begin()
            cursor.register("arriving", hot)
            cursor.execute(f"CREATE OR REPLACE TABLE {HOT_TABLE} AS FROM arriving")
            cursor.execute(
                f"CREATE OR REPLACE TABLE {CONFLICTED_TABLE} AS SELECT tenant, writer, event_id "  # noqa: S608 - our own names
                f"FROM {HOT_TABLE} WHERE kind = 'conflict'"
            )
            if conflicts:
                cursor.executemany(f"INSERT INTO {CONFLICTED_TABLE} VALUES (?, ?, ?)", conflicts)  # noqa: S608
            known = cursor.execute(f"SELECT count(*) FROM {CONFLICTED_TABLE}").fetchone()  # noqa: S608
            disputes = known is not None and known[0] > 0
            for statement in view_statements(
                self.paths, tenants=tenants, shared=shared, disputes=disputes
            ):
                cursor.execute(statement)
            cursor.commit()
            cursor.unregister("arriving")

    def _conflicted(self) -> list[tuple[str, str, str]]:
        """Which events have a sealed conflict; a segment is asked once, as it never changes."""
        self._conflicts = {
            path: found for path, found in self._conflicts.items() if path in set(self.paths)
        }
        new = [path for path in self.paths if path not in self._conflicts]
        if new:
            self._conflicts.update({path: [] for path in new})
            with self._connection.cursor() as cursor:
                cursor.execute(
                    f"SELECT filename, tenant, writer, event_id FROM {parquet(new)} "  # noqa: S608
                    "WHERE kind = 'conflict' AND event_id IS NOT NULL"
                )
                for path, *key in cursor.fetchall():
                    self._conflicts[Path(path)].append((key[0], key[1], key[2]))
        return [key for found in self._conflicts.values() for key in found]

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of the caller's own to the views; the caller closes it."""
        return self._connection.cursor()

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """The answer to a query of ours, as dicts; after a `refresh` if a file went meanwhile."""
        try:
            return self._rows(query, values)
        except duckdb.IOException:
            self.refresh()
            return self._rows(query, values)

    def _rows(self, query: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        with self.cursor() as cursor:
            cursor.execute(query, list(values))
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def close(self) -> None:
        """Release the engine."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


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


def _check_path(root: Path) -> None:
    for folder in root.parts:
        if folder.partition("=")[0] in _PATH_NAMES and "=" in folder:
            raise StoreError(f"a store below a folder named {folder!r} cannot be read as a table")


def _ranges(segments: Sequence[tuple[str, Segment]]) -> dict[Log, list[tuple[int, int]]]:
    ranges: dict[Log, list[tuple[int, int]]] = {}
    for tenant, segment in segments:
        log = (tenant, segment.name.writer)
        ranges.setdefault(log, []).append((segment.name.first, segment.name.last))
    return {log: sorted(found) for log, found in ranges.items()}


def _hot_table(rows: Sequence[HotRows]) -> pa.Table:
    batches = []
    for each in rows:
        tenant = pa.repeat(pa.scalar(each.log[0]), each.batch.num_rows)
        date = pc.cast(each.batch.column("received_at"), pa.date32())
        batches.append(
            pa.RecordBatch.from_arrays([*each.batch.columns, tenant, date], schema=_HOT_SCHEMA)
        )
    return pa.Table.from_batches(batches, _HOT_SCHEMA)
