"""gRPC frame by frame, for what grpcio's own client cannot be made to send."""

import socket
import zlib

import h2.config
import h2.connection
import h2.events

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def call(address: str, message: bytes, *, encoding: str, key: str, flag: int = 1) -> dict[str, str]:
    """Send one message of an encoding; the headers and trailers of the answer."""
    host, _, port = address.rpartition(":")
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    headers = [
        (":method", "POST"),
        (":path", EXPORT),
        (":scheme", "http"),
        (":authority", address),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-encoding", encoding),
        ("x-api-key", key),
    ]
    connection.send_headers(1, headers)
    prefix = bytes([flag]) + len(message).to_bytes(4, "big")
    connection.send_data(1, prefix + message, end_stream=True)
    with socket.create_connection((host, int(port)), timeout=20) as wire:
        return _answer(wire, connection)


def _answer(wire: socket.socket, connection: h2.connection.H2Connection) -> dict[str, str]:
    got: dict[str, str] = {}
    while True:
        wire.sendall(connection.data_to_send())
        received = wire.recv(65_536)
        assert received, "the server hung up"
        for event in connection.receive_data(received):
            if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                got |= {name.decode(): value.decode() for name, value in event.headers or ()}
            if isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                return got


def damaged_gzip() -> bytes:
    """Bytes that begin as gzip does and are none."""
    return zlib.compress(b"x", wbits=31)[:-6] + b"\xff" * 6
