"""An intake whose requests are timed by stages, and traced where that is asked for."""

import os
from collections.abc import Mapping
from typing import Any, Protocol

from .credentials import Credentials
from .errors import ConfigInvalid, ReceiverError, answer_to
from .intake import Intake, ReadBody
from .metrics import Metrics
from .outcome import Outcome
from .stages import Watcher, watched
from .status import Encoding

TRACES_EXPORTER = "OTEL_TRACES_EXPORTER"


def traces_are_asked_for(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment asks for traces. Raises ConfigInvalid for an unknown exporter.

    Nothing of OpenTelemetry's SDK is loaded for the question, nor where the answer is no.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    name = environ.get(TRACES_EXPORTER, "").strip() or "none"
    if name not in ("none", "otlp"):
        raise ConfigInvalid(f"{TRACES_EXPORTER} {name!r}: must be otlp or none")
    return name == "otlp"


class RequestTrace(Watcher, Protocol):
    """The trace of one request: told of its stages, then of its end."""

    def finished(self, outcome: str, counts: dict[str, int]) -> None:
        """`outcome` is `ok` or an error's word; no payload, key or tenant comes here."""
        ...


class RequestTracer(Protocol):
    """Begins the trace of a request, or says that this one is not sampled."""

    def begin(self, transport: str) -> RequestTrace | None:
        """Called on the event loop; must not block."""
        ...


class WatchedIntake(Intake):
    """`Intake`, with its stages told to the metrics and, if there is one, to a tracer."""

    def __init__(
        self, *, metrics: Metrics, tracer: RequestTracer | None = None, **parts: Any
    ) -> None:
        super().__init__(metrics=metrics, **parts)
        self._told = metrics
        self._tracer = tracer

    async def take(
        self, transport: str, credentials: Credentials, encoding: Encoding, read: ReadBody
    ) -> Outcome:
        """As `Intake.take`."""
        trace = self._tracer.begin(transport) if self._tracer else None
        word, counts = "cancelled", dict[str, int]()
        try:
            with watched(_Both(self._told, trace) if trace else self._told):
                outcome = await super().take(transport, credentials, encoding, read)
            word = "ok"
            counts = {"received": outcome.received, "stored": outcome.stored}
            return outcome
        except ReceiverError as error:
            word = answer_to(error).word
            raise
        finally:
            if trace:
                trace.finished(word, counts)


class _Both:
    """Tells two watchers."""

    def __init__(self, *watchers: Watcher) -> None:
        self._watchers = watchers

    def stage_ended(self, name: str, started_ns: int, ended_ns: int) -> None:
        for watcher in self._watchers:
            watcher.stage_ended(name, started_ns, ended_ns)
