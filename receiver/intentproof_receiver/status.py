"""What goes back to a client: OTLP responses and google.rpc.Status, in either encoding.

Every body stays below 4 KiB, in JSON too, where a character may take two bytes: the Collector reads
64 KiB of a response and drops the batch if that does not parse.
"""

import json
from enum import Enum
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from .errors import InvalidRequest, ReceiverError, Unavailable, answer_to
from .outcome import Outcome

MESSAGE_BYTES_MAX = 896  # a Status of an invalid request says it twice
_TYPE_URL = "type.googleapis.com/"


class Encoding(Enum):
    """How a request's body is encoded, and hence its answer's; the value is the media type."""

    PROTOBUF = "application/x-protobuf"
    JSON = "application/json"


def short(message: str) -> str:
    """`message` within MESSAGE_BYTES_MAX bytes of UTF-8, without control characters."""
    plain = "".join(one if one.isprintable() else " " for one in message[:MESSAGE_BYTES_MAX])
    return plain.encode()[:MESSAGE_BYTES_MAX].decode(errors="ignore")


def success(outcome: Outcome, encoding: Encoding) -> bytes:
    """An ExportTraceServiceResponse; partial_success is unset where there is nothing to say."""
    told = bool(outcome.rejected or outcome.message)
    if encoding is Encoding.JSON:
        partial = {"rejectedSpans": str(outcome.rejected), "errorMessage": short(outcome.message)}
        return _json({"partialSuccess": partial} if told else {})
    if not told:
        return b""
    message = ExportTracePartialSuccess(
        rejected_spans=outcome.rejected, error_message=short(outcome.message)
    )
    return bytes(ExportTraceServiceResponse(partial_success=message).SerializeToString())


def retry_info(error: Unavailable) -> bytes:
    """A RetryInfo, which the Python SDK reads from a trailer of its own."""
    info = RetryInfo(retry_delay=Duration(seconds=error.retry_after_s))
    return bytes(info.SerializeToString())


def failure(error: ReceiverError, encoding: Encoding) -> bytes:
    """A google.rpc.Status with BadRequest or RetryInfo where the error has one."""
    code, message = answer_to(error).code, short(str(error))
    if encoding is Encoding.JSON:
        body: dict[str, Any] = {"code": code, "message": message}
        details = _json_details(error)
        if details:
            body["details"] = [details]
        return _json(body)
    status = Status(code=code, message=message)
    detail = _detail(error)
    if detail is not None:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return bytes(status.SerializeToString())


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


def _detail(error: ReceiverError) -> BadRequest | RetryInfo | None:
    if isinstance(error, InvalidRequest):
        violation = BadRequest.FieldViolation(
            field=error.field, description=short(error.description)
        )
        return BadRequest(field_violations=[violation])
    if isinstance(error, Unavailable):
        return RetryInfo(retry_delay=Duration(seconds=error.retry_after_s))
    return None


def _json_details(error: ReceiverError) -> dict[str, Any] | None:
    if isinstance(error, InvalidRequest):
        violation = {"field": error.field, "description": short(error.description)}
        return {"@type": _TYPE_URL + "google.rpc.BadRequest", "fieldViolations": [violation]}
    if isinstance(error, Unavailable):
        delay = f"{error.retry_after_s}s"
        return {"@type": _TYPE_URL + "google.rpc.RetryInfo", "retryDelay": delay}
    return None
