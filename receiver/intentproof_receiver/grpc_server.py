"""OTLP over gRPC: how bytes are read and a status is written. No decisions.

`Export` is served as a method that streams its request, of which there is one message: on the wire
that is the same, and it lets us refuse strangers and overload before the message is read. Raw bytes
both ways: the library's own parsing answers INTERNAL, which makes clients drop their data.
"""

import logging
from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import Any

import grpc
import grpc.aio

from .credentials import Credentials, api_key_of
from .errors import ReceiverError, Unavailable, Unreadable, Unusable, answer_to
from .inflight import Lease
from .intake import GetBody, Intake
from .stages import stage
from .status import Encoding, failure, retry_info, short, success
from .tls import Certificates, TlsMaterial

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
_log = logging.getLogger(__name__)
_CODES = {code.value[0]: code for code in grpc.StatusCode}

Context = grpc.aio.ServicerContext[bytes, bytes]


def bind(
    address: str, *, message_bytes_max: int, certificates: Certificates | None = None
) -> tuple[Any, int]:
    """A server that holds its port and does not answer yet. Raises Unusable if that is in use.

    Without `certificates` it speaks in clear.
    """
    server = grpc.aio.server(options=_options(message_bytes_max))
    try:
        if certificates is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, _Renewal(certificates).credentials())
    except RuntimeError as error:
        raise Unusable(
            f"--grpc {address}: cannot listen there, perhaps another process has the port"
        ) from error
    return server, port


class _Renewal:
    """Gives the library what is in force, when that has changed."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        self._given = certificates.current()

    def credentials(self) -> grpc.ServerCredentials:
        """TLS, mutual where there are CAs of clients; asks `fetch` before each handshake."""
        fetch: Any = self.fetch  # the stubs do not know that it may return None
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._given), fetch, self._certificates.mutual
        )

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """What new connections use from now on; None for no change. Called by library threads."""
        current = self._certificates.current()
        if current is self._given:
            return None
        self._given = current
        return _configuration(current)


def _configuration(material: TlsMaterial) -> grpc.ServerCertificateConfiguration:
    pairs = [(material.key, material.chain)]
    return grpc.ssl_server_certificate_configuration(pairs, material.client_ca)


def add_export(server: Any, intake: Intake) -> None:
    """Serve `TraceService/Export`; before the server is started."""
    handler: Any = grpc.stream_unary_rpc_method_handler(_Export(intake).export)
    methods = grpc.method_handlers_generic_handler(SERVICE, {"Export": handler})
    server.add_generic_rpc_handlers((methods,))


def _options(message_bytes_max: int) -> list[tuple[str, int]]:
    return [
        # Counted after decompression; beyond it the library answers RESOURCE_EXHAUSTED.
        ("grpc.max_receive_message_length", message_bytes_max),
        # Without this a second process may listen on the same port and take half of the requests.
        ("grpc.so_reuseport", 0),
        # The Collector's keepalive, if it is switched on, pings more often than the default allows.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_time_ms", 60_000),
        # Long connections end now and then, so that a load balancer can spread them anew.
        ("grpc.max_connection_age_ms", 3_600_000),
        ("grpc.max_connection_age_grace_ms", 60_000),
    ]


class _Export:
    """The handler of one method."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def export(self, messages: AsyncIterator[bytes], context: Context) -> bytes:
        """Answer one call: the response's bytes, or an abort with a status."""

        async def read(lease: Lease) -> GetBody:
            with stage("read"):
                async for message in messages:
                    lease.grow(len(message))
                    return partial(bytes, message)
            raise Unreadable

        try:
            outcome = await self._intake.take(
                "grpc", _credentials(context), Encoding.PROTOBUF, read
            )
            return success(outcome, Encoding.PROTOBUF)
        except ReceiverError as error:
            refusal = error
        except Exception:  # noqa: BLE001 - a bug must not destroy evidence
            # Answered by the library this would be UNKNOWN, which makes clients drop their data.
            _log.exception("handler_failed")
            refusal = Unavailable("an internal fault")
        # abort raises a bare Exception: outside of every try, or it would be answered twice.
        trailers: list[tuple[str, str | bytes]] = [
            ("grpc-status-details-bin", failure(refusal, Encoding.PROTOBUF))
        ]
        if isinstance(refusal, Unavailable):
            trailers.append(("google.rpc.retryinfo-bin", retry_info(refusal)))
        await context.abort(_CODES[answer_to(refusal).code], short(str(refusal)), tuple(trailers))
        raise AssertionError("abort returns never")


def _credentials(context: Context) -> Credentials:
    metadata = _text_metadata(context.invocation_metadata() or ())
    # The library gives one value as it is, several as a list.
    shown = context.auth_context().get("x509_pem_cert") or b""
    certificate = shown if isinstance(shown, bytes) else next(iter(shown), b"")
    return Credentials(api_key_of(metadata), bytes(certificate))


def _text_metadata(metadata: Iterable[tuple[str, str | bytes]]) -> dict[str, str]:
    return {key: value for key, value in metadata if isinstance(value, str)}
