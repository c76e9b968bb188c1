"""One tenant's log as the writer sees it: where it ends, what is hot, what is the same again."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from .clerk import CheckpointJob, SealJob
from .holes import Holes
from .hotlog import FrameRef
from .idtable import Array
from .leafcolumns import event_texts
from .quarantine import Quarantine, Undecodable
from .records import Verdict
from .roster import ROSTER_KINDS, Roster
from .rows import RowMaker
from .sameness import Sameness
from .silence import SECOND_NS, Restart, step_back
from .textcolumns import Piece

KEPT_KINDS = (*ROSTER_KINDS, "quarantine")  # whose leaves a log remembers, across restarts too


@dataclass(frozen=True)
class Arrival:
    """What one `append` brought, as columns; or leaves that tell something, as kind and detail."""

    events: pa.RecordBatch
    undecodable: Sequence[Undecodable] = ()
    told: Sequence[tuple[str, dict[str, Any]]] = ()


@dataclass(frozen=True)
class Appended:
    """What became of one append. Duplicates count events that were there already."""

    stored: int = 0
    duplicates: int = 0
    conflicts: int = 0
    quarantined: int = 0


@dataclass
class TenantLog:
    """The writer's state of one log. One thread only."""

    tenant: str
    sameness: Sameness
    quarantine: Quarantine
    roster: Roster
    size: int
    day: str
    hot_since: float = 0.0
    refs: list[FrameRef] = field(default_factory=list)
    hot_rows: int = 0
    hot_bytes: int = 0
    quiet: bool = False  # nothing but heartbeats is hot
    sealed_rows: int = 0
    unsigned: list[FrameRef | bytes] = field(default_factory=list)
    last_received_ns: int = 0
    last_leaf: float = field(default_factory=time.monotonic)
    restart: Restart | None = None
    rounds_due: float = 0.0
    roster_due: float = 0.0
    steps_back: int = 0
    holes: Holes = field(default_factory=Holes)
    numbered: list[pa.RecordBatch] = field(default_factory=list)
    telling: list[tuple[int, str, str]] = field(default_factory=list)
    unsigned_genesis: bytes | None = None
    checkpoint_due: float = 0.0
    checkpoint_size: int = 0
    unsigned_since: float = 0.0
    totals: Appended = Appended()

    def admit(self, maker: RowMaker, arrivals: Sequence[Arrival], today: str) -> list[Appended]:
        """Turn what arrived into rows of `maker`. Nothing is final until `commit`.

        Events and conflicts come first, in the order of their arrival, then further stream
        numbers, then what was quarantined.
        """
        verdicts = self._admit_events(maker, [arrival.events for arrival in arrivals], today)
        results = []
        first = 0
        for arrival in arrivals:
            told = verdicts[first : first + arrival.events.num_rows]
            first += len(told)
            counts = np.bincount(told, minlength=len(Verdict)).tolist()
            results.append(
                Appended(
                    stored=counts[Verdict.NEW],
                    duplicates=counts[Verdict.DUPLICATE] + counts[Verdict.NUMBERED],
                    conflicts=counts[Verdict.CONFLICT],
                    quarantined=self._admit_undecodable(maker, arrival.undecodable),
                )
            )
            for kind, detail in arrival.told:
                index = self.size + maker.rows
                maker.add_detail(kind, detail)
                self.telling.append((index, kind, orjson.dumps(detail).decode()))
        return results

    def learn(self, log_index: int, kind: str, detail: str) -> None:
        """Take a leaf of KEPT_KINDS that is in the log already."""
        if kind == "quarantine":
            self.quarantine.learn([detail])
        else:
            self.roster.learn(log_index, kind, detail)

    @property
    def is_ended(self) -> bool:
        """Whether its last leaf says that it ends. It goes on when something arrives."""
        return self.roster.retired_at == self.size - 1

    def _admit_events(
        self, maker: RowMaker, batches: Sequence[pa.RecordBatch], today: str
    ) -> Array:
        filled = [batch for batch in batches if batch.num_rows]
        if not filled:
            return np.empty(0, np.uint8)
        events = filled[0] if len(filled) == 1 else pa.concat_batches(filled)
        texts = event_texts(events)
        verdicts = self.sameness.judge(events, texts, today)
        self.numbered.append(events.select(["stream_id", "sequence"]))
        conflicts = verdicts == Verdict.CONFLICT
        kept = (verdicts == Verdict.NEW) | conflicts
        kinds: Piece = "event"
        if conflicts.any():
            kinds = pa.array(np.where(conflicts[kept], "conflict", "event"), pa.string())
        if kept.all():
            maker.add_events(events, texts, kinds)
        elif kept.any():
            some = events.filter(pa.array(kept))
            maker.add_events(some, event_texts(some), kinds)
        numbered = verdicts == Verdict.NUMBERED
        if numbered.any():
            maker.add_numbered(events.filter(pa.array(numbered)))
        return verdicts

    def _admit_undecodable(self, maker: RowMaker, undecodable: Sequence[Undecodable]) -> int:
        details = [self.quarantine.put(item) for item in undecodable]
        kept = [detail for detail in details if detail is not None]
        for detail in kept:
            maker.add_detail("quarantine", detail)
        return len(kept)

    def tell_silence(self, maker: RowMaker, interval_seconds: float) -> bool:
        """Add the leaves that tell why nothing came before these rows; whether there are any."""
        told = False
        stepped = step_back(self.last_received_ns, maker.received_ns)
        self.steps_back += stepped is not None
        restart = self.restart.detail(interval_seconds) if self.restart else None
        for detail in (restart, stepped):
            if detail is not None:
                maker.add_detail("gap", detail)
                told = True
        return told

    def is_silent(self, interval_seconds: float, *, now: float, now_ns: int) -> bool:
        """Whether it had no leaf for an interval, by either clock: the wall clock may go back."""
        passed_ns = now_ns - self.last_received_ns
        return passed_ns >= interval_seconds * SECOND_NS or now - self.last_leaf >= interval_seconds

    def commit(self, refs: Sequence[FrameRef], results: Sequence[Appended]) -> None:
        """The rows are durable."""
        self.sameness.commit()
        self.quarantine.commit()
        self.took(refs)
        if refs:
            self.restart = None  # its leaf stands before these rows
        for index, kind, detail in self.telling:
            self.learn(index, kind, detail)
        self.telling.clear()
        for numbers in self.numbered:
            self.holes.see(numbers, self.last_leaf)
        self.numbered.clear()
        for result in results:
            self.totals = Appended(
                self.totals.stored + result.stored,
                self.totals.duplicates + result.duplicates,
                self.totals.conflicts + result.conflicts,
                self.totals.quarantined + result.quarantined,
            )

    def took(self, refs: Sequence[FrameRef]) -> None:
        """Count frames that are durable."""
        if refs:
            self.last_leaf = time.monotonic()
            self.unsigned_since = self.unsigned_since or self.last_leaf
        for ref in refs:
            self.refs.append(ref)
            self.size = ref.end
            self.hot_rows += ref.rows
            self.hot_bytes += ref.value_bytes
        self.unsigned += refs

    def discard(self) -> None:
        """The rows were refused by the disk."""
        self.numbered.clear()
        self.telling.clear()
        self.sameness.discard()
        self.quarantine.discard()

    def cut(self, next_day: str) -> SealJob | None:
        """The job that seals all that is hot, or None if nothing is."""
        if not self.refs:
            self.day = next_day
            self.sameness.begin(next_day)
            return None
        generation = self.sameness.cut(self.refs[0].day, next_day)
        job = SealJob(self.tenant, tuple(self.unsigned), self.size, tuple(self.refs), generation)
        self.refs, self.hot_rows, self.hot_bytes, self.hot_since = [], 0, 0, 0.0
        self.quiet = False
        self.unsigned.clear()
        self.checkpoint_size = self.size
        self.unsigned_since = 0.0
        self.day = next_day
        return job

    def checkpoint(self) -> CheckpointJob | None:
        """The job that signs all that is durable, or None if that is signed."""
        if self.checkpoint_size == self.size:
            return None
        job = CheckpointJob(self.tenant, tuple(self.unsigned), self.size)
        self.unsigned.clear()
        self.checkpoint_size = self.size
        self.unsigned_since = 0.0
        return job
