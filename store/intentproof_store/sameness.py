"""Is this the same event again? Decided within one log, in bounded memory (contract §4).

Ids of unsealed rows and of the last sealed segments are in memory with a digest of each content.
Older ids are, for the dates that an event looks at, sorted runs of 64-bit hashes, eight bytes an
id; only an id that is found there is looked up in the segments. Past `RUN_IDS_MAX` ids the oldest
dates lose their runs and every unknown id is looked up in them by bloom filter: slower, never
wrong. Digests are keyed by a secret of the process and never leave its memory.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
from intentproof_schemas import ExecutionEvent, context_text, payload_text

from .fromrow import event_of_row
from .layout import DAY_NS, day_number, day_text
from .lookup import segment_ids

RECENT_IDS_MAX = 50_000
RUN_IDS_MAX = 8_000_000
_CELL = 16
_RUNS_A_DATE_MAX = 8
_WHOLE = b"\x00"
_NO_CONTEXT = b"\x01"
_NO_PAYLOAD = b"\x02"

Rows = list[dict[str, Any]]
LookUp = Callable[[Sequence[str], Sequence[Path]], Rows]


class Verdict(Enum):
    """What an arriving event is to the log."""

    NEW = "new"
    DUPLICATE = "duplicate"
    NUMBERED = "numbered"
    CONFLICT = "conflict"


class Told(NamedTuple):
    """An arriving event with its committed texts."""

    event: ExecutionEvent
    context: bytes
    payload: bytes


@dataclass(eq=False)
class Generation:
    """The ids of one segment's leaves, sealed or not."""

    day: str
    known: dict[str, bytes] = field(default_factory=dict)


class Sameness:
    """What one log knows of the events it holds. One thread only."""

    def __init__(self, *, look_up: LookUp, today: str) -> None:
        self._secret = secrets.token_bytes(32)
        self._look_up = look_up
        self._open = Generation(today)
        self._older: list[Generation] = []
        self._staged: dict[str, bytes] = {}
        self._runs: dict[str, list[np.ndarray[Any, Any]]] = {}
        self._segments: dict[str, list[Path]] = {}
        self._unread: set[str] = set()
        self._unfiltered: set[str] = set()
        self._early: set[str] = set()
        self._fetched: dict[str, bytes] = {}
        self._partial: dict[str, bytes] = {}

    def add_segments(self, day: str, paths: Iterable[Path]) -> None:
        """Tell of segments that were sealed before this process started."""
        self._segments.setdefault(day, []).extend(paths)
        self._unread.add(day)

    def add_early(self, ids: Iterable[str]) -> None:
        """Tell of ids received more than a day before their completion."""
        self._early.update(ids)

    def is_early(self, event: ExecutionEvent, received_ns: int) -> bool:
        """Whether a resend of the event would not look at the day on which it is received."""
        return (
            _completed_ns(event) - DAY_NS > received_ns
            and _window_start(event) > day_number(received_ns)
            and event.event_id not in self._early
        )

    def prepare(self, events: Sequence[ExecutionEvent], today: str) -> None:
        """Look up, in one go, the ids of a group that may stand in older segments."""
        self._fetched.clear()
        if not self._segments and not self._partial:
            return
        unknown = {
            event.event_id: _window_start(event)
            for event in events
            if self._recent(event.event_id) is None
        }
        wanted: dict[str, set[Path]] = {}
        for start in set(unknown.values()):
            ids = [event_id for event_id, begin in unknown.items() if begin == start]
            for day in self._days(day_text(start), today):
                for event_id in self._maybe(ids, day):
                    wanted.setdefault(event_id, set()).update(self._segments[day])
        for event_id in unknown.keys() & self._early:
            everywhere = (path for paths in self._segments.values() for path in paths)
            wanted.setdefault(event_id, set()).update(everywhere)
        paths = sorted(set().union(*wanted.values())) if wanted else []
        if paths:
            self._remember(self._look_up(sorted(wanted), paths))
        for event_id in unknown.keys() & self._partial.keys():
            self._fetched[event_id] = (
                self._fetched.get(event_id, _WHOLE) + self._partial[event_id][1:]
            )

    def _days(self, start: str, today: str) -> list[str]:
        # From the window's start on, today always; later dates exist where the clock was set back.
        return sorted(day for day in self._segments if day >= min(start, today))

    def _maybe(self, ids: Sequence[str], day: str) -> Sequence[str]:
        """Which of the ids may stand in that day's segments."""
        if day in self._unfiltered:
            return ids
        if day in self._unread:
            self._read_day(day)
            if day in self._unfiltered:
                return ids  # too many to remember
        hashed = np.fromiter((hash(event_id) for event_id in ids), np.int64, len(ids))
        found = np.zeros(len(ids), bool)
        for run in self._runs.get(day, ()):
            at = np.searchsorted(run, hashed)
            at[at == len(run)] = 0
            found |= run[at] == hashed
        return [ids[place] for place in np.flatnonzero(found).tolist()]

    def _read_day(self, day: str) -> None:
        self._unread.discard(day)
        ids = segment_ids(self._segments[day])
        if len(ids):
            self._add_run(day, np.fromiter((hash(i) for i in ids), np.int64, len(ids)))

    def _add_run(self, day: str, hashed: "np.ndarray[Any, Any]") -> None:
        runs = self._runs.setdefault(day, [])
        runs.append(np.sort(hashed))
        if len(runs) > _RUNS_A_DATE_MAX:
            self._runs[day] = [np.sort(np.concatenate(runs))]
        while sum(len(run) for each in self._runs.values() for run in each) > RUN_IDS_MAX:
            oldest = min(self._runs)
            del self._runs[oldest]
            self._unfiltered.add(oldest)

    def _recent(self, event_id: str) -> bytes | None:
        for known in (self._staged, self._open.known):
            record = known.get(event_id)
            if record is not None:
                return record
        for generation in reversed(self._older):
            record = generation.known.get(event_id)
            if record is not None:
                return record
        return None

    def judge(self, told: Told) -> Verdict:
        """What the event is, and from now on, unless the group fails, a known one."""
        event_id = told.event.event_id
        record = self._recent(event_id) or self._fetched.get(event_id)
        if record is None:
            content = _WHOLE + self._content(told)
            number = self._number(told.event) if told.event.sequence else b""
            self._staged[event_id] = content + number
            return Verdict.NEW
        if record[:1] == _NO_PAYLOAD:
            return Verdict.DUPLICATE
        content = self._content(told, context=record[:1] == _WHOLE)
        number = self._number(told.event)
        cells = {record[at : at + _CELL] for at in range(1, len(record), _CELL)}
        if content not in cells:
            self._staged[event_id] = record + content + (number if number not in cells else b"")
            return Verdict.CONFLICT
        if number and number not in cells:
            self._staged[event_id] = record + number
            return Verdict.NUMBERED
        return Verdict.DUPLICATE

    def commit(self) -> None:
        """The group is durable: what was judged is known."""
        self._open.known.update(self._staged)
        self._staged.clear()
        self._fetched.clear()

    def discard(self) -> None:
        """The group failed: what was judged is forgotten."""
        self._staged.clear()
        self._fetched.clear()

    def begin(self, day: str) -> None:
        """The next segment, of which there is no leaf yet, is received on `day`."""
        self._open.day = day

    def cut(self, day: str, next_day: str) -> Generation:
        """End the segment received on `day` and begin the next; the ids of the one that ends."""
        ended = self._open
        ended.day = day
        self._older.append(ended)
        self._open = Generation(next_day)
        return ended

    def sealed(self, generation: Generation, path: Path) -> None:
        """A generation's segment is in place; the oldest ids become runs."""
        self._segments.setdefault(generation.day, []).append(path)
        done = [each for each in self._older if self._is_sealed(each, generation)]
        while sum(len(each.known) for each in done) > RECENT_IDS_MAX:
            oldest = done.pop(0)
            self._older.remove(oldest)
            ids = oldest.known
            self._add_run(oldest.day, np.fromiter((hash(i) for i in ids), np.int64, len(ids)))

    def _is_sealed(self, candidate: Generation, newest: Generation) -> bool:
        # Generations are sealed in order.
        return self._older.index(candidate) <= self._older.index(newest)

    def _content(self, told: Told, *, context: bool = True) -> bytes:
        """A digest of all that two tellings of one event must share."""
        event = told.event
        # Slices of its tuple: this runs for every event, and so does each name that is looked up.
        ids_to_provenance, run_and_stage, dropped = event[1:9], event[16:18], event[20:23]
        core = orjson.dumps((*ids_to_provenance, *run_and_stage, *dropped))
        shared = told.context if context else b""
        text = b"\n".join((self._secret, core, shared, told.payload))
        return hashlib.sha256(text).digest()[:_CELL]

    def _number(self, event: ExecutionEvent) -> bytes:
        if not event.sequence:
            return b""
        text = f"{event.sequence}\n{event.stream_id}".encode()
        return hashlib.sha256(self._secret + b"number\n" + text).digest()[:_CELL]

    def restore(self, rows: Rows) -> None:
        """Learn the rows of a hot frame again."""
        for row in rows:
            event_id = row["event_id"]
            if event_id is None:
                continue
            record = self._recent(event_id)
            if record is not None or row["kind"] == "event":
                self._open.known[event_id] = self._with_row(record or b"", row)
            else:
                # The first telling is in a segment: to be read when the id comes again.
                told = self._partial.get(event_id, b"")
                self._partial[event_id] = self._with_row(told, row)

    def _remember(self, rows: Rows) -> None:
        for row in sorted(rows, key=lambda row: (row["kind"] != "event", row["log_index"])):
            event_id = row["event_id"]
            self._fetched[event_id] = self._with_row(self._fetched.get(event_id, b""), row)

    def _with_row(self, record: bytes, row: dict[str, Any]) -> bytes:
        """A record with what a stored row adds to it."""
        event = event_of_row(row)
        if row["kind"] == "numbered":
            return (record or _WHOLE) + self._number(event)
        if not record:
            record = _WHOLE
            if row["payload_salt"] is None:
                record = _NO_PAYLOAD
            elif row["context_salt"] is None:
                record = _NO_CONTEXT
        if record[:1] == _NO_PAYLOAD or row["payload_salt"] is None:
            return record
        told = Told(event, context_text(event), payload_text(event))
        return record + self._content(told, context=record[:1] == _WHOLE) + self._number(event)


def _completed_ns(event: ExecutionEvent) -> int:
    return max(event.started_ns, event.completed_ns)


def _window_start(event: ExecutionEvent) -> int:
    """The first day that is looked at: the one before the event's completion."""
    return day_number(_completed_ns(event)) - 1
