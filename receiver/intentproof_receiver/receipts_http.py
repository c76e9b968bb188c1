"""`GET /v1/events/{event_id}/receipt`: an event's receipt, for whoever may read the tenant."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.responses import Response
from intentproof_store import EventUnknown, NotSigned, Places, StoreError, finder_of, receipt_of

from .credentials import Credentials, api_key_of
from .errors import NotFound, NotYet, Unavailable
from .https import CLIENT_CERTIFICATE
from .keys import Principal

MEDIA_TYPE = "text/plain; charset=utf-8"
_WAITING_MAX = 16  # requests beyond it are told to come again, before they take memory
_log = logging.getLogger(__name__)

Authenticate = Callable[[Credentials], Principal]


def credentials_of(request: Request) -> Credentials:
    """What a request's headers and connection show."""
    certificate = getattr(request.state, CLIENT_CERTIFICATE, b"")
    return Credentials(api_key_of(request.headers), certificate)


class Receipts:
    """Makes receipts one at a time, in a thread of its own: ingestion does not wait for them."""

    def __init__(
        self, places: Places, authenticate: Authenticate, *, checkpoint_seconds: float
    ) -> None:
        self._places = places
        self._authenticate = authenticate
        self._come_back_s = max(1, round(checkpoint_seconds))
        self._finder = finder_of(places)  # of the pool's one thread
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="receipts")
        self._waiting = 0

    def add_to(self, app: FastAPI) -> None:
        """Add the route. An id may hold any character, percent-encoded."""
        app.add_api_route(
            "/v1/events/{event_id:path}/receipt",
            self.get,
            methods=["GET"],
            summary="The proof that an event is in the log: a C2SP tlog-proof",
            response_class=Response,
        )

    async def get(self, request: Request, event_id: str) -> Response:
        """Answer with the receipt's bytes. Needs the role `read`; the tenant is the key's."""
        principal = self._authenticate(credentials_of(request))
        principal.require("read")
        if self._waiting >= _WAITING_MAX:
            raise Unavailable("too many receipts are asked for at once")
        make = partial(receipt_of, self._places, principal.tenant, event_id, finder=self._finder)
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            receipt = await loop.run_in_executor(self._pool, make)
        except EventUnknown as error:
            raise NotFound(str(error)) from error
        except NotSigned as error:
            raise NotYet(str(error), retry_after_s=self._come_back_s) from error
        except StoreError as error:
            _log.exception("receipt_failed")
            raise Unavailable("the store does not prove this event now") from error
        finally:
            self._waiting -= 1
        name = quote(event_id, safe="")
        return Response(
            receipt.encode(),
            media_type=MEDIA_TYPE,
            headers={
                "content-disposition": f"attachment; filename*=UTF-8''{name}.tlog-proof",
                "cache-control": "no-store",
            },
        )
