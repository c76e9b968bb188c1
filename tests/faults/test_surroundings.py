"""What the receiver stands on changes under it: disk, clock, keys."""

import json
import os
import time
from functools import partial
from pathlib import Path

import pytest

from tests.collector.processes import TENANT
from tests.faults.conftest import MakeSite
from tests.faults.disk import small_disk
from tests.faults.load import Refused, grpc_client
from tests.faults.site import SEALING_OFTEN, ReceiverUnderTest, Site, until

pytestmark = [pytest.mark.collector, pytest.mark.fault, pytest.mark.timeout(1500)]

CLOCK = Path(__file__).with_name("clock")
HOUR_SECONDS = 3600
DAY_SECONDS = 86_400


@pytest.mark.root
@pytest.mark.parametrize("full", ["hot", "store", "home", "."])
def test_disk_is_full_and_freed(
    make_site: MakeSite, tmp_path: Path, seconds: float, full: str
) -> None:
    """A receiver without space refuses, even when restarted, and goes on by itself with space."""
    with small_disk(tmp_path / "receiver" / full, megabytes=128) as disk:
        site = make_site(receiver=SEALING_OFTEN)
        with site.collector.collecting(), site.load(spans_a_second=500) as load:
            with site.receiver.serving() as serving:
                until(lambda: site.receiver.metric("intentproof_ledger_segments_total"), "segment")
                disk.fill()
                until(lambda: site.receiver.requests("unavailable"), "refusal for want of space")
                serving.kill()
            with site.receiver.serving():
                load.send_for(seconds)
                disk.free()
                load.finish()
                site.wait_until_delivered(load.span_ids)
                until(lambda: site.receiver.metric("intentproof_ledger_healthy"), "healthy ledger")
        site.check(load.span_ids)


@pytest.mark.parametrize("hour_of_day", [0.5, 12], ids=["over midnight", "at noon"])
def test_clock_is_set_back(
    make_site: MakeSite, tmp_path: Path, seconds: float, hour_of_day: float
) -> None:
    """A clock that goes back is told in the log, and what is sent again is still recognised."""
    clock = Clock(tmp_path / "clock", hour_of_day=hour_of_day)
    site = make_site(receiver=clock.environment | SEALING_OFTEN)
    with site.collector.collecting(), site.load(spans_a_second=500) as load:
        with site.receiver.serving():
            load.send_for(seconds / 3)
            clock.set_back(HOUR_SECONDS)
            until(lambda: len(steps_back(site)) == 1, "gap while running")
            load.send_for(seconds / 3)
            again = load.send_again()
            until(lambda: site.receiver.duplicates() >= again, "duplicates")
        clock.set_back(HOUR_SECONDS)
        with site.receiver.serving():
            until(lambda: len(steps_back(site)) == 2, "gap after a restart")
            load.send_for(seconds / 3)
            load.finish()
            again = load.send_again()
            until(lambda: site.receiver.duplicates() >= again, "duplicates")
            site.wait_until_delivered(load.span_ids)
    site.check(load.span_ids)
    for step in steps_back(site):
        hours = (int(step["from_ns"]) - int(step["to_ns"])) / 1e9 / HOUR_SECONDS
        assert hours == pytest.approx(1, abs=0.2)


def steps_back(site: Site) -> list[dict[str, str]]:
    """What the log tells of its clock; restarts are gaps of another reason."""
    rows = site.receiver.sql("SELECT detail FROM gaps WHERE detail IS NOT NULL")
    details = [json.loads(row["detail"]) for row in rows]
    return [detail for detail in details if detail["reason"] == "clock_step_back"]


def test_key_is_rotated_with_overlap(make_site: MakeSite, tmp_path: Path, seconds: float) -> None:
    """New key, then replaced file, then old key revoked: such a rotation loses nothing."""
    site, rotations = make_site(), 2
    key_file = site.receiver.key_file
    with (
        site.receiver.serving(),
        site.collector.collecting(),
        site.load(spans_a_second=1000) as load,
    ):
        for _ in range(rotations):
            load.send_for(seconds / 4)
            old = key_file.read_text().strip()
            aside = key_file.with_suffix(".new")
            aside.write_text(site.receiver.key_of(TENANT))
            aside.replace(key_file)
            load.send_for(seconds / 4)  # the overlap: what is on its way still has the old key
            site.receiver.revoke(old)
            until(partial(is_refused, site.receiver, old), "refusal of the old key")
        load.finish()
        site.wait_until_delivered(load.span_ids)
        assert site.receiver.requests("unauthenticated") == rotations  # our own questions alone
    site.check(load.span_ids)


def is_refused(receiver: ReceiverUnderTest, key: str) -> bool:
    """Whether the receiver answers this key with a permanent refusal."""
    try:
        grpc_client(str(receiver.grpc), key)(b"")
    except Refused:
        return True
    return False


class Clock:
    """The receiver's wall clock, which stands at an hour of tomorrow (UTC) when this is made.

    Tomorrow, because spans are timed by the true clock, and are not received before they ended.
    """

    def __init__(self, file: Path, *, hour_of_day: float) -> None:
        self._file = file
        now = int(time.time())
        tomorrow = now - now % DAY_SECONDS + DAY_SECONDS
        self._offset = tomorrow + int(hour_of_day * HOUR_SECONDS) - now
        self.set_back(0)

    @property
    def environment(self) -> dict[str, str]:
        """What makes a Python process go by this clock."""
        path = [str(CLOCK), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {"PYTHONPATH": os.pathsep.join(path), "FAULT_CLOCK": str(self._file)}

    def set_back(self, seconds: int) -> None:
        """Move the clock."""
        self._offset -= seconds
        aside = self._file.with_suffix(".new")
        aside.write_text(str(self._offset))
        aside.replace(self._file)
