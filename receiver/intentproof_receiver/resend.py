"""Sending one request to a running receiver over OTLP/HTTP, as any client does."""

import json
import ssl
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from .errors import Unusable
from .exposure import names_loopback
from .status import Encoding

_SECONDS_MAX = 60.0
_PATH = "/v1/traces"
_OK = 200


@dataclass(frozen=True)
class Endpoint:
    """A receiver: where it listens, with which key, and whom to trust for its certificate.

    `certificate` and `key` are shown where it asks its clients for one.
    """

    url: str
    api_key: str
    ca_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def send(self, body: bytes, encoding: Encoding) -> str:
        """Send one request of one span: "" where it was taken, else why not. Blocks.

        Raises Unusable where the receiver cannot be reached, or takes nothing now.
        """
        headers = {"content-type": encoding.value, "x-api-key": self.api_key}
        connection = self._connection()
        try:
            connection.request("POST", urlsplit(self.url).path or _PATH, body, headers)
            answer = connection.getresponse()
            status, told = answer.status, answer.read()
        except (OSError, HTTPException) as error:
            raise Unusable(
                f"--endpoint {self.url}: {str(error) or type(error).__name__}"
            ) from error
        finally:
            connection.close()
        if status != _OK:
            raise Unusable(f"--endpoint {self.url}: answers {status}: {_message(told, encoding)}")
        return _rejection(told, encoding)

    def _connection(self) -> HTTPConnection:
        parts = urlsplit(self.url)
        try:
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("must be http://HOST:PORT or https://HOST:PORT")
            if parts.scheme == "http":
                if not names_loopback(parts.hostname):
                    raise ValueError("the key would cross the network in clear: use https")
                return HTTPConnection(parts.hostname, parts.port, timeout=_SECONDS_MAX)
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
            return HTTPSConnection(
                parts.hostname, parts.port, timeout=_SECONDS_MAX, context=context
            )
        except (OSError, ValueError) as error:
            raise Unusable(f"--endpoint {self.url}: {error}") from error


def _message(told: bytes, encoding: Encoding) -> str:
    try:
        if encoding is Encoding.PROTOBUF:
            return str(Status.FromString(told).message)
        return str(json.loads(told)["message"])
    except (DecodeError, ValueError, KeyError, TypeError):
        return "no Status"


def _rejection(told: bytes, encoding: Encoding) -> str:
    """The message of a partial success that rejects the span."""
    try:
        if encoding is Encoding.PROTOBUF:
            partial = ExportTraceServiceResponse.FromString(told).partial_success
            return str(partial.error_message) if partial.rejected_spans else ""
        found: dict[str, Any] = json.loads(told).get("partialSuccess", {})
        return str(found.get("errorMessage")) if int(found.get("rejectedSpans", 0)) else ""
    except (DecodeError, ValueError, AttributeError) as error:
        raise Unusable("the endpoint does not answer as an OTLP receiver does") from error
