"""What a check of consecutive leaves finds, and what it keeps of each. No file is read here."""

from dataclasses import dataclass, field

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from ..columns import HALVES
from ..merkle import HASH_BYTES
from ..rowcheck import BatchReport
from .event_ids import Marker, OrderedMarks, Words
from .life import LIFE_KINDS, Array, LifeLeaf, Run, life_leaf, runs_of
from .report import Problem
from .skipping import Tell
from .spill import Kept, Spill

_PROBLEMS_MAX = 100  # of one segment: one altered byte may contradict every row
_ABSENT = bytes(HASH_BYTES)
_TOLD_KINDS = ("genesis", "erasure", "retention", "quarantine", "gap")
_READ_KINDS = tuple(dict.fromkeys((*_TOLD_KINDS, *LIFE_KINDS)))


@dataclass
class LeavesReport:
    """What consecutive leaves say: their hashes, 32 bytes each, zeros where a leaf is absent.

    What there is of each leaf moves into a spill when all were taken, by `keep`.
    """

    first: int
    rows: int
    own_hashes: bytearray
    own_events: bytearray
    problems: list[Problem] = field(default_factory=list)
    erased: dict[str, list[int]] = field(default_factory=lambda: {half: [] for half in HALVES})
    details: list[tuple[int, str, str]] = field(default_factory=list)
    taken: int = 0
    life: list[LifeLeaf] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    moments: list[tuple[Array, Array]] = field(default_factory=list)
    marks: list[tuple[Words, Words]] = field(default_factory=list)
    ordered: OrderedMarks | None = None
    kept: tuple[Kept, Kept] | None = None
    kept_erased: dict[str, Kept] = field(default_factory=dict)

    @classmethod
    def of(cls, first: int, rows: int) -> "LeavesReport":
        """An empty report of so many leaves."""
        return cls(first, rows, bytearray(rows * HASH_BYTES), bytearray(rows))

    @property
    def end(self) -> int:
        """One past the last leaf."""
        return self.first + self.rows

    @property
    def whole(self) -> bool:
        """Whether every leaf could be read; of a damaged file, some may be absent."""
        return self.taken == self.rows

    @property
    def hashes(self) -> bytearray | Kept:
        """The leaf hashes, 32 bytes each."""
        return self.own_hashes if self.kept is None else self.kept[0]

    @property
    def event_indexes(self) -> bytes:
        """A byte for each leaf, 1 where it is an event's."""
        return bytes(self.own_events) if self.kept is None else self.kept[1][:]

    def keep(self, spill: Spill) -> None:
        """Move what there is of each leaf into a spill."""
        self.ordered, self.marks = OrderedMarks.of(self.marks, spill), []
        gone = {half: self.gone(half).tobytes() for half in HALVES}
        self.kept_erased = {half: spill.keep(raw) for half, raw in gone.items()}
        self.erased = {}
        self.kept = spill.keep(self.own_hashes), spill.keep(self.own_events)
        self.own_hashes, self.own_events = bytearray(), bytearray()

    def gone(self, half: str) -> Array:
        """The log indexes of events that lack a half, in any order."""
        if self.kept is None:
            return np.array(self.erased[half], np.int64)
        return np.frombuffer(self.kept_erased[half][:], np.int64)

    def _place_all(self, indexes: pa.Array, hashes: list[bytes]) -> bool:
        """Put all hashes in their places at once; False, and nothing put, where one has none."""
        if indexes.null_count or not hashes:
            return False
        places = indexes.to_numpy() - self.first
        if places.min() < 0 or places.max() >= self.rows:
            return False
        table = np.frombuffer(self.own_hashes, np.uint8).reshape(-1, HASH_BYTES)
        free = np.ones(self.rows, bool)
        free[places] = False
        if len(places) != len(free) - np.count_nonzero(free) or table[places].any():
            return False
        table[places] = np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, HASH_BYTES)
        self.taken += len(hashes)
        return True

    def _place_each(
        self, indexes: list[int | None], is_event: list[bool], hashes: list[bytes], file: str
    ) -> None:
        """Put each hash in its place, as far as it has one that is free."""
        for index, event, hashed in zip(indexes, is_event, hashes, strict=True):
            place = -1 if index is None else (index - self.first) * HASH_BYTES
            inside = 0 <= place < len(self.own_hashes)
            if inside and event:
                self.own_events[place // HASH_BYTES] = 1
            if not inside or self.own_hashes[place : place + HASH_BYTES] != _ABSENT:
                message = f"log index {index} is twice or outside the segment"
                self.problems.append(Problem("column_differs", message, file, index))
                continue
            self.own_hashes[place : place + HASH_BYTES] = hashed
            self.taken += 1

    def add(
        self, batch: pa.RecordBatch, checked: BatchReport, file: str, *, marker: Marker
    ) -> None:
        """Take a checked batch; a log index outside or twice is a problem."""
        column = batch.column("log_index")
        is_event = pc.equal(batch.column("kind"), "event")
        if self._place_all(column, checked.leaf_hashes):
            events = column.filter(is_event).to_numpy() - self.first
            np.frombuffer(self.own_events, np.uint8)[events] = 1
        else:
            self._place_each(column.to_pylist(), is_event.to_pylist(), checked.leaf_hashes, file)
        known = batch.select(["log_index", "event_id"])
        known = known.filter(pc.and_(is_event, pc.is_valid(column)))
        indexes = known.column("log_index").to_numpy().astype(np.uint64)
        self.marks.append((indexes, marker.marks(known.column("event_id"))))
        for problem in checked.problems[: _PROBLEMS_MAX - len(self.problems)]:
            self.problems.append(Problem(problem.code, problem.message, file, problem.log_index))
        for index in checked.unsupported:
            self.problems.append(Problem("unsupported", "a later leaf version", file, index))
        for index, kind in checked.unknown_kinds:
            message = f"a leaf of a kind that this verifier does not know: {kind!r}"
            self.problems.append(Problem("unknown_kind", message, file, index))
        for half, indexes in checked.erased.items():
            self.erased[half] += indexes
        told = batch.filter(pc.is_in(batch.column("kind"), value_set=pa.array(_READ_KINDS)))
        for leaf, index in zip(
            told.column("leaf").to_pylist(), told.column("log_index").to_pylist(), strict=True
        ):
            # From the hashed bytes, never from a column beside them.
            members = _members(leaf)
            kind = members.get("kind", "")
            if kind in _TOLD_KINDS:
                self.details.append((index, kind, members.get("detail", "{}")))
            if kind in LIFE_KINDS and (lived := life_leaf(index, members)) is not None:
                self.life.append(lived)

    def add_times(self, batch: pa.RecordBatch) -> None:
        """Take the times at which leaves were received."""
        indexes, received_ns = batch.column("log_index"), batch.column("received_ns")
        if not indexes.null_count and not received_ns.null_count:
            self.moments.append((indexes.to_numpy(), received_ns.to_numpy()))

    def tell_hidden(self, file: str) -> Tell:
        """What takes words on rows that readers would not find."""

        def tell(message: str, log_index: int | None) -> None:
            if len(self.problems) < _PROBLEMS_MAX:
                self.problems.append(Problem("row_hidden", message, file, log_index))

        return tell

    def settle_times(self) -> None:
        """Keep of the times what they say of silences."""
        if self.moments:
            indexes, times = (np.concatenate(each) for each in zip(*self.moments, strict=True))
            self.runs, self.moments = runs_of(indexes, times), []


def _members(leaf: bytes | None) -> dict[str, str]:
    try:
        members = orjson.loads(leaf or b"")
    except ValueError:
        return {}
    return members if isinstance(members, dict) else {}
