"""One event of a tenant by its id, among many segments.

What DuckDB would open each of them for, bloom filters say in 32 bytes of each row group; only
files that may hold the id are asked. What is learnt of a sealed file is remembered: it never
changes.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .bloom import BLOCK_BYTES, Hashes, bitset_place, block_numbers, may_hold, xxh64
from .columns import COLUMNS
from .errors import StoreMissing
from .hotread import HotReader, unsealed
from .identity import read_hot_key, trusted_keys
from .layout import Layout, check_tenant
from .segments import Segment, SegmentProblem, find_segments

# Moments are the numbers beside them, and fetching them would need a time zone library.
_WANTED = tuple(name for name in COLUMNS if not name.endswith("_at"))
_MEMORY_LIMIT = "256MB"
_Filters = list[tuple[int, int]]


@dataclass
class _Tenant:
    """What is known of a tenant's files."""

    hot: HotReader
    checked: dict[tuple[Path, int, int], Segment | SegmentProblem] = field(default_factory=dict)
    filters: dict[Path, _Filters | None] = field(default_factory=dict)


class EventFinder:
    """Finds rows of events by id. Not thread-safe; blocks on the disk. To be closed.

    As `Reader`: `home` adds keys, with which notes and hot frames are checked.
    """

    def __init__(self, store: Path, *, hot: Path | None = None, home: Path | None = None) -> None:
        self._layout = Layout(store.resolve())
        self._hot = hot or store / "hot"
        self._home = home
        self._tenants: dict[str, _Tenant] = {}
        self._connection: duckdb.DuckDBPyConnection | None = None

    def row(self, tenant: str, event_id: str) -> dict[str, Any] | None:
        """The row that is the event of that id in `events`, without its `_at`; None without one.

        Raises StoreMissing, TenantInvalid and HomeInvalid.
        """
        try:
            return self._row(tenant, event_id)
        except (FileNotFoundError, duckdb.IOException):  # another revision took a file's place
            return self._row(tenant, event_id)

    def close(self) -> None:
        """Release the engine."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _row(self, tenant: str, event_id: str) -> dict[str, Any] | None:
        if not self._layout.root.is_dir():
            raise StoreMissing(self._layout.root)
        known = self._known(tenant)
        keys = () if self._home is None else trusted_keys(self._home)
        frames, _ = known.hot.read()  # before the segments: what is sealed meanwhile is in both
        segments, _ = find_segments(self._layout, tenant, keys=keys, checked=known.checked)
        ranges: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for each in segments:
            log = (tenant, each.name.writer)
            ranges.setdefault(log, []).append((each.name.first, each.name.last))
        hot, _ = unsealed(frames, {log: sorted(found) for log, found in ranges.items()})
        paths = [each.path for each in segments]
        found = self._sealed(_may_hold(known.filters, paths, event_id), event_id)
        for rows in hot:
            same = rows.batch.filter(pc.equal(rows.batch.column("event_id"), event_id))
            found += same.select(_WANTED).to_pylist()
        events = [row for row in found if row["kind"] == "event"]
        order = ("received_ns", "writer", "log_index")
        return min(events, key=lambda row: [row[name] for name in order], default=None)

    def _known(self, tenant: str) -> _Tenant:
        known = self._tenants.get(tenant)
        if known is None:
            key = None if self._home is None else read_hot_key(self._home)
            hot = HotReader(self._hot, key=key, tenants=(check_tenant(tenant),))
            known = self._tenants[tenant] = _Tenant(hot)
        return known

    def _sealed(self, paths: Sequence[Path], event_id: str) -> list[dict[str, Any]]:
        if not paths:
            return []
        if self._connection is None:
            self._connection = duckdb.connect(
                config={"threads": 1, "memory_limit": _MEMORY_LIMIT, "temp_directory": ""}
            )
        cursor = self._connection.execute(
            f"SELECT {', '.join(_WANTED)} FROM read_parquet(?, hive_partitioning = false) "  # noqa: S608 - our own column names
            "WHERE event_id = ?",
            [[str(path) for path in paths], event_id],
        )
        return [dict(zip(_WANTED, row, strict=True)) for row in cursor.fetchall()]


def _may_hold(
    known: dict[Path, _Filters | None], paths: Iterable[Path], event_id: str
) -> list[Path]:
    """The files that a bloom filter does not exclude."""
    hashed = xxh64(pa.array([event_id]))
    found = []
    for path in paths:
        if path not in known:
            known[path] = _filters(path)
        filters = known[path]
        if filters is None or _in_one_of(path, filters, hashed):
            found.append(path)
    return found


def _filters(path: Path) -> _Filters | None:
    """Where the bits of a segment's filters of event ids are; None where one has none."""
    metadata = pq.read_metadata(path)
    filters = []
    for at in range(metadata.num_row_groups):
        column = metadata.row_group(at).column(COLUMNS.index("event_id"))
        offset, length = column.bloom_filter_offset, column.bloom_filter_length
        if offset is None or not length:
            return None
        filters.append(bitset_place(offset, length))
    return filters


def _in_one_of(path: Path, filters: _Filters, hashed: Hashes) -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        raw = b"".join(
            os.pread(
                descriptor, BLOCK_BYTES, offset + int(block_numbers(hashed, size)[0]) * BLOCK_BYTES
            )
            for offset, size in filters
        )
    finally:
        os.close(descriptor)
    if len(raw) < len(filters) * BLOCK_BYTES:
        return True  # cut off: told where it is read
    return bool(may_hold(np.frombuffer(raw, "<u4").reshape(-1, 8), hashed).any())
