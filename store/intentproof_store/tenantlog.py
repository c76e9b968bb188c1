"""One tenant's log as the writer sees it: where it ends, what is hot, what is the same again."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from intentproof_schemas import ExecutionEvent, context_text, payload_text

from .clerk import CheckpointJob, SealJob
from .hotlog import FrameRef
from .merkle import leaf_hash
from .quarantine import Quarantine, Undecodable
from .rows import RowMaker
from .sameness import Sameness, Told, Verdict

_new = tuple.__new__  # what a NamedTuple calls, without its Python function in between


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
    size: int
    day: str
    hot_since: float = 0.0
    refs: list[FrameRef] = field(default_factory=list)
    hot_rows: int = 0
    hot_bytes: int = 0
    sealed_rows: int = 0
    hashes: bytearray = field(default_factory=bytearray)
    last_received_ns: int = 0
    unsigned_genesis: bytes | None = None
    checkpoint_due: float = 0.0
    checkpoint_size: int = 0
    totals: Appended = Appended()

    def admit(
        self,
        maker: RowMaker,
        events: Sequence[ExecutionEvent],
        undecodable: Sequence[Undecodable],
    ) -> Appended:
        """Turn what arrived into rows of `maker`. Nothing is final until `commit`."""
        stored = duplicates = conflicts = 0
        judge = self.sameness.judge
        for event in events:
            told = _new(Told, (event, context_text(event), payload_text(event)))
            verdict = judge(told)
            if verdict is Verdict.NEW:
                stored += 1
                maker.add_event(event, "event", told.context, told.payload)
            elif verdict is Verdict.CONFLICT:
                conflicts += 1
                maker.add_event(event, "conflict", told.context, told.payload)
            else:
                duplicates += 1
                if verdict is Verdict.NUMBERED:
                    maker.add_numbered(event)
        quarantined = 0
        for item in undecodable:
            detail = self.quarantine.put(item)
            if detail is not None:
                quarantined += 1
                maker.add_detail("quarantine", detail)
        return Appended(stored, duplicates, conflicts, quarantined)

    def commit(self, refs: Sequence[FrameRef], hashes: bytes, results: Sequence[Appended]) -> None:
        """The rows are durable."""
        self.sameness.commit()
        self.quarantine.commit()
        self.took(refs, hashes)
        for result in results:
            self.totals = Appended(
                self.totals.stored + result.stored,
                self.totals.duplicates + result.duplicates,
                self.totals.conflicts + result.conflicts,
                self.totals.quarantined + result.quarantined,
            )

    def took(self, refs: Sequence[FrameRef], hashes: bytes) -> None:
        """Count frames that are durable, and the hashes of their leaves."""
        for ref in refs:
            self.refs.append(ref)
            self.size = ref.end
            self.hot_rows += ref.rows
            self.hot_bytes += ref.value_bytes
        self.hashes += hashes

    def discard(self) -> None:
        """The rows were refused by the disk."""
        self.sameness.discard()
        self.quarantine.discard()

    def cut(self, next_day: str) -> SealJob | None:
        """The job that seals all that is hot, or None if nothing is."""
        if not self.refs:
            self.day = next_day
            self.sameness.begin(next_day)
            return None
        generation = self.sameness.cut(self.refs[0].day, next_day)
        job = SealJob(self.tenant, bytes(self.hashes), self.size, tuple(self.refs), generation)
        self.refs, self.hot_rows, self.hot_bytes, self.hot_since = [], 0, 0, 0.0
        self.hashes.clear()
        self.checkpoint_size = self.size
        self.day = next_day
        return job

    def checkpoint(self) -> CheckpointJob | None:
        """The job that signs all that is durable, or None if that is signed."""
        if self.checkpoint_size == self.size:
            return None
        job = CheckpointJob(self.tenant, bytes(self.hashes), self.size)
        self.hashes.clear()
        self.checkpoint_size = self.size
        return job


def leaf_hashes(maker: RowMaker) -> bytes:
    """The leaf hashes of the rows so far, in one piece."""
    return b"".join([leaf_hash(row.leaf) for row in maker.rows])
