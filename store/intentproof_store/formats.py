"""The answer to a query as a table for people, as JSON or as CSV. Pure; each streams.

Timestamps are RFC 3339 with microseconds, those that know their zone in UTC; blobs are hex.
"""

import csv
import io
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import chain
from typing import Any

import orjson

from .present import cell, line, width
from .query import Answer

_FORMULA = ("=", "+", "-", "@")
_INT64 = range(-(2**63), 2**64)


def as_json(answer: Answer) -> Iterator[str]:
    """One array of objects. Columns of one name are told apart by a number."""
    names = _unique(answer.columns)
    yield "["
    first = True
    for row in chain.from_iterable(answer.chunks):
        values = {name: _plain(value) for name, value in zip(names, row, strict=True)}
        yield ("\n" if first else ",\n") + orjson.dumps(values).decode()
        first = False
    yield "]\n" if first else "\n]\n"


def as_csv(answer: Answer) -> Iterator[str]:
    """CSV with a head. A text that a spreadsheet would take for a formula gets a leading `'`."""
    yield _csv_lines([tuple(map(_harmless, answer.columns))])
    for rows in answer.chunks:
        yield _csv_lines([tuple(map(_csv_cell, row)) for row in rows])


def as_table(answer: Answer) -> Iterator[str]:
    """A table for people. Its first thousand rows decide how wide the columns are."""
    head = tuple(map(cell, answer.columns))
    widths = list(map(width, head))
    count = 0
    for rows in answer.chunks:
        shown = [tuple(cell(_text(value)) for value in row) for row in rows]
        if not count:
            widths = [max(map(width, column)) for column in zip(head, *shown, strict=True)]
            yield line(head, widths) + "\n"
        yield "".join(line(row, widths) + "\n" for row in shown)
        count += len(shown)
    if not count:
        yield line(head, widths) + "\n"
    yield f"({count} row{'' if count == 1 else 's'})\n"


FORMATS: dict[str, Callable[[Answer], Iterator[str]]] = {
    "table": as_table,
    "json": as_json,
    "csv": as_csv,
}


def _unique(names: Sequence[str]) -> list[str]:
    made: list[str] = []
    for name in names:
        number, free = 1, name
        while free in made:
            free, number = f"{name}_{number}", number + 1
        made.append(free)
    return made


def _csv_lines(rows: Sequence[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue()


def _csv_cell(value: Any) -> str:
    return _harmless(value) if isinstance(value, str) else _text(value)


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _text(value: Any) -> str:
    """A value as people read it; null is empty."""
    if value is None:
        return ""
    plain = _plain(value)
    return plain if isinstance(plain, str) else orjson.dumps(plain).decode()


def _plain(value: Any) -> Any:
    """A value of the engine's as one that JSON has."""
    if isinstance(value, str | bool | None):
        return value
    if isinstance(value, int):
        return value if value in _INT64 else orjson.Fragment(str(value))
    if isinstance(value, float):
        return value if math.isfinite(value) else _NOT_FINITE[str(value)]
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f")) if value.is_finite() else str(value)
    if isinstance(value, dict):
        return {_text(key): _plain(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    return _scalar_text(value)


_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}  # contract §3


def _scalar_text(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return value.isoformat(timespec="microseconds")
        moment = value.astimezone(UTC).replace(tzinfo=None)
        return moment.isoformat(timespec="microseconds") + "Z"
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value)
