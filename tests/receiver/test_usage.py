"""What is charged to a tenant, what it is told beyond its quota, and what outlives the process."""

import json
from pathlib import Path
from typing import Any

import pytest
from intentproof_receiver.errors import OverQuota
from intentproof_receiver.outcome import Outcome
from intentproof_receiver.quotas import Quota, Quotas
from intentproof_receiver.usage import FILE_NAME, SAVE_SECONDS, Clocks, Usage

NOON = 1_700_049_600.0  # 2023-11-15T12:00:00Z
HOUR = 3600.0


class Time:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.now = NOON
        self.clocks = Clocks(wall=lambda: self.now, monotonic=lambda: self.now)


@pytest.fixture
def moment() -> Time:
    return Time()


def stored(events: int = 1) -> Outcome:
    return Outcome(received=events, taken=events, stored=events)


def usage(moment: Time, home: Path | None = None, **limits: Any) -> Usage:
    """Of tenant `acme` the limits are these; others have none."""
    quotas = Quotas(tenants={"acme": Quota(**limits)})
    return Usage(quotas, home=home, clocks=moment.clocks)


def refusal(used: Usage, tenant: str = "acme") -> OverQuota:
    with pytest.raises(OverQuota) as caught:
        used.check(tenant)
    return caught.value


def test_events_a_second(moment: Time) -> None:
    """Beyond the events a second a tenant is told when it has a token again."""
    used = usage(moment, events_per_second=5)
    used.charge("acme", stored(50), size=1)
    error = refusal(used)
    assert (error.reason, error.retry_after_s) == ("quota_events", 1)
    assert "5 events a second" in str(error)
    moment.now += 1
    used.check("acme")


def test_a_long_debt_is_told_in_parts(moment: Time) -> None:
    """However deep the debt, nobody is told to wait over a minute."""
    used = usage(moment, events_per_second=1)
    used.charge("acme", stored(10_000), size=1)
    assert refusal(used).retry_after_s == 60


def test_bytes_a_day(moment: Time) -> None:
    """Beyond the bytes of a day a tenant waits for the next one in UTC, asking once an hour."""
    used = usage(moment, bytes_per_day=100)
    used.charge("acme", stored(), size=99)
    used.check("acme")
    used.charge("acme", stored(), size=99)
    error = refusal(used)
    assert (error.reason, error.retry_after_s) == ("quota_bytes", 3600)
    moment.now = NOON + 12 * HOUR - 90.5
    assert refusal(used).retry_after_s == 91
    moment.now = NOON + 12 * HOUR
    used.check("acme")


def test_others_are_not_concerned(moment: Time) -> None:
    """What one tenant has used up is not missed by another, nor told to it."""
    quota = Quota(events_per_second=1, bytes_per_day=1)
    used = Usage(Quotas(default=quota), clocks=moment.clocks)
    used.charge("acme", stored(1000), size=1000)
    used.check("calm")
    error = refusal(used)
    assert "acme" not in str(error)


def test_what_is_charged(moment: Time) -> None:
    """Events that were kept, conflicts and quarantine too, are charged; duplicates are free."""
    used = usage(moment, events_per_second=0.2)  # two tokens at most
    used.charge("acme", Outcome(received=900, taken=900, duplicates=900), size=1)
    used.charge("acme", Outcome(received=900, not_kept=900), size=1)
    used.check("acme")
    used.charge("acme", Outcome(received=2, conflicts=1, quarantined=1), size=1)
    refusal(used)


def test_a_resend_costs_no_bytes(moment: Time) -> None:
    """A request of duplicates alone is free; one that brought anything else, or nothing, is not."""
    used = usage(moment, bytes_per_day=10)
    used.charge("acme", Outcome(received=2, taken=2, duplicates=2), size=1000)
    used.check("acme")
    used.charge("acme", Outcome(received=2, not_kept=2), size=5)
    used.charge("acme", Outcome(received=2, taken=2, duplicates=1, stored=1), size=5)
    refusal(used)


def test_a_restart_remembers(moment: Time, tmp_path: Path) -> None:
    """The bytes of a day outlive the process, and are gone with the day."""
    used = usage(moment, tmp_path, bytes_per_day=100)
    used.charge("acme", stored(), size=100)
    used.save()
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o077 == 0
    refusal(usage(moment, tmp_path, bytes_per_day=100))
    moment.now += 24 * HOUR
    usage(moment, tmp_path, bytes_per_day=100).check("acme")


def test_it_is_written_every_few_seconds(moment: Time, tmp_path: Path) -> None:
    """A kill loses what was charged within seconds of the last write, and no more."""
    used = usage(moment, tmp_path, bytes_per_day=100)
    used.charge("acme", stored(), size=1)
    assert not (tmp_path / FILE_NAME).exists()
    moment.now += SAVE_SECONDS
    used.charge("acme", stored(), size=1)
    moment.now += SAVE_SECONDS / 2
    used.charge("acme", stored(), size=40)
    assert json.loads((tmp_path / FILE_NAME).read_bytes())["bytes"] == {"acme": 2}
    used.save()
    assert json.loads((tmp_path / FILE_NAME).read_bytes())["bytes"] == {"acme": 42}


def test_nothing_is_written_without_need(moment: Time, tmp_path: Path) -> None:
    """Without a limit on bytes there is no file."""
    used = usage(moment, tmp_path, events_per_second=1)
    moment.now += SAVE_SECONDS
    used.charge("acme", stored(), size=1)
    used.charge("calm", stored(), size=1)
    used.save()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b"\xff",
        b"[" * 100_000,
        b'{"day": "2023-11-15"}',
        b'{"day": "2023-11-15", "bytes": [1]}',
        b'{"day": "2023-11-15", "bytes": {"acme": -1}}',
        b'{"day": "2023-11-15", "bytes": {"acme": "1"}}',
        b'{"day": "2023-11-15", "bytes": {"A": 1}}',
    ],
)
def test_a_damaged_file_is_told(
    moment: Time, tmp_path: Path, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that cannot be read is logged, counting begins anew, and the file is mended."""
    (tmp_path / FILE_NAME).write_bytes(raw)
    used = usage(moment, tmp_path, bytes_per_day=100)
    assert [record.message for record in caplog.records] == ["quota_usage_unreadable"]
    used.check("acme")
    used.charge("acme", stored(), size=100)
    used.save()
    refusal(usage(moment, tmp_path, bytes_per_day=100))


def test_a_disk_that_is_full_stops_nobody(
    moment: Time, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the file cannot be written that is logged, counting goes on, and it is tried again."""
    home = tmp_path / "home"
    used = usage(moment, home, bytes_per_day=100)
    used.charge("acme", stored(), size=100)
    used.save()
    assert [record.message for record in caplog.records] == ["quota_usage_not_saved"]
    refusal(used)
    home.mkdir()
    used.save()
    refusal(usage(moment, home, bytes_per_day=100))
