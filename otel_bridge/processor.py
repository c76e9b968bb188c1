"""The span processor: what happens on the program's own threads, and nothing more than that."""

import os
import threading
import uuid
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import count
from typing import Any

from intentproof_schemas import Span as ReadSpan
from intentproof_schemas import is_taken, names
from opentelemetry import baggage
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from .ended import EndedSpan
from .errors import SettingError
from .exporter import Counters, Exporter
from .guard import Faults, Guard
from .otlp_exporter import OtlpExporter
from .values import plain_attributes

# What may come from another service in a header. An intent or an id from there would let a
# caller write our events.
BAGGAGE_KEYS_ALLOWED = frozenset((names.CORRELATION_ID, names.RUN_ID, names.STAGE))

_BAGGAGE_BYTES_MAX = 256  # contract section 2: a longer one would quarantine the span
_OPEN_MAX = 16_384  # spans whose start attributes are remembered
_PRODUCER_ATTRIBUTES = frozenset(names.PRODUCER_ATTRIBUTES)

_SpanKey = tuple[int, int]


class IntentProofSpanProcessor(SpanProcessor):
    """Turns intent spans into numbered events and hands them to one exporter.

    1. At start: copy baggage of the allowed keys onto the span, unless the span has them, and
       remember the start attributes that matter, because a busy span evicts its oldest.
    2. At end: leave alone every span that no mapping rule takes; restore what was evicted; give
       the event the next number of this process's stream; hand it over. An event that is lost
       from here on leaves a hole in the numbers.

    Sampled or only recorded makes no difference. No hook raises into the program or blocks it:
    faults are counted in `counters.errors` and logged once. A forked child is a stream of its own.

    `exporter` defaults to `OtlpExporter()`, from the environment. `baggage_keys` may name
    `intentproof.correlation_id`, `.run_id` and `.stage`. Raises SettingError at construction.
    """

    def __init__(
        self,
        *,
        exporter: Exporter | None = None,
        baggage_keys: Iterable[str] = (names.CORRELATION_ID,),
    ) -> None:
        self._baggage_keys = tuple(baggage_keys)
        for key in self._baggage_keys:
            if key not in BAGGAGE_KEYS_ALLOWED:
                allowed = ", ".join(sorted(BAGGAGE_KEYS_ALLOWED))
                raise SettingError("baggage_keys", key, f"must be among {allowed}")
        self._exporter = exporter if exporter is not None else OtlpExporter()
        self._faults = Faults()
        self._starting = Guard("on_start", self._faults)
        self._ending = Guard("on_end", self._faults)
        self._flushing = Guard("force_flush", self._faults)
        self._shutting = Guard("shutdown", self._faults)
        self._begin()
        _begin_again_after_fork(self)

    def _begin(self) -> None:
        self._stream_id = uuid.uuid4().hex
        self._numbers = count(1)
        self._lock = threading.RLock()
        self._open: dict[_SpanKey, Mapping[str, Any]] = {}

    @property
    def stream_id(self) -> str:
        """The id that the events of this processor in this process carry."""
        return self._stream_id

    @property
    def counters(self) -> Counters:
        """What became of this process's events so far."""
        counted = self._exporter.counters()
        return replace(counted, errors=counted.errors + self._faults.count)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Copy baggage, remember start attributes. Runs on the starting thread, never raises."""
        with self._starting:
            attributes = plain_attributes(span.attributes)
            if attributes:
                self._remember(span, attributes)  # (1)
            carried = baggage.get_all(parent_context)
            if carried:
                for key in self._baggage_keys:
                    value = carried.get(key)
                    if key not in attributes and isinstance(value, str) and _is_usable(value):
                        span.set_attribute(key, value)

    def _remember(self, span: Span, attributes: Mapping[str, Any]) -> None:
        if _is_event(attributes):
            kept = attributes
        elif _PRODUCER_ATTRIBUTES.isdisjoint(attributes):
            return
        else:
            kept = {key: attributes[key] for key in _PRODUCER_ATTRIBUTES if key in attributes}
        with self._lock:
            if len(self._open) >= _OPEN_MAX:  # spans that never end must not fill the memory
                del self._open[next(iter(self._open))]  # the oldest
            self._open[_key(span)] = kept

    def on_end(self, span: ReadableSpan) -> None:
        """Number the event and hand it over. Runs on the ending thread, never raises."""
        with self._ending:
            attributes = plain_attributes(span.attributes)
            started = None
            if self._open:
                with self._lock:
                    started = self._open.pop(_key(span), None)
            restored = 0
            if started is not None:
                evicted = [key for key in started if key not in attributes]
                if evicted:
                    attributes = {**{key: started[key] for key in evicted}, **attributes}
                    restored = len(evicted)
            if not attributes or not _is_event(attributes):
                return
            numbered = {  # (2)
                **attributes,
                names.STREAM_ID: self._stream_id,
                names.SEQUENCE: next(self._numbers),
            }
            self._exporter.export(EndedSpan(span, numbered, restored=restored))

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Whether all events so far were acknowledged. Blocks for at most that long."""
        with self._flushing:
            return self._exporter.force_flush(timeout_millis)
        return False

    def shutdown(self) -> None:
        """Send what is left within the exporter's limit of time. A second call does nothing."""
        with self._shutting:
            self._exporter.shutdown()

    def after_fork(self) -> None:
        """Become a new stream in a forked child; called by the interpreter."""
        with Guard("after_fork", self._faults):
            self._begin()
            self._exporter.after_fork()


def _begin_again_after_fork(processor: IntentProofSpanProcessor) -> None:
    reference = weakref.ref(processor)  # a processor that is gone needs nothing

    def begin_again() -> None:
        alive = reference()
        if alive is not None:
            alive.after_fork()

    if hasattr(os, "register_at_fork"):  # not on Windows
        os.register_at_fork(after_in_child=begin_again)


def _is_event(attributes: Mapping[str, Any]) -> bool:
    """Whether a mapping rule takes a span with these attributes."""
    return is_taken(ReadSpan(b"", b"", b"", "", 0, 0, 0, tuple(attributes.items())))


def _is_usable(value: str) -> bool:
    size = len(value.encode("utf-8", "replace"))
    return 0 < size <= _BAGGAGE_BYTES_MAX and not value.isspace()


def _key(span: ReadableSpan) -> _SpanKey:
    context = span.get_span_context()
    return (context.trace_id, context.span_id) if context is not None else (0, 0)
