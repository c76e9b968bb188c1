"""Keepalive: a client's pings on a connection without calls."""

import socket
import time

import h2.connection
import h2.events
import pytest

from tests.receiver.support import Service

PING_EVERY_S = 10.3  # a Collector's shortest `keepalive.time` is 10 s
ENHANCE_YOUR_CALM = 11  # RFC 9113 §7


def goaway(address: str, *, pings: int, every_s: float) -> int | None:
    """The code of the GOAWAY that answers pings on an idle connection, if one does."""
    host, _, port = address.rpartition(":")
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    with socket.create_connection((host, int(port)), timeout=20) as wire:
        for number in range(pings):
            connection.ping(number.to_bytes(8, "big"))
            wire.sendall(connection.data_to_send())
            due = time.monotonic() + every_s
            while (left := due - time.monotonic()) > 0:
                wire.settimeout(left)
                try:
                    received = wire.recv(65_536)
                except TimeoutError:
                    break
                for event in connection.receive_data(received):
                    if isinstance(event, h2.events.ConnectionTerminated):
                        return int(event.error_code or 0)
                wire.sendall(connection.data_to_send())
    return None


@pytest.mark.long
def test_pings_every_ten_seconds_are_taken(service: Service) -> None:
    """A client that pings every ten seconds without a call keeps its connection."""
    assert goaway(service.grpc, pings=4, every_s=PING_EVERY_S) is None


def test_more_pings_are_refused(service: Service) -> None:
    """A client that pings all the time is told to calm down."""
    assert goaway(service.grpc, pings=8, every_s=0.2) == ENHANCE_YOUR_CALM
