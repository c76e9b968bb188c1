"""A request's spans by what becomes of them: an event, quarantine, or nothing to be kept."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from intentproof_schemas import ExecutionEvent, SpanRejected, is_taken, map_span
from intentproof_store import Undecodable, event_columns

from .columns import map_block
from .decode import Block, Decoded

_DRAIN_BYTES = 16 << 20  # of events that are in memory before they are handed on
_EVENT_OVERHEAD = 400  # bytes that an event costs beside its texts

Events: TypeAlias = "Sequence[ExecutionEvent] | pa.RecordBatch"


class SortedSpans:
    """The spans of one request, sorted, a part at a time. One thread only."""

    def __init__(self, *, event_bytes_max: int) -> None:
        self._event_bytes_max = event_bytes_max
        self._batches: list[pa.RecordBatch] = []  # these come before
        self._events: list[ExecutionEvent] = []
        self._undecodable: list[Undecodable] = []
        self._bytes = 0
        self.taken = 0
        self.not_kept = 0
        self.reasons: Counter[str] = Counter()
        self.examples: dict[str, str] = {}

    def take(self, parts: Iterator[Block | Decoded]) -> bool:
        """Decode and map spans, each once, until they are to be drained; whether there may be more.

        Raises InvalidRequest and TooLarge.
        """
        for part in parts:
            if isinstance(part, Block):
                self._take_block(part)
            else:
                self._take_span(part)
            if self._bytes >= _DRAIN_BYTES:
                return True
        return False

    def drain(self) -> tuple[Events, Sequence[Undecodable]]:
        """The events in the order of their spans, and what is for quarantine, since the last call.

        The events are in columns, unless all were sorted singly.
        """
        events: Events = self._events
        if self._batches:
            self._close_events()
            batches = self._batches
            events = batches[0] if len(batches) == 1 else pa.concat_batches(batches)
        undecodable = self._undecodable
        self._batches, self._events, self._undecodable, self._bytes = [], [], [], 0
        return events, undecodable

    def _take_block(self, block: Block) -> None:
        """In columns what is as most spans are, the rest singly; the order stays."""
        mapped = map_block(block, event_bytes_max=self._event_bytes_max)
        self.not_kept += mapped.not_kept
        if mapped.events is None:
            for decoded in block.decoded(mapped.rest):
                self._take_span(decoded)
            return
        self._close_events()
        self.taken += mapped.events.num_rows
        self._bytes += mapped.events.get_total_buffer_size()
        places = [
            place
            for place, decoded in zip(mapped.rest, block.decoded(mapped.rest), strict=True)
            if self._take_span(decoded)
        ]
        events = mapped.events
        if places:
            order = np.argsort(np.concatenate((mapped.places, places)))
            both = pa.concat_batches([events, event_columns(self._events)])
            events, self._events = both.take(pa.array(order)), []
        self._batches.append(events)

    def _take_span(self, decoded: Decoded) -> bool:
        """Whether the span became an event."""
        span, fault = decoded.span, decoded.fault
        if fault is not None:
            if span is None or is_taken(span):
                self._reject(fault.reason, fault.message, decoded)
            else:
                self.not_kept += 1
            return False
        assert span is not None  # noqa: S101 - without a fault there is a span
        try:
            event = map_span(span, event_bytes_max=self._event_bytes_max)
        except SpanRejected as error:
            self._reject(error.reason, str(error), decoded)
            return False
        if event is None:
            self.not_kept += 1
            return False
        self._events.append(event)
        self.taken += 1
        texts = len(event.attributes) + len(event.inputs) + len(event.output or "")
        self._bytes += _EVENT_OVERHEAD + texts
        return True

    def _close_events(self) -> None:
        if self._events:
            self._batches.append(event_columns(self._events))
            self._events = []

    def _reject(self, reason: str, message: str, span: Decoded) -> None:
        """A span that is kept in quarantine only."""
        raw = span.request()
        self._undecodable.append(Undecodable(raw, reason, message))
        self._bytes += len(raw)
        self.reasons[reason] += 1
        self.examples.setdefault(reason, message)
