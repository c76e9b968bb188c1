"""What sameness keeps of one event, and what a further telling is to it. Pure.

A record is a byte that says how much of the first telling is at hand, then cells of 16 bytes:
the digests of all contents and of all stream numbers that the log has of the event.
"""

from enum import IntEnum
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from .digests import Digests
from .idtable import Array
from .leafcolumns import EventTexts

_CELL = 16
_WHOLE = b"\x00"
_NO_CONTEXT = b"\x01"
ERASED_PAYLOAD = b"\x02"
_NO_NUMBER = bytes(_CELL)


class Verdict(IntEnum):
    """What an arriving event is to the log."""

    NEW = 0
    DUPLICATE = 1
    NUMBERED = 2
    CONFLICT = 3


class Tellings:
    """A batch of events with what is compared of them."""

    def __init__(self, events: pa.RecordBatch, texts: EventTexts, digests: Digests) -> None:
        self._texts = texts
        self._digests = digests
        self.ids = digests.ids(events.column("event_id"))
        self.contents = digests.contents(texts)
        self.numbers = digests.numbers(events)

    @cached_property
    def _without_context(self) -> Array:
        return self._digests.contents(self._texts, context=False)

    def first(self, row: int) -> bytes:
        """The record of an event of which this is the only telling."""
        return record_of(self.contents[row].tobytes(), self._number(row))

    def judged(self, row: int, record: bytes) -> tuple[Verdict, bytes]:
        """What the row is to an event with this record, and the record with it."""
        if record[:1] == ERASED_PAYLOAD:
            return Verdict.DUPLICATE, record
        content, number = self._content(row, record), self._number(row)
        cells = _cells(record)
        if content not in cells:
            return Verdict.CONFLICT, record + content + (b"" if number in cells else number)
        if number and number not in cells:
            return Verdict.NUMBERED, record + number
        return Verdict.DUPLICATE, record

    def _content(self, row: int, record: bytes) -> bytes:
        contents = self.contents if record[:1] == _WHOLE else self._without_context
        content: bytes = contents[row].tobytes()
        return content

    def _number(self, row: int) -> bytes:
        number = _NO_NUMBER if self.numbers is None else self.numbers[row].tobytes()
        return b"" if number == _NO_NUMBER else number


class StoredTellings(Tellings):
    """Rows that the log has, with the columns of a segment."""

    def __init__(self, rows: pa.RecordBatch, texts: EventTexts, digests: Digests) -> None:
        super().__init__(rows, texts, digests)
        self.kinds: list[str] = rows.column("kind").to_pylist()
        self._no_context = pc.is_null(rows.column("context_salt")).to_pylist()
        self._no_payload = pc.is_null(rows.column("payload_salt")).to_pylist()

    def onto(self, record: bytes, row: int) -> bytes:
        """A record, empty where there is none yet, with what a stored row adds to it."""
        if self.kinds[row] == "numbered":
            return (record or _WHOLE) + self._number(row)
        if not record:
            record = _WHOLE
            if self._no_payload[row]:
                record = ERASED_PAYLOAD
            elif self._no_context[row]:
                record = _NO_CONTEXT
        if record[:1] == ERASED_PAYLOAD or self._no_payload[row]:
            return record
        return record + self._content(row, record) + self._number(row)


def record_of(content: bytes, number: bytes) -> bytes:
    """The record of an event that was told once, of which everything is at hand."""
    return _WHOLE + content + (b"" if number == _NO_NUMBER else number)


def merged(first: bytes, more: bytes) -> bytes:
    """One record of two halves; how much is at hand, the first says, which may be empty."""
    return (first or _WHOLE) + more[1:]


def _cells(record: bytes) -> set[bytes]:
    return {record[at : at + _CELL] for at in range(1, len(record), _CELL)}
