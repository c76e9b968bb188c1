"""An agent with a queue and no key, a gateway with the key and no queue, mutual TLS between."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trustme

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
from tests.collector.examples import EXAMPLES
from tests.collector.processes import Collector, Receiver

MakeExample = Callable[..., Collector]

pytestmark = [
    pytest.mark.collector,
    pytest.mark.long,
    pytest.mark.timeout(900),  # the first test may have to build the Collector
]


@dataclass(frozen=True)
class Tiers:
    """Both Collectors, set up and not running; the agent sends to the gateway alone."""

    agent: Collector
    gateway: Collector


def write_certificate(authority: trustme.CA, folder: Path, name: str) -> tuple[str, str]:
    """The paths of a certificate for this machine and of its key."""
    issued = authority.issue_cert("127.0.0.1")
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    issued.cert_chain_pems[0].write_to_path(paths[0])
    issued.private_key_pem.write_to_path(paths[1])
    return str(paths[0]), str(paths[1])


@pytest.fixture
def tiers(example_collector: MakeExample, tmp_path: Path) -> Tiers:
    """Agent and gateway whose certificates one authority has issued."""
    authority = trustme.CA()
    ca_file = str(tmp_path / "ca.pem")
    authority.cert_pem.write_to_path(ca_file)
    gateway_cert, gateway_key = write_certificate(authority, tmp_path, "gateway")
    agent_cert, agent_key = write_certificate(authority, tmp_path, "agent")
    gateway = example_collector(
        EXAMPLES["gateway"],
        INTENTPROOF_GATEWAY_CERTIFICATE_FILE=gateway_cert,
        INTENTPROOF_GATEWAY_KEY_FILE=gateway_key,
        INTENTPROOF_GATEWAY_AGENT_CA_FILE=ca_file,
    )
    agent = example_collector(
        EXAMPLES["agent"],
        INTENTPROOF_ENDPOINT=str(gateway.grpc),
        INTENTPROOF_INSECURE="false",
        INTENTPROOF_API_KEY_FILE="/nonexistent",
        INTENTPROOF_CA_FILE=ca_file,
        INTENTPROOF_CLIENT_CERTIFICATE_FILE=agent_cert,
        INTENTPROOF_CLIENT_KEY_FILE=agent_key,
    )
    return Tiers(agent, gateway)


def test_spans_pass_both_tiers(tiers: Tiers, receiver: Receiver) -> None:
    """What the contract maps is stored once, sent by an agent that has no key."""
    spans = spans_of_one_trace(DECLARED, OBSERVED, UNRELATED)
    expected = [
        *expected_events(spans, "declared", DECLARED),
        *expected_events(spans, "observed", OBSERVED),
    ]

    with receiver.serving() as serving, tiers.gateway.collecting(), tiers.agent.collecting():
        send(spans, tiers.agent)
        events = wait_until_stored(receiver, serving, trace_id_of(spans), count=len(expected))

    assert events == sorted(expected)
    assert not tiers.gateway.queue.exists()
    assert receiver.verify() == 0


def test_gateway_killed_with_spans_in_hand_loses_nothing(tiers: Tiers, receiver: Receiver) -> None:
    """Spans that a gateway had and could not deliver when it was killed come from the agent."""
    spans = spans_of_one_trace(DECLARED)

    with tiers.agent.collecting() as agent:
        with tiers.gateway.collecting() as gateway:
            send(spans, tiers.agent)
            wait_until_delivery_failed(gateway)
            gateway.kill()
        wait_until_delivery_failed(agent)
        with receiver.serving() as serving, tiers.gateway.collecting():
            events = wait_until_stored(receiver, serving, trace_id_of(spans), count=len(DECLARED))

    assert events == sorted(expected_events(spans, "declared", DECLARED))
    assert receiver.verify() == 0


def test_agent_with_a_strange_certificate_is_not_let_in_and_loses_nothing(
    tiers: Tiers, receiver: Receiver, tmp_path: Path
) -> None:
    """A gateway takes spans of agents of its own authority only; others wait on their disk."""
    spans = spans_of_one_trace(DECLARED)
    cert, key = write_certificate(trustme.CA(), tmp_path, "strange")
    strange = {"INTENTPROOF_CLIENT_CERTIFICATE_FILE": cert, "INTENTPROOF_CLIENT_KEY_FILE": key}
    stranger = replace(tiers.agent, environment={**tiers.agent.environment, **strange})

    with receiver.serving() as serving, tiers.gateway.collecting():
        with stranger.collecting() as refused:
            send(spans, stranger)
            wait_until_delivery_failed(refused)
            before = receiver.sql("SELECT count(*) AS n FROM events")
        with tiers.agent.collecting():
            wait_until_stored(receiver, serving, trace_id_of(spans), count=len(DECLARED))

    assert before == [{"n": 0}]


def test_refusal_of_the_gateways_key_empties_the_agents_queue(
    tiers: Tiers, receiver: Receiver
) -> None:
    """A key that the receiver does not take costs the agents their spans, counted at the agent."""
    receiver.key_file.write_text("not-a-key")

    with receiver.serving(), tiers.gateway.collecting(), tiers.agent.collecting() as agent:
        send(spans_of_one_trace(DECLARED), tiers.agent)
        agent.wait_for(
            lambda: tiers.agent.metric("otelcol_exporter_send_failed_spans") == len(DECLARED),
            what="count of lost spans",
        )


def test_gateway_does_not_start_without_its_certificates(
    example_collector: MakeExample,
) -> None:
    """A missing certificate stops a gateway: it never listens in clear."""
    gateway = example_collector(EXAMPLES["gateway"])

    with (
        pytest.raises(AssertionError, match="ended before healthy Collector"),
        gateway.collecting(),
    ):
        pass
