"""A request's spans by what becomes of them: an event, quarantine, or nothing to be kept."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from intentproof_schemas import ExecutionEvent, SpanRejected, is_taken, map_span
from intentproof_store import Undecodable, event_columns

from .columns import map_block
from .decode import Block, Decoded, Request


class SortedSpans:
    """The spans of one request, sorted. One thread only."""

    def __init__(self, *, event_bytes_max: int) -> None:
        self._event_bytes_max = event_bytes_max
        self._batches: list[pa.RecordBatch] = []  # these come before
        self._events: list[ExecutionEvent] = []
        self.taken = 0
        self.not_kept = 0
        self.undecodable: list[Undecodable] = []
        self.reasons: Counter[str] = Counter()
        self.examples: dict[str, str] = {}

    def events(self) -> Sequence[ExecutionEvent] | pa.RecordBatch:
        """The events in the order of their spans: in columns, unless all were sorted singly."""
        if not self._batches:
            return self._events
        self._close_events()
        return self._batches[0] if len(self._batches) == 1 else pa.concat_batches(self._batches)

    def take(self, request: Request) -> None:
        """Decode and map all spans, each once. Raises InvalidRequest and TooLarge."""
        for part in request.parts:
            if isinstance(part, Block):
                self._take_block(part)
            else:
                self._take_span(part)

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
        places = [
            place
            for place, decoded in zip(mapped.rest, block.decoded(mapped.rest), strict=True)
            if self._take_span(decoded)
        ]
        self._batches.append(mapped.events)
        if places:
            self._close_events()
            single, many = self._batches.pop(), self._batches.pop()
            order = np.argsort(np.concatenate((mapped.places, places)))
            self._batches.append(pa.concat_batches([many, single]).take(pa.array(order)))

    def _take_span(self, decoded: Decoded) -> bool:
        """Whether the span became an event."""
        span, fault, _ = decoded
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
        return True

    def _close_events(self) -> None:
        if self._events:
            self._batches.append(event_columns(self._events))
            self._events = []

    def _reject(self, reason: str, message: str, span: Decoded) -> None:
        """A span that is kept in quarantine only."""
        self.undecodable.append(Undecodable(bytes(span.raw), reason, message))
        self.reasons[reason] += 1
        self.examples.setdefault(reason, message)
