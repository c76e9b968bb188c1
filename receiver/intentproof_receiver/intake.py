"""The way of a request that both transports share: admit, read, export, count."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor

from .errors import ReceiverError, Unavailable, answer_to
from .export import Exporter
from .inflight import Budget, Lease
from .logs import log
from .metrics import Metrics
from .outcome import Outcome
from .stages import carried
from .status import Encoding

_log = logging.getLogger(__name__)

GetBody = Callable[[], bytes]  # called in the pool, where decompressing blocks nobody
ReadBody = Callable[[Lease], Awaitable[GetBody]]


class Intake:
    """Takes requests from the transports, on one event loop; the work is done in `pool`."""

    def __init__(
        self, *, exporter: Exporter, budget: Budget, metrics: Metrics, pool: Executor
    ) -> None:
        self._exporter = exporter
        self._budget = budget
        self._metrics = metrics
        self._pool = pool
        self.draining = False

    async def take(
        self, transport: str, api_key: str | None, encoding: Encoding, read: ReadBody
    ) -> Outcome:
        """Take one request. Raises ReceiverError only; `read` is called once it is admitted.

        1. Authenticate from the headers: strangers' bytes are not read.
        2. Admit: bytes in flight are bounded before they are read.
        3. Read, then decompress and export in a thread.
        """
        started = time.perf_counter()
        word = "cancelled"
        try:
            outcome = await self._take(api_key, encoding, read)
            word = "ok"
            self._metrics.taken(outcome)
            return outcome
        except ReceiverError as error:
            word = answer_to(error).word
            log(
                _log,
                logging.WARNING,
                "request_refused",
                transport=transport,
                outcome=word,
                reason=str(error),
            )
            raise
        except Exception as error:
            word = "unavailable"
            _log.exception("request_failed")
            raise Unavailable("an internal fault; nothing was kept") from error
        finally:
            self._metrics.request(transport, word, time.perf_counter() - started)

    async def _take(self, api_key: str | None, encoding: Encoding, read: ReadBody) -> Outcome:
        if self.draining:
            raise Unavailable("shutting down")
        self._exporter.authenticate(api_key)  # (1)
        lease = self._budget.lease()  # (2)
        try:
            get_body = await read(lease)  # (3)
            future = self._pool.submit(carried(self._export), api_key, encoding, get_body)
        except BaseException:
            lease.release()
            raise
        # Not when this coroutine ends: a client that hangs up does not free the thread's memory.
        future.add_done_callback(lambda _: lease.release())
        return await asyncio.wrap_future(future)

    def _export(self, api_key: str | None, encoding: Encoding, get_body: GetBody) -> Outcome:
        return self._exporter.export(api_key, get_body(), encoding=encoding)
