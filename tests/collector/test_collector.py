"""From a plain OpenTelemetry application through a real Collector into the log."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.collector.application import (
    DECLARED,
    OBSERVED,
    UNRELATED,
    expected_events,
    send,
    spans_of_one_trace,
    trace_id_of,
    wait_until_delivery_failed,
    wait_until_stored,
)
from tests.collector.examples import validate
from tests.collector.processes import ROOT, Collector, Process, Receiver

GRPC_CONFIG = "collector-config.yaml"
HTTP_CONFIG = "collector-config.http.yaml"

MakeCollector = Callable[[str], Collector]

pytestmark = [
    pytest.mark.collector,
    pytest.mark.timeout(900),  # the first test may have to build the Collector
]


@pytest.mark.parametrize("config", [GRPC_CONFIG, HTTP_CONFIG])
def test_shipped_configuration_is_valid(collector_binary: Path, config: str) -> None:
    """The Collector accepts each configuration as shipped, with nothing set in the environment."""
    done = validate(collector_binary, str(ROOT / config))

    assert done.returncode == 0, done.stderr


def test_bearer_token_may_replace_the_api_key_header(collector_binary: Path) -> None:
    """The override of collector/README.md turns the key header into a bearer token."""
    override = ROOT / "collector" / "bearer-token.yaml"

    done = validate(collector_binary, str(ROOT / GRPC_CONFIG), str(override))

    assert done.returncode == 0, done.stderr


def test_configurations_differ_in_the_exporter_alone() -> None:
    """What is kept, redacted and queued does not depend on the transport."""

    def settings_without_transport(config: str, exporter: str) -> dict[str, Any]:
        settings: dict[str, Any] = yaml.safe_load((ROOT / config).read_text())
        options = settings["exporters"].pop(exporter)
        settings["service"]["pipelines"]["traces/intentproof"].pop("exporters")
        return settings | {
            "delivery": {k: options[k] for k in ("auth", "retry_on_failure", "sending_queue")}
        }

    over_grpc = settings_without_transport(GRPC_CONFIG, "otlp_grpc/intentproof")
    over_http = settings_without_transport(HTTP_CONFIG, "otlp_http/intentproof")

    assert over_grpc == over_http


@pytest.mark.parametrize("config", [GRPC_CONFIG, HTTP_CONFIG])
def test_spans_with_intent_arrive_and_others_do_not(
    make_collector: MakeCollector, receiver: Receiver, config: str
) -> None:
    """Annotated and tool spans become events of a log that verifies; other spans never leave."""
    spans = spans_of_one_trace(DECLARED, OBSERVED, UNRELATED)
    expected = [
        *expected_events(spans, "declared", DECLARED),
        *expected_events(spans, "observed", OBSERVED),
    ]
    collector = make_collector(config)

    with receiver.serving() as serving, collector.collecting() as collecting:
        send(spans, collector)
        events = wait_until_stored(receiver, serving, trace_id_of(spans), count=len(expected))
        collecting.wait_for(
            lambda: collector.metric("otelcol_exporter_sent_spans") >= len(expected),
            what="count of sent spans",
        )
        sent = collector.metric("otelcol_exporter_sent_spans")

    assert events == sorted(expected)
    assert sent == len(expected)
    assert receiver.verify() == 0


@pytest.mark.parametrize("config", [GRPC_CONFIG, HTTP_CONFIG])
def test_spans_wait_for_a_receiver_that_is_down(
    make_collector: MakeCollector, receiver: Receiver, config: str
) -> None:
    """Spans that were sent while the receiver was down are stored once, after it has started."""
    spans = spans_of_one_trace(DECLARED)
    collector = make_collector(config)

    with collector.collecting() as collecting:
        send(spans, collector)
        wait_until_delivery_failed(collecting)
        with receiver.serving() as serving:
            events = wait_until_stored(receiver, serving, trace_id_of(spans), count=len(DECLARED))

    assert events == sorted(expected_events(spans, "declared", DECLARED))
    assert receiver.verify() == 0


@pytest.mark.parametrize("end", [Process.kill, Process.stop], ids=["crash", "restart"])
def test_queue_outlives_the_collector(
    make_collector: MakeCollector, receiver: Receiver, end: Callable[[Process], None]
) -> None:
    """Spans that a Collector had accepted, and was sending when it ended, go out with the next."""
    spans = spans_of_one_trace(DECLARED)
    collector = make_collector(GRPC_CONFIG)

    with collector.collecting() as collecting:
        send(spans, collector)
        wait_until_delivery_failed(collecting)
        end(collecting)
    with receiver.serving() as serving, collector.collecting():
        events = wait_until_stored(receiver, serving, trace_id_of(spans), count=len(DECLARED))

    assert events == sorted(expected_events(spans, "declared", DECLARED))
    assert receiver.verify() == 0


def test_secrets_are_redacted_before_they_are_evidence(
    make_collector: MakeCollector, receiver: Receiver
) -> None:
    """A key that matches the redaction's pattern is stars in the stored inputs."""
    secret = {"intentproof.intent": "Refund", "intentproof.inputs": '{"key":"sk_live_0aB"}'}
    spans = spans_of_one_trace([secret])
    trace_id = trace_id_of(spans)
    collector = make_collector(GRPC_CONFIG)

    with receiver.serving() as serving, collector.collecting():
        send(spans, collector)
        wait_until_stored(receiver, serving, trace_id, count=1)
        rows = receiver.sql(f"SELECT inputs FROM events WHERE trace_id = '{trace_id}'")

    assert rows == [{"inputs": '{"key":"***"}'}]


def test_refused_key_is_counted_as_lost_evidence(
    make_collector: MakeCollector, receiver: Receiver
) -> None:
    """Spans sent with a key that is not valid are deleted, and the counter to watch shows it."""
    receiver.key_file.write_text("not-a-key")
    collector = make_collector(GRPC_CONFIG)

    with receiver.serving(), collector.collecting() as collecting:
        send(spans_of_one_trace(DECLARED), collector)
        collecting.wait_for(
            lambda: collector.metric("otelcol_exporter_send_failed_spans") > 0,
            what="count of lost spans",
        )
        lost = collector.metric("otelcol_exporter_send_failed_spans")

    assert lost == len(DECLARED)


def test_collector_does_not_start_without_a_key(
    make_collector: MakeCollector, receiver: Receiver
) -> None:
    """A missing key stops the Collector: started, it would have its spans refused and deleted."""
    receiver.key_file.unlink()
    collector = make_collector(GRPC_CONFIG)

    with (
        pytest.raises(AssertionError, match="ended before healthy Collector"),
        collector.collecting(),
    ):
        pass
