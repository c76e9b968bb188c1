"""A root is what the bytes on the disk make, and never what memory held of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from intentproof_store import Ledger
from intentproof_store.checkpoints import checkpoint_sizes
from intentproof_store.frames import Frame, encode_frame, write_rows
from intentproof_store.hotlog import read_hot
from intentproof_store.identity import read_hot_key
from intentproof_store.rows import RowMaker
from intentproof_store.tenantlog import TenantLog

from tests.store.support import (
    NOON_NS,
    SECOND_NS,
    TENANT,
    Clock,
    Place,
    add_event,
    append,
    check_log,
    check_sealed,
    event,
    place,
    until,
    watched_logs,
)

HOUR_NS = 3_600 * SECOND_NS


def swap_last_frame(here: Place, fill: Callable[[RowMaker], object]) -> None:
    """Put other rows in the place of the newest frame, with a MAC that holds, of the same length.

    As if the rows that were written were not those that memory held when they were hashed.
    """
    path, old = [
        (path, found) for path, found in read_hot(here.hot, here.writer) if isinstance(found, Frame)
    ][-1]
    key = read_hot_key(here.home)
    assert key is not None
    maker = RowMaker(TENANT, here.writer, old.rows().column("received_ns")[0].as_py())
    fill(maker)
    body = write_rows(maker.batch(old.rows().column("log_index")[0].as_py()))
    raw = encode_frame(old.number, TENANT, body, key=key, writer=here.writer)
    assert len(raw) == old.length
    with path.open("r+b") as file:
        file.seek(old.offset)
        file.write(raw)


def sign_now(logs: dict[str, TenantLog]) -> None:
    logs[TENANT].checkpoint_due = 0.0


@pytest.mark.parametrize("how", ["checkpoint", "seal"])
def test_what_is_signed_is_what_stands_on_the_disk(tmp_path: Path, how: str) -> None:
    """Where the disk has other rows than memory had, the root is that of the disk's."""
    here = place(tmp_path)
    with watched_logs() as logs, here.ledger() as ledger:
        append(ledger, [event(1)])
        swap_last_frame(here, lambda maker: add_event(maker, event(2)))
        if how == "checkpoint":
            sign_now(logs)
            until(lambda: checkpoint_sizes(here.log()) == [1, 2])
            assert check_log(here).ids() == [event(2).event_id]
    assert check_sealed(here).ids() == [event(2).event_id]


def test_a_heartbeat_is_signed_as_it_stands_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a log says unasked goes the same way as events."""
    here, clock = place(tmp_path), Clock()
    real = TenantLog.took

    def took(self: TenantLog, refs: Any) -> None:
        real(self, refs)
        if clock.now_ns > NOON_NS:
            swap_last_frame(here, lambda maker: maker.add_detail("heartbeat", {"interval_ms": 7}))

    with here.ledger(clock, heartbeat_seconds=0.001) as ledger:
        monkeypatch.setattr(TenantLog, "took", took)
        append(ledger, [event(1)])
        clock.now_ns += HOUR_NS
        until(lambda: checkpoint_sizes(here.log())[-1] >= 3)
        monkeypatch.setattr(TenantLog, "took", real)
    assert '{"interval_ms":7}' in check_sealed(here).details("heartbeat")


def test_what_no_longer_holds_is_not_signed(tmp_path: Path) -> None:
    """Bytes that changed on the disk after the acknowledgement stop the signing, and are told."""
    here = place(tmp_path)
    with watched_logs() as logs:
        ledger = Ledger.open(here.settings(), clock_ns=Clock())
        append(ledger, [event(1)])
        (path,) = here.hot_files()
        raw = bytearray(path.read_bytes())
        raw[-100] ^= 1
        path.write_bytes(bytes(raw))
        sign_now(logs)
        until(lambda: ledger.status().fault)
        assert checkpoint_sizes(here.log()) == [1]
        ledger.close()
    assert checkpoint_sizes(here.log()) == [1]
