"""The answer leaves after the fsync; a kill cannot show it, as the page cache outlives it."""

import os
import threading
from pathlib import Path

import pytest
from intentproof_store import Appended, Ledger, LedgerSettings

from tests.store.support import TENANT, event


def test_nothing_is_acknowledged_before_its_bytes_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the disk still works on a frame, its future is not done; afterwards it is."""
    settings = LedgerSettings(store=tmp_path / "s", home=tmp_path / "h", hot=tmp_path / "hot")
    reached, go_on = threading.Event(), threading.Event()
    sync = os.fdatasync

    def slow_sync(descriptor: int) -> None:
        reached.set()
        assert go_on.wait(20)
        sync(descriptor)

    with Ledger.open(settings) as ledger:
        ledger.append(TENANT, [event(1)]).result(20)  # the genesis is behind us
        monkeypatch.setattr(os, "fdatasync", slow_sync)
        future = ledger.append(TENANT, [event(2)])
        try:
            assert reached.wait(5), "the frame was not synced"
            assert not future.done()
        finally:
            go_on.set()
        assert future.result(20) == Appended(stored=1)
