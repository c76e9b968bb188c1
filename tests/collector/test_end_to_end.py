"""Acknowledged by the Collector means fsynced by the receiver, with examples' end-to-end.yaml."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.collector.application import (
    DECLARED,
    expected_events,
    export,
    send,
    spans_of_one_trace,
    stored_events,
    trace_id_of,
    wait_until_delivery_failed,
)
from tests.collector.examples import EXAMPLES
from tests.collector.processes import Collector, Receiver

END_TO_END = EXAMPLES["end-to-end"]

MakeExample = Callable[..., Collector]

pytestmark = [
    pytest.mark.collector,
    pytest.mark.long,
    pytest.mark.timeout(900),  # the first test may have to build the Collector
]


def test_export_succeeds_only_when_the_receiver_has_answered(
    example_collector: MakeExample, receiver: Receiver
) -> None:
    """While the receiver is down an export fails; repeated when it is up, it is stored once."""
    spans = spans_of_one_trace(DECLARED)
    collector = example_collector(END_TO_END)

    with collector.collecting():
        while_down = export(spans, collector, timeout_seconds=3)
        with receiver.serving():
            send(spans, collector)
            events = stored_events(receiver, trace_id_of(spans))

    assert not while_down
    assert events == sorted(expected_events(spans, "declared", DECLARED))
    assert receiver.verify() == 0


def test_export_that_waits_succeeds_when_the_receiver_is_back(
    example_collector: MakeExample, receiver: Receiver
) -> None:
    """An application with a long timeout waits out a restart of the receiver, and then has it."""
    spans = spans_of_one_trace(DECLARED)
    collector = example_collector(END_TO_END)

    with collector.collecting() as collecting, ThreadPoolExecutor(1) as application:
        waiting = application.submit(export, spans, collector, timeout_seconds=60)
        wait_until_delivery_failed(collecting)
        with receiver.serving():
            acknowledged = waiting.result()
            events = stored_events(receiver, trace_id_of(spans))

    assert acknowledged
    assert events == sorted(expected_events(spans, "declared", DECLARED))


def test_acknowledged_outlives_collector_and_receiver(
    example_collector: MakeExample, receiver: Receiver
) -> None:
    """What an application was told is stored is there after both were killed at that moment."""
    spans = spans_of_one_trace(DECLARED)
    collector = example_collector(END_TO_END)

    with receiver.serving() as serving, collector.collecting() as collecting:
        send(spans, collector)
        collecting.kill()
        serving.kill()
    with receiver.serving():
        events = stored_events(receiver, trace_id_of(spans))

    assert events == sorted(expected_events(spans, "declared", DECLARED))
    assert receiver.verify() == 0


def test_collector_that_dies_has_acknowledged_nothing(
    example_collector: MakeExample, receiver: Receiver
) -> None:
    """An export under way when the Collector is killed fails: the application still has it."""
    spans = spans_of_one_trace(DECLARED)
    collector = example_collector(END_TO_END)

    with collector.collecting() as collecting, ThreadPoolExecutor(1) as application:
        waiting = application.submit(export, spans, collector, timeout_seconds=10)
        wait_until_delivery_failed(collecting)
        collecting.kill()
        acknowledged = waiting.result()

    assert not acknowledged
    assert not collector.queue.exists()


def test_refusal_reaches_the_application(
    example_collector: MakeExample, receiver: Receiver
) -> None:
    """A key that the receiver does not take is the application's failure, not the log's secret."""
    receiver.key_file.write_text("not-a-key")
    collector = example_collector(END_TO_END)

    with receiver.serving(), collector.collecting():
        acknowledged = export(spans_of_one_trace(DECLARED), collector)
        refused = collector.metric("otelcol_receiver_refused_spans")

    assert not acknowledged
    assert refused == len(DECLARED) + 1  # the root span too, which the filter would have dropped
