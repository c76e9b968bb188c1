"""Columns of text written side by side, at C speed: how leaves and digests are made. Pure.

A call into Arrow costs microseconds and a batch may be small, so that what is the same in all
rows is one text, merged with the constants around it, and quotation marks are among those.
"""

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

# One text for all rows, "" where all are null; or one for each row.
Piece: TypeAlias = "str | pa.Array"
_STRING = pa.string()
_FIRST_PRINTABLE = 0x20


def ends_of(column: pa.Array) -> "np.ndarray[Any, np.dtype[np.int32]]":
    """Where each text of a column ends in its buffer, after where the first one starts."""
    _, places, _ = column.buffers()
    return np.frombuffer(places, np.int32, len(column) + 1, column.offset * 4)


def bytes_of(column: pa.Array) -> bytes:
    """All texts of a column, one after the other."""
    ends, data = ends_of(column), column.buffers()[2]
    start, end = int(ends[0]), int(ends[-1])
    raw: bytes = data.slice(start, end - start).to_pybytes() if data is not None else b""
    return raw


def plain_piece(column: pa.Array) -> Piece:
    """A column of texts as they are."""
    raw, same = _same_in_all(column)
    return column if same is None else raw[:same].decode()


def json_piece(column: pa.Array) -> Piece:
    """A column of texts as JSON strings, without the quotation marks around them."""
    raw, same = _same_in_all(column)
    if same is not None:
        return _escaped(raw[:same].decode())
    if _needs_no_escape(raw):
        return column
    texts = [None if text is None else _escaped(text) for text in column.to_pylist()]
    return pa.array(texts, pa.string())


def number_piece(column: pa.Array) -> Piece:
    """A column of integers in decimal."""
    return "" if column.null_count == len(column) else column.cast(pa.string())


def optional(before: str, piece: Piece, after: str) -> list[Piece]:
    """The piece and what stands around it; where it is absent, nothing."""
    if isinstance(piece, str):
        return [before + piece + after] if piece else []
    if piece.null_count == 0:
        return [before, piece, after]
    return [pc.binary_join_element_wise(_scalar(before), piece, _scalar(after), _scalar(""))]


def joined(pieces: Iterable[Piece], rows: int, *, between: str = "") -> pa.Array:
    """The pieces of each row in one text. A null adds nothing but what stands between two."""
    merged: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and merged and isinstance(merged[-1], str):
            merged[-1] += between + piece
        else:
            merged.append(piece)
    if len(merged) == 1 and isinstance(merged[0], str):
        return pa.repeat(_scalar(merged[0]), rows)
    columns = [_scalar(piece) if isinstance(piece, str) else piece for piece in merged]
    return pc.binary_join_element_wise(
        *columns, _scalar(between), null_handling="replace", null_replacement=""
    )


def _scalar(text: str) -> pa.Scalar:
    return pa.scalar(text, _STRING)  # with its type, or finding that would take the most time


def _same_in_all(column: pa.Array) -> tuple[bytes, int | None]:
    """A column's bytes, and how many of them are each row's text, if it is the same in all."""
    rows = len(column)
    if column.null_count == rows:
        return b"", 0
    raw, ends = bytes_of(column), ends_of(column)
    length = int(ends[1] - ends[0])
    if column.null_count or length * rows != len(raw):
        return raw, None
    first = raw[:length]
    if not raw.endswith(first) or raw != first * rows:
        return raw, None
    # "aa", "a", "aaa" are as long and the same bytes as "aa" three times.
    return raw, length if (ends[1:] - ends[:-1] == length).all() else None


def _needs_no_escape(raw: bytes) -> bool:
    if b'"' in raw or b"\\" in raw:
        return False
    return not raw or int(np.frombuffer(raw, np.uint8).min()) >= _FIRST_PRINTABLE


def _escaped(text: str) -> str:
    return orjson.dumps(text).decode()[1:-1]
