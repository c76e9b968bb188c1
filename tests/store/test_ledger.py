"""The ledger: acknowledged is durable, a log begins rightly, days end segments, close seals all."""

import json
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from intentproof_schemas import LEAF_BYTES_MAX, schema
from intentproof_store import (
    Appended,
    EventsInvalid,
    Ledger,
    StoreUnavailable,
    TenantInvalid,
    Undecodable,
    event_columns,
)
from intentproof_store import checkpoints as checkpoints_module
from intentproof_store import clerk as clerk_module
from intentproof_store import segment_notes as segment_notes_module
from intentproof_store.checkpoints import Signer, checkpoint_sizes
from intentproof_store.hotlog import HotLog
from intentproof_store.identity import last_checkpoints, load_identity
from intentproof_store.layout import date_of
from intentproof_store.merkle import Frontier, leaf_hash
from intentproof_store.segments import write_segment
from jsonschema import Draft202012Validator

from tests.store.support import (
    DAY_NS,
    NOON_NS,
    SECOND_NS,
    TENANT,
    Clock,
    Place,
    append,
    check_log,
    check_sealed,
    event,
    events,
    place,
    read_log,
    until,
    verified,
)

HOUR_NS = 3_600 * SECOND_NS


def dates_are_right(where: Place, tenant: str = TENANT) -> list[str]:
    """Every row stands under the date of its receipt; those dates in the log's order."""
    log = read_log(where, tenant)
    for segment in log.segments:
        rows = [log.rows[i] for i in range(segment.name.first, segment.name.last + 1)]
        assert {date_of(row["received_ns"]) for row in rows} == {segment.day}
    return [segment.day for segment in log.segments]


def test_what_is_acknowledged_is_on_disk(tmp_path: Path) -> None:
    """When the future completes, a kill leaves every event of the batch in the log."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        assert append(ledger, events(0, 30)) == Appended(stored=30)
        crashed = here.crash_image()
    assert check_log(crashed).ids() == [one.event_id for one in events(0, 30)]
    verified(crashed)


def test_a_log_begins_with_a_signed_genesis(tmp_path: Path) -> None:
    """The first leaf is the genesis, whose checkpoint exists before the first acknowledgement."""
    here = place(tmp_path)
    with here.ledger(checkpoint_seconds=60.0, heartbeat_seconds=3600.0) as ledger:
        seen: list[list[int]] = []
        future = ledger.append(TENANT, [event(1)])
        future.add_done_callback(lambda _: seen.append(checkpoint_sizes(here.log())))
        future.result(20)
        until(lambda: seen)
        assert seen == [[1]]
    log = check_sealed(here)
    assert log.kinds() == ["genesis", "event"]
    genesis = json.loads(log.details("genesis")[0])
    Draft202012Validator(schema("genesis.v1")).validate(genesis)
    key = load_identity(here.home, "intentproof.local").verifier_key(TENANT)
    assert genesis == {
        "checkpoint_interval_ms": 60_000,
        "heartbeat_interval_ms": 3_600_000,
        "log_key": key.vkey(),
    }


def test_the_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    """A second opening adds to the same log, without another genesis."""
    here = place(tmp_path)
    for first in (0, 10):
        with here.ledger() as ledger:
            append(ledger, events(first, first + 10))
    assert check_sealed(here).kinds() == ["genesis"] + ["event"] * 20
    verified(here)


def test_close_seals_everything_and_leaves_nothing_hot(tmp_path: Path) -> None:
    """After close every leaf is in a segment under a checkpoint, and no hot file is left."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        append(ledger, events(0, 5))
        append(ledger, events(0, 5), tenant="beta")
        assert here.hot_files()
    check_sealed(here)
    check_sealed(here, "beta")
    verified(here)


@pytest.mark.parametrize(
    "limit", [{"seal_rows": 5}, {"seal_bytes": 1_000}, {"seal_seconds": 0.01}], ids=str
)
def test_a_segment_is_sealed_when_a_limit_is_reached(tmp_path: Path, limit: dict[str, Any]) -> None:
    """Rows, bytes or age beyond their limit seal the segment, while the ledger goes on."""
    here = place(tmp_path)
    with here.ledger(**limit) as ledger:
        append(ledger, events(0, 10))
        until(lambda: ledger.status().sealed_segments == 1)
        status = ledger.status().tenants[TENANT]
        assert (status.size, status.hot_rows, status.sealed_rows) == (11, 0, 11)
        append(ledger, events(10, 20))
        until(lambda: ledger.status().sealed_segments == 2)
    assert [s.name.rows for s in check_sealed(here).segments] == [11, 10]
    verified(here)


def test_hot_leaves_are_signed_when_a_checkpoint_is_due(tmp_path: Path) -> None:
    """A checkpoint may cover hot leaves, and is the same as the one over them when sealed."""
    here = place(tmp_path)
    with here.ledger(checkpoint_seconds=0.01) as ledger:
        append(ledger, events(0, 10))
        until(lambda: checkpoint_sizes(here.log()) == [1, 11])
        assert ledger.status().sealed_segments == 0
        crashed = here.crash_image()
        append(ledger, events(10, 15))
    check_sealed(here)
    verified(crashed)
    with crashed.ledger(checkpoint_seconds=0.01) as ledger:
        append(ledger, events(20, 30))
        until(lambda: checkpoint_sizes(crashed.log())[-1] == 21)
    check_sealed(crashed)
    verified(crashed)


def test_midnight_ends_a_segment(tmp_path: Path) -> None:
    """Rows of two days are in two segments, each under its date."""
    here, clock = place(tmp_path), Clock()
    with here.ledger(clock) as ledger:
        append(ledger, events(0, 3))
        clock.now_ns += DAY_NS
        append(ledger, events(3, 6))
    check_sealed(here)
    assert dates_are_right(here) == ["2026-11-21", "2026-11-22"]
    verified(here)


def test_midnight_seals_without_an_event(tmp_path: Path) -> None:
    """A day that is over is sealed although nothing more arrives."""
    here, clock = place(tmp_path), Clock()
    with here.ledger(clock) as ledger:
        append(ledger, events(0, 3))
        clock.now_ns += DAY_NS
        until(lambda: ledger.status().sealed_segments == 1)
    assert dates_are_right(here) == ["2026-11-21"]


def test_midnight_backwards_ends_a_segment_too(tmp_path: Path) -> None:
    """A clock that goes back over midnight ends the segment as well."""
    here, clock = place(tmp_path), Clock()
    with here.ledger(clock) as ledger:
        for step in (0, -DAY_NS, DAY_NS):
            clock.now_ns += step
            append(ledger, [event(clock.now_ns // DAY_NS * 10 + step // DAY_NS)])
    assert dates_are_right(here) == ["2026-11-21", "2026-11-20", "2026-11-21"]
    check_sealed(here)
    verified(here)


def test_a_day_after_a_seal_has_its_own_date(tmp_path: Path) -> None:
    """Rows of a new day are under its date, although yesterday's were all sealed before."""
    here, clock = place(tmp_path), Clock()
    with here.ledger(clock, seal_rows=1) as ledger:
        append(ledger, [event(1)])
        until(lambda: ledger.status().sealed_segments == 1)
        clock.now_ns += DAY_NS
        append(ledger, [event(2)])
        until(lambda: ledger.status().sealed_segments == 2)
    assert dates_are_right(here) == ["2026-11-21", "2026-11-22"]
    verified(here)


def test_hot_rows_of_yesterday_are_sealed_under_yesterday(tmp_path: Path) -> None:
    """Rows that a kill left hot are sealed, the next day, under the date of their receipt."""
    here = place(tmp_path)
    with here.ledger(Clock()) as ledger:
        append(ledger, [event(1)])
        crashed = here.crash_image()
    with crashed.ledger(Clock(NOON_NS + DAY_NS)) as ledger:
        append(ledger, [event(2)])
    assert dates_are_right(crashed) == ["2026-11-21", "2026-11-22"]
    verified(crashed)


@pytest.mark.parametrize(
    ("step_ns", "gaps"), [(-SECOND_NS, 0), (-SECOND_NS - 1, 1), (-HOUR_NS, 1), (HOUR_NS, 0)]
)
def test_a_step_back_of_the_clock_is_told(tmp_path: Path, step_ns: int, gaps: int) -> None:
    """A step back of over one second appends one gap leaf before what is received next."""
    here, clock = place(tmp_path), Clock()
    with here.ledger(clock) as ledger:
        append(ledger, [event(1)])
        clock.now_ns += step_ns
        append(ledger, [event(2)])
        clock.now_ns += 1
        append(ledger, [event(3)])
    log = check_sealed(here)
    assert log.kinds() == ["genesis", "event"] + ["gap"] * gaps + ["event", "event"]
    for detail in map(json.loads, log.details("gap")):
        Draft202012Validator(schema("gap.v1")).validate(detail)
        assert detail["reason"] == "clock_step_back"
        assert (int(detail["from_ns"]), int(detail["to_ns"])) == (NOON_NS, NOON_NS + step_ns)
    verified(here)


def test_a_step_back_is_told_in_every_log_that_has_it(tmp_path: Path) -> None:
    """Each log whose received_ns goes back has a gap leaf, whichever tenant writes first after."""
    here, clock = place(tmp_path), Clock()
    with here.ledger(clock) as ledger:
        for tenant in (TENANT, "beta"):
            append(ledger, [event(1)], tenant=tenant)
        clock.now_ns -= HOUR_NS
        for tenant in (TENANT, "beta"):
            append(ledger, [event(2)], tenant=tenant)
    for tenant in (TENANT, "beta"):
        assert check_sealed(here, tenant).kinds() == ["genesis", "event", "gap", "event"]


@pytest.mark.parametrize("image", [True, False], ids=["hot", "sealed"])
def test_a_step_back_across_a_restart_is_told(tmp_path: Path, *, image: bool) -> None:
    """A clock that went back while the process was down is told as well."""
    here = place(tmp_path)
    with here.ledger(Clock()) as ledger:
        append(ledger, [event(1)])
        crashed = here.crash_image()
    where = crashed if image else here
    with where.ledger(Clock(NOON_NS - HOUR_NS)) as ledger:
        append(ledger, [event(2)])
    assert check_sealed(where).kinds() == ["genesis", "event", "gap", "event"]


@pytest.mark.parametrize("image", [True, False], ids=["hot", "sealed"])
def test_a_step_back_is_told_once(tmp_path: Path, *, image: bool) -> None:
    """A restart after a step back that was told, with a clock that goes on, tells nothing new."""
    here, clock = place(tmp_path), Clock()
    with here.ledger(clock) as ledger:
        append(ledger, [event(1)])
        clock.now_ns -= HOUR_NS
        append(ledger, [event(2)])
        crashed = here.crash_image()
    where = crashed if image else here
    with where.ledger(Clock(NOON_NS - HOUR_NS + SECOND_NS)) as ledger:
        append(ledger, [event(3)])
    assert check_sealed(where).kinds() == ["genesis", "event", "gap", "event", "event"]


@pytest.mark.parametrize("how", ["hot", "sealed"])
def test_the_same_bytes_are_quarantined_once(tmp_path: Path, how: str) -> None:
    """The same raw bytes of a tenant are kept once, across restarts too; of another, again."""
    here = place(tmp_path)
    bad = Undecodable(b"no span", "bad_span", "quotes the span")
    with here.ledger() as ledger:
        assert append(ledger, [], [bad, bad]) == Appended(quarantined=1)
        assert append(ledger, [], [bad]) == Appended()
        crashed = here.crash_image()
    where = crashed if how == "hot" else here
    with where.ledger() as ledger:
        assert append(ledger, [event(1)], [bad]) == Appended(stored=1)
        assert append(ledger, [], [bad], tenant="beta") == Appended(quarantined=1)
    log = check_sealed(where)
    (detail,) = map(json.loads, log.details("quarantine"))
    Draft202012Validator(schema("quarantine.v1")).validate(detail)
    assert detail.keys() == {"reason", "sha256", "size"}
    (kept,) = where.layout.quarantine(TENANT).iterdir()
    assert kept.read_bytes()[32:] == b"no span"
    verified(where)


def test_many_tenants_have_many_logs(tmp_path: Path) -> None:
    """Fifty tenants that write at once have fifty logs, each its own tree."""
    here = place(tmp_path)
    tenants = [f"tenant-{number}" for number in range(50)]
    with here.ledger(checkpoint_seconds=0.01, seal_rows=20) as ledger:
        for first in (0, 8, 16):
            futures = [ledger.append(tenant, events(first, first + 8)) for tenant in tenants]
            assert {future.result(30) for future in futures} == {Appended(stored=8)}
        assert len(ledger.status().tenants) == 50
    for tenant in tenants:
        assert len(check_sealed(here, tenant).ids()) == 24
    assert len(last_checkpoints(here.home)) == 50
    verified(here)


def test_no_tenant_id_no_log(tmp_path: Path) -> None:
    """What is no tenant id is refused at once and leaves nothing behind."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        for tenant in ("../b", "Acme", ""):
            with pytest.raises(TenantInvalid):
                ledger.append(tenant, [event(1)])
    assert here.layout.tenants() == []


def test_a_closed_ledger_takes_nothing(tmp_path: Path) -> None:
    """After close, append says that the store is closing."""
    ledger = Ledger.open(place(tmp_path).settings())
    ledger.close()
    with pytest.raises(StoreUnavailable, match="closing"):
        ledger.append(TENANT, [event(1)])
    assert not ledger.status().healthy


class Held:
    """A clock that holds the writer's thread until it is let go."""

    def __init__(self) -> None:
        self.armed = threading.Event()
        self.reached = threading.Event()
        self.go = threading.Event()
        self.now_ns = NOON_NS

    def __call__(self) -> int:
        if self.armed.is_set():
            self.reached.set()
            assert self.go.wait(20)
        return self.now_ns

    def hold(self) -> None:
        self.armed.set()
        assert self.reached.wait(20)

    def release(self) -> None:
        self.armed.clear()
        self.go.set()


def test_a_full_queue_refuses_and_takes_again(tmp_path: Path) -> None:
    """Beyond its bytes the queue refuses at once; what was taken before is stored."""
    here, held = place(tmp_path), Held()
    with here.ledger(held, queue_bytes=10_000) as ledger:
        held.hold()
        taken = ledger.append(TENANT, [event(1, inputs='{"x":"' + "y" * 9_000 + '"}')])
        with pytest.raises(StoreUnavailable, match="full"):
            ledger.append(TENANT, events(2, 12))
        assert ledger.status().queued == 1
        held.release()
        assert taken.result(20) == Appended(stored=1)
        until(lambda: ledger.status().queued_bytes == 0)
        assert append(ledger, events(2, 12)).stored == 10


def _tell(order: list[str], tenant: str, _: object) -> None:
    order.append(tenant)


def test_tenants_take_turns_in_the_ledger(tmp_path: Path) -> None:
    """A tenant's events are in the next group but one, however many another has waiting."""
    here, held = place(tmp_path), Held()
    order: list[str] = []
    with here.ledger(held, group_rows=1) as ledger:
        held.hold()
        waiting = [("busy", ledger.append("busy", [event(number)])) for number in range(20)]
        waiting.append(("calm", ledger.append("calm", [event(1)])))
        for tenant, future in waiting:
            future.add_done_callback(partial(_tell, order, tenant))
        held.release()
        assert all(future.result(20).stored == 1 for _, future in waiting)
    assert order.index("calm") <= 2


def test_a_caller_that_gave_up_does_no_harm(tmp_path: Path) -> None:
    """A future that its caller cancelled does not keep the ledger from serving the others."""
    here, held = place(tmp_path), Held()
    ledger = Ledger.open(here.settings(), clock_ns=held)
    held.hold()
    given_up = ledger.append(TENANT, [event(1)])
    given_up.cancel()
    waiting = ledger.append(TENANT, [event(2)])
    held.release()
    assert waiting.result(3) == Appended(stored=1)
    assert append(ledger, [event(3)]) == Appended(stored=1)
    assert (ledger.status().queued, ledger.status().queued_bytes) == (0, 0)
    ledger.close()
    check_sealed(here)


def test_a_caller_that_gave_up_on_a_refused_group_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it where the disk refuses the group."""
    here, held = place(tmp_path), Held()
    ledger = Ledger.open(here.settings(), clock_ns=held)
    append(ledger, [event(0)])
    held.hold()
    with monkeypatch.context() as patched:
        patched.setattr(HotLog, "append", raise_full)
        ledger.append(TENANT, [event(1)]).cancel()
        waiting = ledger.append(TENANT, [event(2)])
        held.release()
        with pytest.raises(StoreUnavailable):
            waiting.result(3)
    assert append(ledger, [event(3)]) == Appended(stored=1)
    ledger.close()
    check_sealed(here)


def test_columns_are_taken_as_events_are(tmp_path: Path) -> None:
    """A batch of columns, a slice of one and a list of events are the same to the ledger."""
    here = place(tmp_path)
    columns = event_columns(events(0, 30))
    with here.ledger() as ledger:
        assert ledger.append(TENANT, columns.slice(5, 10)).result(20) == Appended(stored=10)
        assert ledger.append(TENANT, columns).result(20) == Appended(stored=20, duplicates=10)
        assert append(ledger, events(0, 30)) == Appended(duplicates=30)
        assert ledger.append(TENANT, columns.slice(0, 0)).result(20) == Appended()
    assert sorted(check_sealed(here).ids()) == sorted(one.event_id for one in events(0, 30))
    verified(here)


def test_a_group_is_ordered_by_kind_and_arrival(tmp_path: Path) -> None:
    """In one group: the gap, events and conflicts as they came, numbers, then quarantine."""
    here, held = place(tmp_path), Held()
    with here.ledger(held) as ledger:
        append(ledger, [event(1)])
        held.hold()
        held.now_ns -= HOUR_NS
        tellings = [[event(1, stream_id="s", sequence=1)], [event(2), event(1, inputs="{}")]]
        told = [ledger.append(TENANT, each, [Undecodable(b"x", "bad")]) for each in tellings]
        told.append(ledger.append(TENANT, [event(3), event(2)]))
        held.release()
        assert [future.result(20) for future in told] == [
            Appended(duplicates=1, quarantined=1),
            Appended(stored=1, conflicts=1),
            Appended(stored=1, duplicates=1),
        ]
    log = check_sealed(here)
    assert log.kinds() == [
        *("genesis", "event", "gap", "event", "conflict", "event", "numbered", "quarantine")
    ]
    assert log.ids() == [event(number).event_id for number in (1, 2, 3)]
    verified(here)


@pytest.mark.parametrize(
    "columns",
    [
        pa.RecordBatch.from_pydict({"event_id": ["x"]}),
        event_columns([event(1)]).rename_columns([f"{n}" for n in range(23)]),
        event_columns([event(1)]).set_column(
            6, pa.field("started_ns", pa.int64()), pa.nulls(1, pa.int64())
        ),
        event_columns([event(1)]).set_column(
            4, pa.field("action", pa.string()), pa.array([b"\xff"]).view(pa.string())
        ),
    ],
    ids=["others", "names", "no times", "no text"],
)
def test_columns_that_are_no_events_are_refused(tmp_path: Path, columns: pa.RecordBatch) -> None:
    """A batch without the columns of events, without times or UTF-8, is refused at once."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        with pytest.raises(EventsInvalid):
            ledger.append(TENANT, columns)
        assert ledger.status().tenants == {}


def test_what_cannot_be_written_is_refused_alone(tmp_path: Path) -> None:
    """Of a group, a lone surrogate or a leaf over its limit costs only those who sent it."""
    here, held = place(tmp_path), Held()
    with here.ledger(held) as ledger:
        append(ledger, [event(0)])
        held.hold()
        before = ledger.append(TENANT, [event(1)])
        with pytest.raises(EventsInvalid, match="surrogate"):
            ledger.append(TENANT, [event(2), event(3, intent="\ud800")])
        large = ledger.append(TENANT, [event(4), event(5, action="x" * LEAF_BYTES_MAX)])
        other = ledger.append("beta", [event(6)])
        after = ledger.append(TENANT, [event(7), event(4)])
        held.release()
        assert before.result(20) == other.result(20) == Appended(stored=1)
        with pytest.raises(StoreUnavailable, match="limit"):
            large.result(20)
        assert after.result(20) == Appended(stored=2)
        until(lambda: ledger.status().queued_bytes == 0)
    assert check_sealed(here).ids() == [event(number).event_id for number in (0, 1, 7, 4)]
    check_sealed(here, "beta")
    verified(here)


def raise_full(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_genesis_that_cannot_be_signed_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where signing the genesis fails, the append is refused; sent again, there is one genesis."""
    here, clock = place(tmp_path), Clock()
    with here.ledger(clock) as ledger:
        with monkeypatch.context() as patched:
            patched.setattr(Signer, "sign", raise_full)
            with pytest.raises(StoreUnavailable):
                append(ledger, [event(1)])
        clock.now_ns += 1
        assert append(ledger, [event(1)]) == Appended(stored=1)
        crashed = here.crash_image()
    check_log(crashed)
    assert check_sealed(here).kinds() == ["genesis", "event"]
    with crashed.ledger(clock):
        pass
    assert check_sealed(crashed).kinds() == ["genesis", "event"]


@pytest.mark.parametrize("step", ["write_file", "remember_checkpoints"])
def test_a_genesis_that_was_signed_halfway_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Where the disk refuses a step after checkpoint.1, the next append succeeds all the same."""
    here, clock = place(tmp_path), Clock()
    with here.ledger(clock) as ledger:
        with monkeypatch.context() as patched:
            patched.setattr(checkpoints_module, step, raise_full)
            with pytest.raises(StoreUnavailable):
                append(ledger, [event(1)])
        clock.now_ns += 1
        assert append(ledger, [event(1)]) == Appended(stored=1)
    assert check_sealed(here).kinds() == ["genesis", "event"]


def test_two_threads_sign_at_once(tmp_path: Path) -> None:
    """Checkpoints of two tenants signed at the same time are both made and both remembered."""
    here = place(tmp_path)
    identity = load_identity(here.home, "intentproof.local")
    signer = Signer(here.layout, identity, {})
    failures: list[BaseException] = []

    def sign(tenant: str) -> None:
        tree = Frontier()
        try:
            for size in range(1, 150):
                tree.append(leaf_hash(b"%d" % size))
                signer.sign(tenant, size, tree.root())
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    threads = [threading.Thread(target=sign, args=(tenant,)) for tenant in (TENANT, "beta")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    remembered = {each.origin: each.size for each in last_checkpoints(here.home).values()}
    assert remembered == {identity.origin(TENANT): 149, identity.origin("beta"): 149}


FAULTS: list[tuple[str, Callable[[pytest.MonkeyPatch], None]]] = [
    ("segment", lambda m: m.setattr(clerk_module, "write_segment", raise_full)),
    ("note", lambda m: m.setattr(segment_notes_module, "create_file", raise_full)),
    ("move", lambda m: m.setattr(clerk_module, "move_into_place", raise_full)),
    ("sign", lambda m: m.setattr(Signer, "sign", raise_full)),
    ("bug", lambda m: m.setattr(clerk_module, "write_segment", None)),
]


@pytest.mark.parametrize(("name", "fault"), FAULTS, ids=[name for name, _ in FAULTS])
def test_a_seal_that_fails_is_tried_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    fault: Callable[[pytest.MonkeyPatch], None],
) -> None:
    """A fault in any step, of the disk or ours, shows in the status, loses nothing, and heals."""
    monkeypatch.setattr(clerk_module, "_RETRY_SECONDS", 0.01)
    here = place(tmp_path)
    with here.ledger(seal_rows=5) as ledger:
        append(ledger, [event(0)])
        with monkeypatch.context() as patched:
            fault(patched)
            append(ledger, events(1, 6))
            until(lambda: ledger.status().fault)
            assert not ledger.status().healthy
            assert append(ledger, [event(7)]) == Appended(stored=1)
        until(lambda: ledger.status().healthy)
    check_sealed(here)
    verified(here)


def test_a_seal_that_fails_at_close_leaves_its_leaves_hot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where close cannot seal, the leaves stay hot and the next start seals them."""
    here = place(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(clerk_module, "write_segment", raise_full)
        with here.ledger() as ledger:
            append(ledger, events(0, 5))
    assert check_log(here).kinds() == ["genesis"] + ["event"] * 5
    with here.ledger():
        pass
    check_sealed(here)


def test_an_earlier_seal_that_fails_at_close_is_not_overtaken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If one seal fails at close and the next could succeed, nothing is lost, no root is wrong."""
    here = place(tmp_path)
    real = write_segment
    doomed = threading.Event()

    def refuse_first(batches: list[Any], path: Path, **options: Any) -> tuple[int, str]:
        if batches[0].column("log_index")[0].as_py() == 0:
            doomed.set()
            raise OSError(28, "No space left on device")
        return real(batches, path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(clerk_module, "write_segment", refuse_first)
        with here.ledger(seal_rows=5) as ledger:
            append(ledger, events(0, 6))
            assert doomed.wait(20)
            append(ledger, events(6, 8))
    check_log(here)
    with here.ledger():
        pass
    assert len(check_sealed(here).ids()) == 8
    verified(here)


def test_the_status_counts_what_became_of_each_event(tmp_path: Path) -> None:
    """Stored, duplicate, conflicting and quarantined are each counted over all appends."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        for number in range(2):
            new = [event(number), event(number), event(number, inputs="{}"), event(9)]
            append(ledger, new, [Undecodable(b"%d" % number, "bad")])
        status = ledger.status().tenants[TENANT]
    counts = (status.stored, status.duplicates, status.conflicts, status.quarantined)
    assert counts == (3, 3, 2, 2)
