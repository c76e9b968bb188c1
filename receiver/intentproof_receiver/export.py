"""The one function behind both transports: a request's bytes to an outcome."""

import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import astuple, replace
from typing import Protocol

from intentproof_schemas import EVENT_BYTES_MAX
from intentproof_store import Appended, StoreError, Undecodable

from .decode import decode_protobuf
from .errors import ReceiverError, Unavailable
from .keys import KeyStore, Principal
from .logs import log
from .otlp_json import decode_json
from .outcome import Outcome
from .sorting import Events, SortedSpans
from .stages import stage
from .status import Encoding

# Requests that are decoded at a time: more would share the same core, and each holds some
# 20 times its bytes as objects meanwhile. Two, so that a large one does not stop small ones.
_DECODING_MAX = 2
REASONS_MAX = 3  # how many kinds of rejection a client is told of

_log = logging.getLogger(__name__)


class Appender(Protocol):
    """What the receiver asks of the ledger when it takes spans."""

    def append(
        self,
        tenant: str,
        events: Events,
        undecodable: Sequence[Undecodable] = (),
    ) -> "Future[Appended]":
        """Keep events; the future completes after fsync, or fails with nothing kept."""
        ...


class Exporter:
    """Takes requests. Thread-safe; `export` blocks until the ledger has fsynced."""

    def __init__(
        self, *, keys: KeyStore, ledger: Appender, event_bytes_max: int = EVENT_BYTES_MAX
    ) -> None:
        self._keys = keys
        self._ledger = ledger
        self._event_bytes_max = event_bytes_max
        self._decoding = threading.Semaphore(_DECODING_MAX)

    @stage("authenticate")
    def authenticate(self, api_key: str | None) -> Principal:
        """Who sends; raises Unauthenticated, Forbidden or KeysUnavailable."""
        return self._principal(api_key)

    def _principal(self, api_key: str | None) -> Principal:
        principal = self._keys.authenticate(api_key)
        principal.require("ingest")
        return principal

    def export(self, api_key: str | None, body: bytes, *, encoding: Encoding) -> Outcome:
        """Take one OTLP request. Durable when this returns.

        Where it raises, nothing was kept, but of a request whose events take over 16 MiB: that is
        handed on in parts, and what was kept of it is a duplicate when it is sent again.

        1. Authenticate: tenant and roles come from the key alone.
        2. Decode and map, a damaged span at its own cost: the only parse of the request.
        3. Append, and wait for the fsync. Spans that no rule takes do not touch the ledger.

        Raises ReceiverError only. What is not certainly permanent is Unavailable.
        """
        try:
            principal = self._principal(api_key)  # (1)
            decode = decode_json if encoding is Encoding.JSON else decode_protobuf
            with stage("decode"):
                request = decode(body)
            found = SortedSpans(event_bytes_max=self._event_bytes_max)
            appended = Appended()
            more = True
            while more:
                with self._turn():
                    more = found.take(request.parts)  # (2)
                    drained = found.drain()
                appended = _both(appended, self._append(principal.tenant, *drained))  # (3)
        except ReceiverError:
            raise
        except StoreError as error:
            log(_log, logging.WARNING, "store_refused", reason=str(error))
            raise Unavailable("the store cannot take this now") from error
        except Exception as error:
            # A bug must not destroy evidence: the client keeps the batch and sends it again.
            _log.exception("export_failed")
            raise Unavailable("an internal fault; nothing was kept") from error
        return _outcome(found, appended, request.warning)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with stage("turn"):
            self._decoding.acquire()
        try:
            with stage("decode"):
                yield
        finally:
            self._decoding.release()

    @stage("append")
    def _append(self, tenant: str, events: Events, undecodable: Sequence[Undecodable]) -> Appended:
        if not len(events) and not undecodable:
            return Appended()
        return self._ledger.append(tenant, events, undecodable).result()


def _both(one: Appended, other: Appended) -> Appended:
    return Appended(*map(sum, zip(astuple(one), astuple(other), strict=True)))


def _outcome(found: SortedSpans, appended: Appended, warning: str) -> Outcome:
    taken, rejected = found.taken, found.reasons.total()
    outcome = Outcome(
        received=taken + rejected + found.not_kept,
        taken=taken,
        not_kept=found.not_kept,
        rejected=rejected,
        stored=appended.stored,
        duplicates=appended.duplicates,
        conflicts=appended.conflicts,
        quarantined=appended.quarantined,
        reasons=dict(found.reasons),
        warned=bool(warning),
        message=warning,
    )
    return replace(outcome, message=_rejections(found)) if rejected else outcome


def _rejections(found: SortedSpans) -> str:
    """English, at most a few reasons; quarantine has all of them."""
    told = [
        f"{count} {reason} ({found.examples[reason][:200]})"
        for reason, count in found.reasons.most_common(REASONS_MAX)
    ]
    more = len(found.reasons) - len(told)
    if more:
        told.append(f"and {more} other reasons")
    return "kept in quarantine only: " + "; ".join(told)
