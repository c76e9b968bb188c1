"""Is this the same event again? Decided within one log, in bounded memory (contract §4).

Ids of unsealed rows and of the last sealed segments are in memory with a digest of each content.
Older ids are, for the dates that an event looks at, hashes in `idruns`; only an id that is found
there is looked up in the segments. Rows whose id is not known and stands once in its batch are
judged together, by columns; the others one by one.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .digests import Digests
from .idruns import IdRuns
from .idtable import Array, IdKeys, IdTable
from .layout import DAY_NS, day_number, day_text
from .leafcolumns import EventTexts, event_texts
from .records import ERASED_PAYLOAD, StoredTellings, Tellings, Verdict, merged, record_of

RECENT_IDS_MAX = 50_000
_RECENT_SEGMENTS_MAX = 8  # each is asked for each batch

LookUp = Callable[[Sequence[str], Sequence[Path]], pa.RecordBatch]


@dataclass(eq=False)
class Generation:
    """The ids of one segment's leaves, sealed or not.

    `records` has what came of further tellings, also of events whose first is older.
    """

    day: str
    table: IdTable = field(default_factory=IdTable)
    records: dict[bytes, bytes] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table) + len(self.records)


Places = list[tuple[Generation, Array]]  # where each id of a batch stands, newest first


class Sameness:
    """What one log knows of the events it holds. One thread only.

    `aside` is a folder on local disk where it may keep what it can make again.
    """

    def __init__(self, *, look_up: LookUp, today: str, aside: Path) -> None:
        self._digests = Digests()
        self._look_up = look_up
        self._open = Generation(today)
        self._durable = 0  # how many ids of the open table are; those behind are staged
        self._staged: dict[bytes, bytes] = {}
        self._older: list[Generation] = []
        self._runs = IdRuns(self._digests.ids, aside)
        self._early: set[bytes] = set()
        self._fetched: dict[bytes, bytes] = {}
        self._partial: dict[bytes, bytes] = {}

    def add_segments(self, day: str, paths: Iterable[Path]) -> None:
        """Tell of segments that were sealed before this process started."""
        self._runs.add_unread(day, paths)

    def add_early(self, ids: Iterable[str]) -> None:
        """Tell of ids received more than a day before their completion."""
        self._early.update(self._digests.ids(pa.array(list(ids), pa.string())).texts())

    def early(self, events: pa.RecordBatch, received_ns: int) -> list[str]:
        """Ids of events whose resend would not look at the day on which they are received."""
        completed = _completed_ns(events)
        early = completed // DAY_NS - 1 > day_number(received_ns)
        if not early.any():
            return []
        column = events.column("event_id").filter(pa.array(early))
        found = zip(self._digests.ids(column).texts(), column.to_pylist(), strict=True)
        return [event_id for key, event_id in found if key not in self._early]

    def judge(self, events: pa.RecordBatch, texts: EventTexts, today: str) -> Array:
        """The verdict on each event; from now on, unless the group fails, all are known."""
        told = Tellings(events, texts, self._digests)
        places = self._places(told.ids)
        known = self._known(told.ids, places)
        self._fetch(events, told.ids, np.flatnonzero(~known), today)
        doubtful = known | told.ids.repeated()
        if self._fetched:
            doubtful |= np.fromiter((key in self._fetched for key in told.ids.texts()), bool)
        verdicts = np.full(len(known), Verdict.NEW, np.uint8)
        if doubtful.any():
            self._judge_each(told, np.flatnonzero(doubtful).tolist(), places, verdicts)
        self._open.table.add(*_of_rows(told, verdicts == Verdict.NEW))
        return verdicts

    def _judge_each(
        self, told: Tellings, rows: Sequence[int], places: Places, verdicts: Array
    ) -> None:
        keys = told.ids.texts()
        first: dict[bytes, bytes] = {}
        for row in rows:
            key = keys[row]
            record = self._record(key, row, places) or first.get(key) or self._fetched.get(key)
            if record is None:
                first[key] = told.first(row)
                continue
            verdicts[row], grown = told.judged(row, record)
            if grown != record:
                self._staged[key] = grown

    def _places(self, ids: IdKeys) -> Places:
        generations = (self._open, *reversed(self._older))
        return [(generation, generation.table.find(ids)) for generation in generations]

    def _known(self, ids: IdKeys, places: Places) -> Array:
        known = np.zeros(len(ids), bool)
        records = [each for each in (self._staged, *(g.records for g, _ in places)) if each]
        if records:
            keys = ids.texts()
            known |= np.fromiter((any(key in each for each in records) for key in keys), bool)
        for _, found in places:
            known |= found >= 0
        return known

    def _record(self, key: bytes, row: int, places: Places) -> bytes | None:
        """The newest record in memory."""
        record = self._staged.get(key)
        for generation, found in places:
            if record is None:
                record = generation.records.get(key)
            if record is None and found[row] >= 0:
                record = record_of(*generation.table.row(found[row]))
        return record

    def _fetch(self, events: pa.RecordBatch, ids: IdKeys, unknown: Array, today: str) -> None:
        """Look up, in one go, the unknown ids of a batch that may stand in older segments."""
        self._fetched.clear()
        if not len(unknown) or not (self._runs or self._partial):
            return
        wanted = self._wanted(ids, unknown, _completed_ns(events)[unknown] // DAY_NS - 1, today)
        paths = sorted(set().union(*wanted.values())) if wanted else []
        if paths:
            rows = pa.array(sorted(wanted), pa.int64())
            texts = sorted(set(events.column("event_id").take(rows).to_pylist()))
            self._remember(self._look_up(texts, paths))
        if self._partial:
            keys = ids.texts()
            for key in {keys[row] for row in unknown} & self._partial.keys():
                self._fetched[key] = merged(self._fetched.get(key, b""), self._partial[key])

    def _wanted(
        self, ids: IdKeys, unknown: Array, starts: Array, today: str
    ) -> dict[int, set[Path]]:
        """In which segments to look for which rows; a row's window begins on day `starts`."""
        wanted: dict[int, set[Path]] = {}
        for start in np.unique(starts).tolist():
            rows = unknown[starts == start]
            for day in self._runs.days(day_text(start), today):
                for row in rows[self._runs.maybe(ids.hashes[rows], day)].tolist():
                    wanted.setdefault(row, set()).update(self._runs.paths([day]))
        if self._early:
            keys = ids.texts()
            for row in unknown.tolist():
                if keys[row] in self._early:
                    wanted.setdefault(row, set()).update(self._runs.paths())
        return wanted

    def commit(self) -> None:
        """The group is durable: what was judged is known."""
        self._durable = len(self._open.table)
        self._open.records.update(self._staged)
        self._staged.clear()
        self._fetched.clear()

    def discard(self) -> None:
        """The group failed: what was judged is forgotten."""
        self._open.table.truncate(self._durable)
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
        self._open, self._durable = Generation(next_day), 0
        return ended

    def sealed(self, generation: Generation, path: Path) -> None:
        """A generation's segment is in place; the oldest ids become runs."""
        self._runs.add_segment(generation.day, path)
        # Generations are sealed in order.
        done = self._older[: self._older.index(generation) + 1]
        while len(done) > _RECENT_SEGMENTS_MAX or sum(map(len, done)) > RECENT_IDS_MAX:
            oldest = done.pop(0)
            self._older.remove(oldest)
            more = self._digests.keyed(b"".join(oldest.records))
            self._runs.add_run(oldest.day, np.concatenate([oldest.table.hashes, more.hashes]))

    def forget(self, ids: pa.Array) -> None:
        """The payloads of these events are erased: whatever has one of the ids is a duplicate."""
        self._open.records.update(dict.fromkeys(self._digests.ids(ids).texts(), ERASED_PAYLOAD))

    def replace_segment(self, day: str, old: Path, new: Path | None) -> None:
        """Another revision took a segment's place, or its leaves were dropped."""
        self._runs.replace(day, old, new)

    def restore(self, rows: pa.RecordBatch) -> None:
        """Learn the rows of a hot frame again."""
        rows = rows.filter(pc.is_valid(rows.column("event_id")))
        if not rows.num_rows:
            return
        told = StoredTellings(rows, event_texts(rows), self._digests)
        places = self._places(told.ids)
        is_event = np.fromiter((kind == "event" for kind in told.kinds), bool)
        plain = is_event & ~self._known(told.ids, places) & ~told.ids.repeated()
        keys = told.ids.texts()
        for row in np.flatnonzero(~plain).tolist():
            key = keys[row]
            record = self._record(key, row, places)
            if record is not None or is_event[row]:
                self._open.records[key] = told.onto(record or b"", row)
            else:
                # The first telling is in a segment: to be read when the id comes again.
                self._partial[key] = told.onto(self._partial.get(key, b""), row)
        self._open.table.add(*_of_rows(told, plain))
        self._durable = len(self._open.table)

    def _remember(self, rows: pa.RecordBatch) -> None:
        """Keep, for this batch, what segments have of its ids."""
        if not rows.num_rows:
            return
        told = StoredTellings(rows, event_texts(rows), self._digests)
        keys, indexes = told.ids.texts(), rows.column("log_index").to_pylist()
        for row in sorted(
            range(len(keys)), key=lambda row: (told.kinds[row] != "event", indexes[row])
        ):
            self._fetched[keys[row]] = told.onto(self._fetched.get(keys[row], b""), row)


def _of_rows(told: Tellings, which: Array) -> tuple[IdKeys, Array, Array | None]:
    """Ids, contents and numbers of some rows."""
    if which.all():
        return told.ids, told.contents, told.numbers
    ids = IdKeys(told.ids.keys[which], told.ids.hashes[which])
    return ids, told.contents[which], None if told.numbers is None else told.numbers[which]


def _completed_ns(events: pa.RecordBatch) -> Array:
    started, completed = (
        events.column(name).to_numpy(zero_copy_only=False)
        for name in ("started_ns", "completed_ns")
    )
    made: Array = np.maximum(started, completed)
    return made
