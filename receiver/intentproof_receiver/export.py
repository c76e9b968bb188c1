"""The one function behind both transports: a request's bytes to an outcome."""

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import astuple, replace
from typing import Protocol

from intentproof_schemas import EVENT_BYTES_MAX
from intentproof_store import Appended, StoreBusy, StoreError, Undecodable

from . import stages
from .client_certificates import MappingStore
from .credentials import Credentials, authenticate
from .decode import Request, decode_protobuf
from .errors import ReceiverError, StoreRefused, Unavailable
from .fair import FairGate
from .keys import KeyStore, Principal
from .logs import log
from .otlp_json import decode_json
from .outcome import Outcome
from .sorting import Events, SortedSpans
from .stages import stage
from .status import Encoding

# Requests that are decoded at a time: more would share the same core, and each holds some
# 20 times its bytes as objects meanwhile. Two of one tenant, so that a large one does not stop
# small ones, and one that is left for another tenant.
_DECODING_MAX = 3
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
        self,
        *,
        keys: KeyStore,
        mappings: MappingStore,
        ledger: Appender,
        event_bytes_max: int = EVENT_BYTES_MAX,
    ) -> None:
        self._keys = keys
        self._mappings = mappings
        self._ledger = ledger
        self._event_bytes_max = event_bytes_max
        self.decoding = FairGate(_DECODING_MAX)

    @stage("authenticate")
    def authenticate(self, credentials: Credentials) -> Principal:
        """Who sends; raises Unauthenticated, Forbidden or Unavailable."""
        return self._principal(credentials)

    def _principal(self, credentials: Credentials) -> Principal:
        principal = authenticate(credentials, keys=self._keys, mappings=self._mappings)
        principal.require("ingest")
        return principal

    def export(self, credentials: Credentials, body: bytes, *, encoding: Encoding) -> Outcome:
        """Take one OTLP request. Durable when this returns.

        Where it raises, nothing was kept, but of a request whose events take over 16 MiB: that is
        handed on in parts, and what was kept of it is a duplicate when it is sent again.

        1. Authenticate: tenant and roles come from the key or mapped certificate alone.
        2. Decode and map, a damaged span at its own cost: the only parse of the request.
        3. Append, and wait for the fsync. Spans that no rule takes do not touch the ledger.

        Raises ReceiverError only. What is not certainly permanent is Unavailable.
        """
        try:
            principal = self._principal(credentials)  # (1)
            decode = decode_json if encoding is Encoding.JSON else decode_protobuf
            found = SortedSpans(event_bytes_max=self._event_bytes_max)
            appended = Appended()
            request: Request | None = None
            more = True
            while more:
                with self._turn(principal.tenant):
                    request = request or decode(body)
                    more = found.take(request.parts)  # (2)
                    drained = found.drain()
                appended = _both(appended, self._append(principal.tenant, *drained))  # (3)
        except ReceiverError:
            raise
        except StoreError as error:
            log(_log, logging.WARNING, "store_refused", reason=str(error))
            reason = "store_queue" if isinstance(error, StoreBusy) else "store"
            raise StoreRefused("the store cannot take this now", reason=reason) from error
        except Exception as error:
            # A bug must not destroy evidence: the client keeps the batch and sends it again.
            _log.exception("export_failed")
            raise Unavailable("an internal fault; nothing was kept") from error
        return _outcome(found, appended, request.warning if request else "")

    @contextmanager
    def _turn(self, tenant: str) -> Iterator[None]:
        asked = time.perf_counter_ns()
        with self.decoding.slot(tenant):
            stages.ended("turn", asked)
            with stage("decode"):
                yield

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
    if not rejected:
        return outcome
    told = [_rejections(found), *([warning] if warning else [])]
    return replace(outcome, message="; ".join(told))


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
