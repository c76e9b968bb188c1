"""OTLP/gRPC: one unary call with bytes that are already encoded."""

from pathlib import Path
from urllib.parse import urlsplit

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from .answers import Accepted, Answer, RetryLater, grpc_answer
from .settings import OtlpSettings

_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_OPTIONS = (
    ("grpc.primary_user_agent", "intentproof-otel"),
    # Retries are the sender's business; a dead receiver is found alive again within seconds.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5000),
)


class GrpcTransport:
    """Sends requests over one channel, which reconnects by itself."""

    def __init__(self, settings: OtlpSettings) -> None:
        compressed = settings.compression == "gzip"
        self._compression = grpc.Compression.Gzip if compressed else grpc.Compression.NoCompression
        self._metadata = tuple((key.lower(), value) for key, value in settings.headers)
        self._timeout_s = settings.timeout_s
        self._closed = False
        self._channel = _channel(settings)
        self._export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(
            _METHOD
        )

    def send(self, body: bytes) -> Answer:
        """One attempt; a broken connection is an answer too."""
        try:
            raw = self._export(
                body,
                timeout=self._timeout_s,
                metadata=self._metadata,
                compression=self._compression,
            )
        except grpc.RpcError as error:
            return _failure(error)
        except ValueError as error:
            if not self._closed:
                raise
            return RetryLater("closed", str(error))  # shutdown was faster
        try:
            partial = ExportTraceServiceResponse.FromString(raw).partial_success
        except DecodeError:
            return Accepted()  # the status was OK; what the body says is lost
        return Accepted(partial.rejected_spans, partial.error_message)

    def close(self) -> None:
        """Cancel what is under way and close the channel."""
        self._closed = True
        self._channel.close()


def _channel(settings: OtlpSettings) -> grpc.Channel:
    url = urlsplit(settings.endpoint)
    target = url.netloc or settings.endpoint
    insecure = settings.insecure
    if url.scheme == "https":
        insecure = False  # as the SDK has it
    elif insecure is None:
        insecure = url.scheme == "http"
    if insecure:
        return grpc.insecure_channel(target, options=_OPTIONS)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=_read(settings.certificate),
        private_key=_read(settings.client_key),
        certificate_chain=_read(settings.client_certificate),
    )
    return grpc.secure_channel(target, credentials, options=_OPTIONS)


def _read(path: str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()


def _failure(error: grpc.RpcError) -> Answer:
    if not isinstance(error, grpc.Call):
        return RetryLater("grpc_UNKNOWN", str(error))
    trailers = dict(error.trailing_metadata() or ())
    return grpc_answer(error.code().name, error.details() or "", _retry_delay(trailers))


def _retry_delay(trailers: dict[str, str | bytes]) -> float | None:
    """RetryInfo from either trailer: Python's own, or the one that every other client reads."""
    try:
        own = trailers.get("google.rpc.retryinfo-bin")
        if isinstance(own, bytes):
            return _seconds(RetryInfo.FromString(own).retry_delay)
        details = trailers.get("grpc-status-details-bin")
        if isinstance(details, bytes):
            info = RetryInfo()
            for detail in Status.FromString(details).details:
                if detail.Unpack(info):
                    return _seconds(info.retry_delay)
    except DecodeError:
        pass  # a delay that cannot be read is none
    return None


def _seconds(delay: Duration) -> float:
    return delay.seconds + delay.nanos / 1e9
