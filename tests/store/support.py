"""What the tests of this room share: events, a place to write them, and an honest second look."""

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from intentproof_schemas import ExecutionEvent, default_event_id, read_leaf
from intentproof_store import Appended, Ledger, LedgerSettings, event_columns
from intentproof_store.checkpoints import checkpoint_sizes
from intentproof_store.frames import Frame
from intentproof_store.hotlog import read_hot
from intentproof_store.identity import last_checkpoints, read_hot_key, trusted_keys
from intentproof_store.layout import Layout
from intentproof_store.leafcolumns import event_texts
from intentproof_store.merkle import Frontier
from intentproof_store.note import open_note, parse_checkpoint_text
from intentproof_store.rows import RowMaker
from intentproof_store.segments import Segment, file_sha256, find_segments
from intentproof_store.tenantlog import TenantLog
from intentproof_store.tree import tile_hashes
from intentproof_store.verify import Outcome, Report, VerifyRequest, verify_store

REPOSITORY = Path(__file__).resolve().parents[2]
VECTORS = REPOSITORY.parent / "shared" / "vectors" / "merkle"
SECOND_NS = 10**9
DAY_NS = 86_400 * SECOND_NS
NOON_NS = 1_795_262_400 * SECOND_NS  # 2026-11-21T12:00:00Z
WRITER = "host-00000001"
KEY = bytes(range(32))
TENANT = "acme"
WAIT_SECONDS = 20.0


def vectors(name: str) -> Path:
    """A file of the published vectors; skips the test where they are not at hand."""
    path = VECTORS / name
    if not path.exists():
        pytest.skip(f"vectors are not at hand: {path}")
    return path


def event(number: int = 1, **changes: Any) -> ExecutionEvent:
    """An event that is the same each time it is made."""
    trace_id = hashlib.sha256(f"trace {number // 4}".encode()).digest()[:16]
    span_id = hashlib.sha256(f"span {number}".encode()).digest()[:8]
    made = ExecutionEvent(
        event_id=default_event_id(trace_id, span_id),
        trace_id=trace_id.hex(),
        span_id=span_id.hex(),
        parent_span_id="",
        action="stripe.refund.create",
        status="ok",
        started_ns=NOON_NS - 2_000_000,
        completed_ns=NOON_NS - 1_000_000,
        provenance="declared",
        mapping_rule="intentproof/1",
        intent="Return captured funds",
        correlation_id=f"order-{number}",
        attributes='{"http.request.method":"POST","service.name":"refunds"}',
        inputs=f'{{"amount":1250,"charge":"ch_{number}"}}',
        output='{"id":"re_9999","status":"succeeded"}',
        error=None,
    )
    return made._replace(**changes)


def events(first: int, end: int) -> list[ExecutionEvent]:
    return [event(number) for number in range(first, end)]


@dataclass
class Clock:
    """A clock that stands where it was set."""

    now_ns: int = NOON_NS

    def __call__(self) -> int:
        return self.now_ns


@dataclass(frozen=True)
class Place:
    """One folder that holds a store, its home and its hot files."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def hot(self) -> Path:
        return self.root / "hot"

    @property
    def layout(self) -> Layout:
        return Layout(self.root / "proofs")

    @property
    def writer(self) -> str:
        return (self.home / "writer").read_text().strip()

    def log(self, tenant: str = TENANT, writer: str | None = None) -> Path:
        return self.layout.log(tenant, writer or self.writer)

    def settings(self, **overrides: Any) -> LedgerSettings:
        quiet = {"seal_seconds": 1e9, "checkpoint_seconds": 1e9, "heartbeat_seconds": 1e9}
        where = {"store": self.layout.root, "home": self.home, "hot": self.hot}
        return LedgerSettings(**(where | quiet | overrides))

    @contextmanager
    def ledger(self, clock: Callable[[], int] | None = None, **overrides: Any) -> Iterator[Ledger]:
        """A ledger that seals and signs only when it must, or as `overrides` say."""
        with Ledger.open(self.settings(**overrides), clock_ns=clock or Clock()) as opened:
            yield opened

    def crash_image(self, name: str = "crashed") -> "Place":
        """The bytes on disk at this moment, as a process that was killed now would leave them."""
        copy = self.root.parent / name
        while True:  # the clerk may be at work: only a copy of one moment is what a kill leaves
            before = self._stand()
            with suppress(shutil.Error):
                shutil.copytree(self.root, copy)
                if self._stand() == before:
                    return Place(copy)
            shutil.rmtree(copy)

    def _stand(self) -> list[tuple[Path, int, int]]:
        """Every file with its time and size."""
        found = []
        for path in sorted(self.root.rglob("*")):
            with suppress(FileNotFoundError):
                status = path.stat()
                found.append((path, status.st_mtime_ns, status.st_size))
        return found

    def hot_files(self, writer: str | None = None) -> list[Path]:
        return sorted((self.hot / (writer or self.writer)).glob("*.frames"))


def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "here")


def append(
    ledger: Ledger, new: Sequence[ExecutionEvent], undecodable: Any = (), tenant: str = TENANT
) -> Appended:
    return ledger.append(tenant, new, undecodable).result(WAIT_SECONDS)


@contextmanager
def watched_logs() -> Iterator[dict[str, TenantLog]]:
    """The writer's state of each log that takes something meanwhile, by tenant."""
    seen: dict[str, TenantLog] = {}
    real = TenantLog.admit

    def admit(self: TenantLog, *arguments: Any) -> list[Appended]:
        seen[self.tenant] = self
        return real(self, *arguments)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(TenantLog, "admit", admit)
        yield seen


def add_event(maker: RowMaker, one: ExecutionEvent, kind: str = "event") -> None:
    """Have the maker add one event, as the writer does with many."""
    columns = event_columns([one])
    maker.add_events(columns, event_texts(columns), kind)


def until(claim: Callable[[], object], *, seconds: float = WAIT_SECONDS) -> None:
    """Poll until the claim holds; fail where it does not in time."""
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.01)


# A second look at what is on disk. Nothing here asks the ledger.

_READ = [
    "log_index",
    "kind",
    "event_id",
    "trace_id",
    "stream_id",
    "sequence",
    "detail",
    "received_ns",
    "payload_salt",
    "leaf",
]


@dataclass
class Log:
    """One log as it stands on disk: its rows by log index, sealed and hot alike."""

    tenant: str
    writer: str
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    segments: list[Segment] = field(default_factory=list)
    hot: set[int] = field(default_factory=set)

    @property
    def size(self) -> int:
        return max(self.rows) + 1 if self.rows else 0

    def kinds(self) -> list[str]:
        return [self.rows[index]["kind"] for index in sorted(self.rows)]

    def ids(self, kind: str = "event") -> list[str]:
        ordered = (self.rows[index] for index in sorted(self.rows))
        return [row["event_id"] for row in ordered if row["kind"] == kind]

    def details(self, kind: str) -> list[str]:
        ordered = (self.rows[index] for index in sorted(self.rows))
        return [row["detail"] for row in ordered if row["kind"] == kind]

    def index_of(self, event_id: str) -> int:
        return next(i for i, row in self.rows.items() if row["event_id"] == event_id)


def read_log(where: Place, tenant: str = TENANT, writer: str | None = None) -> Log:
    """A log's rows from segments and authentic hot frames; the same leaf at the same index only."""
    log = Log(tenant, writer or where.writer)
    for batch in hot_batches(where, log.tenant, log.writer):
        _take(log, batch.select(_READ).to_pylist(), hot=True)
    segments, problems = find_segments(where.layout, tenant)
    assert not problems, problems
    log.segments = [segment for segment in segments if segment.name.writer == log.writer]
    for segment in log.segments:
        table = pq.read_table(segment.path, columns=_READ, partitioning=None)
        _take(log, table.to_pylist(), hot=False)
    return log


def hot_batches(where: Place, tenant: str, writer: str) -> Iterator[pa.RecordBatch]:
    key = read_hot_key(where.home)
    assert key is not None
    for _, found in read_hot(where.hot, writer):
        if isinstance(found, Frame) and found.tenant == tenant:
            try:
                found.authenticate(key, writer)
            except ValueError:
                continue
            yield found.rows()


def _take(log: Log, rows: list[dict[str, Any]], *, hot: bool) -> None:
    for row in rows:
        known = log.rows.setdefault(row["log_index"], row)
        assert known["leaf"] == row["leaf"], f"two leaves at {row['log_index']}: a fork"
        if hot:
            log.hot.add(row["log_index"])


def check_log(where: Place, tenant: str = TENANT, *, holes: Sequence[int] = ()) -> Log:
    """The log with every promise about it asserted; leaves at `holes` may be lost.

    No gap, no fork; genesis first; each leaf canonical and of this log; every checkpoint signed
    and its root what follows from the leaves; what home remembers is no more than what is here.
    """
    log = read_log(where, tenant)
    assert sorted(log.rows) == [i for i in range(log.size) if i not in set(holes)]
    assert 0 in holes or log.rows[0]["kind"] == "genesis"
    folder = where.log(tenant)
    sizes = checkpoint_sizes(folder)
    assert sizes, "no checkpoint"
    assert sizes[0] == 1
    assert sizes[-1] <= log.size
    roots = {}
    tree = Frontier()
    for index in range(log.size):
        row = log.rows.get(index)
        if row is None:
            tree.append(tile_hashes(folder / "tile", index, index + 1))
        else:
            leaf = read_leaf(row["leaf"])
            assert (leaf["tenant"], leaf["writer"], leaf["kind"]) == (
                tenant,
                log.writer,
                row["kind"],
            )
            tree.append(hashlib.sha256(b"\x00" + row["leaf"]).digest())
        roots[index + 1] = tree.root()
    keys = trusted_keys(where.home)
    for size in sizes:
        note, _ = open_note((folder / f"checkpoint.{size}").read_bytes(), keys)
        assert parse_checkpoint_text(note.text).root == roots[size], f"the root at {size} differs"
    for segment in log.segments:
        assert segment.note.sha256 == file_sha256(segment.path)
    for checkpoint in last_checkpoints(where.home).values():
        if checkpoint.origin.endswith(f"/{tenant}/{log.writer}"):
            assert checkpoint.root == roots[checkpoint.size]
    return log


def check_sealed(where: Place, tenant: str = TENANT, *, holes: Sequence[int] = ()) -> Log:
    """`check_log`, and that nothing is hot and a checkpoint covers everything."""
    log = check_log(where, tenant, holes=holes)
    assert not where.hot_files()
    assert checkpoint_sizes(where.log(tenant))[-1] == log.size
    assert not list(where.layout.unfinished.glob("*"))
    return log


def verified(where: Place) -> Report:
    """The verifier's report over the whole store, which must be `verified`."""
    report = verify_store(VerifyRequest(store=where.layout.root, hot=where.hot, home=where.home))
    problems = [each for log in report.logs for each in log.problems]
    assert report.outcome is Outcome.VERIFIED, problems
    return report
