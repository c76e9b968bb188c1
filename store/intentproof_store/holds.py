"""Legal holds: what the `hold` leaves of a tenant's logs place and release. Reads only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa
from intentproof_schemas import microseconds, timestamp

from .ranges import Ranges
from .reader import Reader

PLACED, RELEASED = "placed", "released"


@dataclass(frozen=True)
class Hold:
    """A hold that stands. Without ranges or times it covers everything of the tenant.

    Ranges are of one log. Times, of receipt and of all logs, are from the first to before the last.
    """

    hold_id: str
    writer: str
    leaves: tuple[int, ...]
    placed_ns: int
    reason: str
    ranges: Ranges | None = None
    from_ns: int | None = None
    to_ns: int | None = None

    def words(self) -> str:
        """What it covers, for people."""
        if self.ranges is not None:
            return f"{len(self.ranges)} leaves of {self.writer}"
        if self.from_ns is None and self.to_ns is None:
            return "everything"
        return f"what was received from {_shown(self.from_ns)} on, before {_shown(self.to_ns)}"


def _shown(ns: int | None) -> str:
    return "any time" if ns is None else timestamp(microseconds(ns))


def standing_holds(reader: Reader, tenant: str) -> list[Hold]:
    """The holds of a tenant that are not released, by the time of their placing."""
    rows = reader.rows(
        "SELECT writer, log_index, received_ns, detail FROM leaves "
        "WHERE tenant = ? AND kind = 'hold' ORDER BY received_ns, writer, log_index",
        [tenant],
    )
    placed: dict[tuple[str, str], Hold] = {}
    for row in rows:
        detail = orjson.loads(row["detail"])
        hold_id = str(detail.get("hold_id", ""))
        if detail.get("state") == RELEASED:
            placed = {key: hold for key, hold in placed.items() if hold.hold_id != hold_id}
        else:
            key = (hold_id, row["writer"])
            placed[key] = _grown(placed.get(key), _hold(hold_id, row, detail))
    return list(placed.values())


def _hold(hold_id: str, row: dict[str, Any], detail: dict[str, Any]) -> Hold:
    listed = detail.get("log_indexes")
    return Hold(
        hold_id,
        row["writer"],
        (row["log_index"],),
        row["received_ns"],
        str(detail.get("reason", "")),
        None if listed is None else Ranges.read(listed),
        _time(detail.get("from_ns")),
        _time(detail.get("to_ns")),
    )


def _grown(before: Hold | None, more: Hold) -> Hold:
    """One hold of the several leaves that its list took; where they differ, the wider."""
    if before is None:
        return more
    both = before.ranges is not None and more.ranges is not None
    pairs = (*(before.ranges or Ranges()).pairs, *(more.ranges or Ranges()).pairs)
    return Hold(
        more.hold_id,
        more.writer,
        (*before.leaves, *more.leaves),
        before.placed_ns,
        before.reason,
        Ranges.of(pairs) if both else None,
        before.from_ns if both else more.from_ns,
        before.to_ns if both else more.to_ns,
    )


def _time(text: object) -> int | None:
    return int(text) if isinstance(text, str) else None


def holds_on(reader: Reader, tenant: str, writer: str, ranges: Ranges) -> list[Hold]:
    """The standing holds that cover any of these leaves of a log."""
    return [
        hold
        for hold in standing_holds(reader, tenant)
        if _covers(reader, hold, tenant, writer, ranges)
    ]


def _covers(reader: Reader, hold: Hold, tenant: str, writer: str, ranges: Ranges) -> bool:
    if hold.ranges is not None:
        return hold.writer == writer and hold.ranges.meets_any(ranges)
    if hold.from_ns is None and hold.to_ns is None:
        return bool(ranges)
    condition = "received_ns >= ? AND received_ns < ?"
    low = -(2**63) if hold.from_ns is None else hold.from_ns
    high = 2**63 - 1 if hold.to_ns is None else hold.to_ns
    found = leaves_in(reader, tenant, writer, ranges, "1", condition, [low, high])
    return bool(found.num_rows)


def leaves_in(
    reader: Reader,
    tenant: str,
    writer: str,
    ranges: Ranges,
    columns: str,
    condition: str = "true",
    values: Sequence[Any] = (),
) -> pa.Table:
    """Columns of the leaves of a log that are in `ranges`, where `condition` holds."""
    if not ranges:
        return pa.table({})
    firsts, lasts = zip(*ranges.pairs, strict=True)
    wanted = pa.table({"low": pa.array(firsts, pa.int64()), "high": pa.array(lasts, pa.int64())})
    with reader.cursor() as cursor:
        cursor.register("wanted", wanted)
        return cursor.sql(
            f"SELECT {columns} FROM leaves JOIN wanted ON log_index BETWEEN low AND high "  # noqa: S608 - our own texts
            f"WHERE tenant = ? AND writer = ? AND log_index BETWEEN ? AND ? AND {condition}",
            params=[tenant, writer, firsts[0], lasts[-1], *values],
        ).to_arrow_table()
