"""The HTTP application: OTLP at /v1/traces, health, readiness and metrics."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from intentproof_store import LedgerStatus
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from .body import decoder_of, read_body, unpack
from .errors import (
    MethodNotAllowed,
    ReceiverError,
    Unauthenticated,
    Unavailable,
    UnsupportedMedia,
    answer_to,
)
from .inflight import Lease
from .intake import GetBody, Intake
from .logs import log
from .metrics import Metrics
from .receipts_http import Receipts, credentials_of
from .stages import stage
from .status import Encoding, failure, success

TRACES = "/v1/traces"
_TRACES_PATHS = (TRACES, f"{TRACES}/")  # a 404 for a slash would cost the client its data
BODY_SECONDS_MAX = 60.0  # a client that sends no faster holds memory that others need
_CORRELATION_MAX = 256
_log = logging.getLogger(__name__)


def make_app(
    *,
    intake: Intake,
    metrics: Metrics,
    status: Callable[[], LedgerStatus],
    message_bytes_max: int,
    receipts: Receipts | None = None,
) -> FastAPI:
    """The application. `status` must not block."""
    # No redirects: they would be made of a header of the client's.
    app = FastAPI(title="IntentProof receiver", version="1", redirect_slashes=False)
    traces = _Traces(intake, message_bytes_max, metrics)
    for path in _TRACES_PATHS:
        app.add_api_route(
            path,
            traces.post,
            methods=["POST"],
            summary="Take an OTLP ExportTraceServiceRequest, protobuf or JSON",
            response_class=Response,
            include_in_schema=path == TRACES,
        )
    if receipts is not None:
        receipts.add_to(app)
    _add_status_routes(app, intake, metrics, status)
    _add_error_handlers(app, metrics)
    return app


class _Traces:
    """OTLP/HTTP: how a body is read and a status is written. No decisions."""

    def __init__(self, intake: Intake, message_bytes_max: int, metrics: Metrics) -> None:
        self._intake = intake
        self._message_bytes_max = message_bytes_max
        self._metrics = metrics

    async def post(self, request: Request) -> Response:
        """Answer one request; durable when it is answered 200."""
        bytes_max = self._message_bytes_max

        async def read(lease: Lease) -> GetBody:
            name = request.headers.get("content-encoding", "")
            decoder = decoder_of(name, bytes_max=bytes_max)
            try:
                with stage("read"):
                    async with asyncio.timeout(BODY_SECONDS_MAX):
                        body = await read_body(
                            request.stream(),
                            length=_length(request),
                            bytes_max=bytes_max,
                            lease=lease,
                        )
            except TimeoutError as error:
                raise Unavailable("the body took too long to arrive") from error
            except ClientDisconnect as error:
                raise Unavailable("the client hung up") from error
            return partial(unpack, body, decoder, bytes_max=bytes_max, lease=lease)

        try:
            encoding = _encoding(request)
        except UnsupportedMedia as error:
            return _refuse_early(error, request, self._metrics)
        try:
            outcome = await self._intake.take("http", credentials_of(request), encoding, read)
        except ReceiverError as error:
            return _refusal(error, request)
        return Response(success(outcome, encoding), media_type=encoding.value)


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _encoding(request: Request) -> Encoding:
    media_type = _media_type(request)
    for encoding in Encoding:
        if media_type == encoding.value:
            return encoding
    known = " or ".join(encoding.value for encoding in Encoding)
    raise UnsupportedMedia(f"Content-Type {media_type[:80]!r}: must be {known}")


def _length(request: Request) -> int | None:
    text = request.headers.get("content-length")
    return None if text is None else int(text)  # the server refuses what is not digits


def _refuse_early(error: ReceiverError, request: Request, metrics: Metrics) -> Response:
    """The answer to what never gets to the intake, which would count and log it."""
    word = answer_to(error).word
    metrics.refused_early("http", word)
    log(
        _log,
        logging.WARNING,
        "request_refused",
        transport="http",
        outcome=word,
        reason=str(error),
    )
    return _refusal(error, request)


def _refusal(error: ReceiverError, request: Request) -> Response:
    """A google.rpc.Status in the request's encoding; JSON where it has neither of ours."""
    protobuf = _media_type(request) == Encoding.PROTOBUF.value
    encoding = Encoding.PROTOBUF if protobuf else Encoding.JSON
    headers = {}
    if isinstance(error, Unavailable):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = "POST"
    return Response(
        failure(error, encoding),
        status_code=answer_to(error).http,
        headers=headers,
        media_type=encoding.value,
    )


def _add_status_routes(
    app: FastAPI, intake: Intake, metrics: Metrics, status: Callable[[], LedgerStatus]
) -> None:
    @app.get("/health", summary="Whether the process answers")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ready", summary="Whether spans are taken: 503 when draining or the store is unwell")
    async def ready() -> JSONResponse:
        state = "ready"
        if intake.draining:
            state = "draining"
        elif not status().healthy:
            state = "store_unhealthy"
        return JSONResponse({"status": state}, 200 if state == "ready" else 503)

    @app.get("/metrics", summary="Prometheus or OpenMetrics", response_class=Response)
    async def prometheus(request: Request) -> Response:
        accept = request.headers.get("accept", "")
        body, media_type = await asyncio.to_thread(metrics.exposition, accept)
        return Response(body, headers={"content-type": media_type})


def _add_error_handlers(app: FastAPI, metrics: Metrics) -> None:
    """Every failure outside /v1/traces has one envelope; there it is a google.rpc.Status."""

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        if request.url.path in _TRACES_PATHS and error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            return _refuse_early(MethodNotAllowed(f"{TRACES} takes POST only"), request, metrics)
        status = HTTPStatus(error.status_code)
        answer = _envelope(request, error.status_code, status.name.lower(), status.phrase)
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        where = {".".join(map(str, one["loc"])): one["msg"] for one in error.errors()}
        return _envelope(request, 422, "invalid_request", "the request is not valid", where)

    @app.exception_handler(ReceiverError)
    async def receiver_error(request: Request, error: ReceiverError) -> Response:
        answer = answer_to(error)
        told = _envelope(request, answer.http, answer.word, str(error))
        if isinstance(error, Unavailable):
            told.headers["retry-after"] = str(error.retry_after_s)
        if isinstance(error, Unauthenticated):
            told.headers["www-authenticate"] = "Bearer"
        return told

    @app.exception_handler(Exception)
    async def internal(request: Request, error: Exception) -> Response:
        _log.error("handler_failed", exc_info=error)
        if request.url.path == TRACES:
            return _refusal(Unavailable("an internal fault"), request)
        return _envelope(request, 500, "internal", "an internal fault")


def _envelope(
    request: Request,
    status: int,
    code: str,
    message: str,
    details: "dict[str, str] | None" = None,
) -> JSONResponse:
    correlation_id = request.headers.get("x-correlation-id", "")[:_CORRELATION_MAX]
    content = {
        "code": code,
        "message": message,
        "details": details or {},
        "correlation_id": correlation_id or None,
    }
    return JSONResponse(content, status)
