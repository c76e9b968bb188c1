"""The receiver, the Collector, or both end without warning while applications send."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.conftest import MakeSite
from tests.faults.site import SEALING_OFTEN, killed_again_and_again, until

pytestmark = [pytest.mark.collector, pytest.mark.fault, pytest.mark.timeout(1500)]


def test_receiver_is_down_for_a_minute(make_site: MakeSite, seconds: float) -> None:
    """What the Collector took while the receiver was down arrives once after it is back."""
    site = make_site()
    with site.collector.collecting(), site.load(spans_a_second=1000) as load:
        with site.receiver.serving():
            until(lambda: site.receiver.requests("ok"), "delivery before the fault")
        before = len(load.acknowledged)
        load.send_for(seconds)
        load.finish()
        assert len(load.acknowledged) > before
        assert site.queued() > 0
        assert "Will retry the request" in site.collector_log()
        with site.receiver.serving():
            site.wait_until_delivered(load.span_ids)
    site.check(load.span_ids)


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_receiver_is_killed_every_three_seconds(
    make_site: MakeSite, seconds: float, transport: str
) -> None:
    """A receiver that is killed again and again loses nothing and keeps nothing twice."""
    site = make_site(transport, receiver=SEALING_OFTEN)
    with site.collector.collecting(), site.load(spans_a_second=1000) as load:
        kills = killed_again_and_again(site.receiver.serving, every_s=3, for_s=seconds)
        assert kills >= 2
        assert "Will retry the request" in site.collector_log()
        with site.receiver.serving():
            load.finish()
            site.wait_until_delivered(load.span_ids)
    site.check(load.span_ids)


def test_collector_is_killed_with_a_full_queue(make_site: MakeSite) -> None:
    """A Collector killed with a full queue delivers it after its restart, and once."""
    full = 24_000_000
    site = make_site(exporter={"sending_queue": {"queue_size": full}})
    with site.load(spans_a_second=3000, payload_bytes=2000) as load:
        with site.collector.collecting() as collecting:
            until(lambda: site.queued() > 0.95 * full, "full queue")
            collecting.kill()
        with site.collector.collecting() as collecting:
            assert site.queued() > 0.9 * full
            with site.receiver.serving():
                until(lambda: site.receiver.requests("ok"), "first delivery")
                collecting.kill()  # again, now in the middle of emptying its queue
        with site.receiver.serving(), site.collector.collecting():
            load.finish()
            site.wait_until_delivered(load.span_ids)
    site.check(load.span_ids)


def test_receiver_and_collector_are_both_killed(make_site: MakeSite, seconds: float) -> None:
    """Both killed again and again, at different moments, lose nothing and keep nothing twice."""
    site = make_site(receiver=SEALING_OFTEN)
    with site.load(spans_a_second=1000) as load, ThreadPoolExecutor() as pool:
        rhythms = ((site.receiver.serving, 3), (site.collector.collecting, 5))
        runs = [
            pool.submit(killed_again_and_again, start, every_s=every_s, for_s=seconds)
            for start, every_s in rhythms
        ]
        assert all(run.result() >= 2 for run in runs)
        assert load.resends > 0
        with site.receiver.serving(), site.collector.collecting():
            load.finish()
            site.wait_until_delivered(load.span_ids)
    site.check(load.span_ids)
