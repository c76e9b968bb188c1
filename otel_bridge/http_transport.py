"""OTLP/HTTP with protobuf bodies, over the library that OpenTelemetry's exporter brings."""

import gzip

import requests
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from .answers import Accepted, Answer, Refused, RetryLater, http_answer
from .settings import OtlpSettings

_PROTOBUF = "application/x-protobuf"
_MESSAGE_CHARS_MAX = 300


class HttpTransport:
    """Sends requests over one session, which keeps its connection alive."""

    def __init__(self, settings: OtlpSettings) -> None:
        self._endpoint = settings.endpoint
        self._timeout_s = settings.timeout_s
        self._compress = settings.compression == "gzip"
        self._session = requests.Session()
        self._session.headers.update(
            {"content-type": _PROTOBUF, "user-agent": "intentproof-otel", **dict(settings.headers)}
        )
        if self._compress:
            self._session.headers["content-encoding"] = "gzip"
        self._verify = settings.certificate or True
        if settings.client_certificate and settings.client_key:
            self._session.cert = (settings.client_certificate, settings.client_key)
        elif settings.client_certificate:
            self._session.cert = settings.client_certificate

    def send(self, body: bytes) -> Answer:
        """One attempt; a broken connection is an answer too."""
        try:
            response = self._session.post(
                self._endpoint,
                data=gzip.compress(body, 6) if self._compress else body,
                timeout=self._timeout_s,
                verify=self._verify,  # given here, it wins over REQUESTS_CA_BUNDLE
                allow_redirects=False,  # a redirected POST becomes a GET
            )
        except (requests.ConnectionError, requests.Timeout) as error:
            return RetryLater(f"http_{type(error).__name__}", str(error))
        except requests.exceptions.ChunkedEncodingError as error:
            return RetryLater("http_broken_answer", str(error))
        except requests.RequestException as error:
            return Refused(f"http_{type(error).__name__}", str(error))
        if 200 <= response.status_code < 300:
            return _accepted(response)
        return http_answer(
            response.status_code, _message(response), response.headers.get("retry-after")
        )

    def close(self) -> None:
        """Release the connection; a request under way ends with its own timeout."""
        self._session.close()


def _accepted(response: requests.Response) -> Accepted:
    if _PROTOBUF not in response.headers.get("content-type", ""):
        return Accepted()
    try:
        partial = ExportTraceServiceResponse.FromString(response.content).partial_success
    except DecodeError:
        return Accepted()  # the status was 2xx; what the body says is lost
    return Accepted(partial.rejected_spans, partial.error_message)


def _message(response: requests.Response) -> str:
    """What the receiver says of a failure: `google.rpc.Status`, else the start of its text."""
    if _PROTOBUF in response.headers.get("content-type", ""):
        try:
            return str(Status.FromString(response.content).message)[:_MESSAGE_CHARS_MAX]
        except DecodeError:
            return ""
    return response.text[:_MESSAGE_CHARS_MAX]
