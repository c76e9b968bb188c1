"""Reading a store: sealed segments and hot frames as one, through DuckDB.

Needs no service and takes no lock. The hot folder is read before the segments are listed, so that
what is sealed in between is seen at least once; hot rows that a segment holds are dropped, so that
nothing is seen twice. A reader shows what was acknowledged when it was opened or refreshed.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import duckdb

from .columns import COLUMNS
from .engine import Engine
from .errors import QueryFailed, StoreError, StoreMissing
from .hotread import HotReader, HotRows, Log, ReadProblem, unsealed
from .identity import read_hot_key, trusted_keys
from .layout import Layout, check_tenant
from .segments import Segment, SegmentProblem, find_segments

Answer = TypeVar("Answer")
_TRIES_MAX = 5  # segments may be revised or dropped one after the other
# Of a path's `name=value` folders, DuckDB lets these take the place of a segment's columns.
_PATH_NAMES = frozenset((*COLUMNS, "tenant", "date"))
_ROWS_AT_ONCE = 1_000


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
        self._lock = threading.Lock()
        self.problems: tuple[ReadProblem, ...] = ()
        self.paths: tuple[Path, ...] = ()
        self._engine = Engine()
        try:
            self.refresh()
        except BaseException:
            self._engine.close()
            raise

    def refresh(self) -> None:
        """See what was acknowledged since. Cheap where nothing was."""
        for _ in range(_TRIES_MAX - 1):
            try:
                self._refresh()
            except duckdb.IOException:
                continue  # a segment was revised or dropped between its listing and its reading
            return
        self._refresh()

    def _refresh(self) -> None:
        with self._lock:
            frames, hot_problems = self._hot.read()
            segments, problems = self._segments(frames)
            rows, left_out = unsealed(frames, _ranges(segments))
            self.problems = (*problems, *hot_problems, *left_out)
            self.paths = tuple(segment.path for _, segment in segments)
            logs = [(tenant, segment.name.writer) for tenant, segment in segments]
            self._engine.show(list(zip(logs, self.paths, strict=True)), rows)

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

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of the caller's own to the views; the caller closes it."""
        return self._engine.cursor()

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """The answer to a query of ours, as dicts; after a `refresh` if a file went meanwhile."""
        return self.steadily(lambda: self._engine.rows(query, values))

    def steadily(self, ask: Callable[[], Answer]) -> Answer:
        """What `ask` returns, which is asked anew, after a `refresh`, if a file went meanwhile."""
        for _ in range(_TRIES_MAX - 1):
            try:
                return ask()
            except duckdb.IOException:
                self.refresh()
        return ask()

    def stream(self, query: str, values: Sequence[Any] = ()) -> Iterator[dict[str, Any]]:
        """The answer to a query of ours as it comes. Raises QueryFailed where it breaks off."""
        try:
            with self.cursor() as cursor:
                cursor.execute(query, list(values))
                names = [column[0] for column in cursor.description or ()]
                while rows := cursor.fetchmany(_ROWS_AT_ONCE):
                    yield from (dict(zip(names, row, strict=True)) for row in rows)
        except duckdb.Error as error:  # a file that a newer revision replaced, or no memory left
            raise QueryFailed(f"the store could not be read to the end: {error}") from error

    def close(self) -> None:
        """Release the engine."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


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
