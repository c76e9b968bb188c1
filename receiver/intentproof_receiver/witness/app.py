"""The witness over HTTP: `POST /add-checkpoint` (C2SP tlog-witness)."""

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus

from intentproof_store import (
    LogUnknown,
    ProofInvalid,
    SizeConflict,
    StoreError,
    SubmissionInvalid,
    UnsignedByLog,
    VerifierKey,
    read_submission,
)
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from ..errors import TooLarge, Unavailable
from ..logs import log
from .key import Cosigner
from .state import WitnessState

BODY_BYTES_MAX = 256 << 10  # 63 hashes, and a note with some forty signatures of 5 KiB
_BODY_SECONDS_MAX = 30.0
_SIZE_TYPE = "text/x.tlog.size"
_log = logging.getLogger(__name__)

# Of the protocol: https://c2sp.org/tlog-witness#add-checkpoint
_STATUSES: dict[type[StoreError], int] = {
    SubmissionInvalid: HTTPStatus.BAD_REQUEST,
    UnsignedByLog: HTTPStatus.FORBIDDEN,
    LogUnknown: HTTPStatus.NOT_FOUND,
    SizeConflict: HTTPStatus.CONFLICT,
    ProofInvalid: HTTPStatus.UNPROCESSABLE_ENTITY,
}


class Witness:
    """Cosigns what is consistent with what it cosigned before. Thread-safe."""

    def __init__(
        self,
        cosigner: Cosigner,
        state: WitnessState,
        keys: Callable[[], tuple[VerifierKey, ...]],
        clock_s: Callable[[], int],
    ) -> None:
        self._cosigner = cosigner
        self._state = state
        self._keys = keys
        self._clock_s = clock_s

    def add_checkpoint(self, body: bytes) -> bytes:
        """The signature line of the cosignature. Blocks until its checkpoint is durable.

        Raises what `read_submission` and `WitnessState.take` do; then nothing was signed.
        """
        submission = read_submission(body, self._keys())
        checkpoint = submission.checkpoint
        try:
            time_s = self._state.take(submission, self._clock_s)
        except (SizeConflict, ProofInvalid) as error:
            if isinstance(error, ProofInvalid) or error.is_fork:
                # It is signed: beside the note that was cosigned it may be the proof of a fraud.
                log(
                    _log,
                    logging.ERROR,
                    "inconsistent_checkpoint",
                    reason=str(error),
                    old_size=submission.old_size,
                    note=submission.note.decode(),
                )
            raise
        log(
            _log,
            logging.INFO,
            "cosigned",
            origin=checkpoint.origin,
            size=checkpoint.size,
            time_s=time_s,
        )
        return self._cosigner.cosign(submission.text, time_s)


def make_app(witness: Witness) -> Starlette:
    """The application. Its paths stand below the submission prefix, which is the address."""

    async def add_checkpoint(request: Request) -> Response:
        try:
            body = await _read(request)
            line = await asyncio.to_thread(witness.add_checkpoint, body)
        except StoreError as error:
            return _refusal(error)
        except TooLarge as error:
            return _text(str(error), HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        except TimeoutError:
            return _text("the body took too long to arrive", HTTPStatus.REQUEST_TIMEOUT)
        except ClientDisconnect:
            return _text("the client hung up", HTTPStatus.BAD_REQUEST)
        except Unavailable as error:
            log(_log, logging.ERROR, "not_cosigned", reason=str(error))
            return _text(str(error), HTTPStatus.SERVICE_UNAVAILABLE)
        return Response(line, media_type="text/plain; charset=utf-8")

    async def health(_: Request) -> Response:
        return _text("ok", HTTPStatus.OK)

    return Starlette(
        routes=[
            Route("/add-checkpoint", add_checkpoint, methods=["POST"]),
            Route("/health", health),
        ]
    )


async def _read(request: Request) -> bytes:
    body = bytearray()
    async with asyncio.timeout(_BODY_SECONDS_MAX):
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                raise TooLarge(f"a body over {BODY_BYTES_MAX} bytes")
    return bytes(body)


def _refusal(error: StoreError) -> Response:
    status = _STATUSES[type(error)]
    log(_log, logging.WARNING, "request_refused", status=int(status), reason=str(error))
    if isinstance(error, SizeConflict):
        return Response(f"{error.size}\n", status, headers={"content-type": _SIZE_TYPE})
    return _text(str(error), status)


def _text(message: str, status: int) -> Response:
    return Response(f"{message}\n", status, media_type="text/plain; charset=utf-8")
