"""The way of a request that both transports share: admit, read, export, count."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial

from .credentials import Credentials
from .errors import ReceiverError, StoreRefused, Unavailable, answer_to
from .export import Exporter
from .fair import FairPool
from .inflight import Budget, Lease
from .logs import log
from .metrics import Metrics
from .outcome import Outcome
from .quotas import NO_QUOTAS
from .stages import carried
from .status import Encoding
from .usage import Usage

_log = logging.getLogger(__name__)

GetBody = Callable[[], bytes]  # called in the pool, where decompressing blocks nobody
ReadBody = Callable[[Lease], Awaitable[GetBody]]


class Intake:
    """Takes requests from the transports, on one event loop; the work is done in `pool`.

    Without `usage` there are no quotas.
    """

    def __init__(
        self,
        *,
        exporter: Exporter,
        budget: Budget,
        metrics: Metrics,
        pool: FairPool,
        usage: Usage | None = None,
    ) -> None:
        self._exporter = exporter
        self._budget = budget
        self._metrics = metrics
        self._pool = pool
        self._usage = usage or Usage(NO_QUOTAS)
        self.draining = False

    async def take(
        self, transport: str, credentials: Credentials, encoding: Encoding, read: ReadBody
    ) -> Outcome:
        """Take one request. Raises ReceiverError only; `read` is called once it is admitted.

        1. Authenticate from headers and connection: strangers' bytes are not read.
        2. Admit: quotas are looked at, and bytes in flight bounded, before any are read.
        3. Read.
        4. Decompress and export in a thread, when it is the tenant's turn.
        """
        started = time.perf_counter()
        word = "cancelled"
        try:
            outcome = await self._take(credentials, encoding, read)
            word = "ok"
            self._metrics.taken(outcome)
            return outcome
        except ReceiverError as error:
            word = answer_to(error).word
            if isinstance(error, Unavailable):
                self._metrics.refused(error.reason)
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

    async def _take(self, credentials: Credentials, encoding: Encoding, read: ReadBody) -> Outcome:
        if self.draining:
            raise Unavailable("shutting down", reason="draining")
        tenant = self._exporter.authenticate(credentials).tenant  # (1)
        self._usage.check(tenant)  # (2)
        lease = self._budget.lease(tenant)
        try:
            get_body = await read(lease)  # (3)
            work = carried(partial(self._export, credentials, encoding, get_body, lease))
            future = self._pool.submit(tenant, lambda: lease.held, work)  # (4)
        except BaseException:
            lease.release()
            raise
        # Not when this coroutine ends: a client that hangs up does not free the thread's memory.
        future.add_done_callback(partial(_release, lease))
        return await asyncio.wrap_future(future)

    def _export(
        self, credentials: Credentials, encoding: Encoding, get_body: GetBody, lease: Lease
    ) -> Outcome:
        body = get_body()
        try:
            outcome = self._exporter.export(credentials, body, encoding=encoding)
        except StoreRefused as error:
            delay = max(error.retry_after_s, lease.come_back())
            raise StoreRefused(str(error), retry_after_s=delay, reason=error.reason) from error
        self._usage.charge(lease.tenant, outcome, size=len(body))
        return outcome


def _release(lease: Lease, future: "Future[Outcome]") -> None:
    lease.release(finished=not future.cancelled() and future.exception() is None)
