"""Whether a row's committed texts can be read in one way only, as its columns have it. Pure.

A context is committed to as `{"attributes":A,"correlationId":"C","intent":"I"}`, a payload as
`{"error":E,"inputs":I,"output":O}`; A, C, E and O may be absent with what is before them. Whoever
moves text from one column to its neighbour may leave the joined text, and its hash, as they were.
What follows is true of a text that was made of an event's members, each a JSON value.

1. How a text begins shows whether its first member is there. A text written as a JSON string has
   no quotation mark without a backslash before it: where intent begins is certain, and so is where
   correlationId does, unless attributes end with one that was moved there; no attributes may hold
   `,"correlationId":`. They are an object and end with a brace: nothing was taken from them.
2. If none of error, inputs and output holds `,"inputs":` or `,"output":`, each stands once, where
   the columns have it. A text of which that is true has no other cut between two of its members.
3. It could still be one without output, whose inputs have a member of that name: `{"x":1` and
   `2}`. Then what is shown as output is a value and at least one closing brace more: no JSON.
"""

from typing import Any, TypeAlias

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from intentproof_schemas import names

from .textcolumns import bytes_of, ends_of, plain_piece

Mask: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"

_CORRELATION = b',"correlationId":'
_INPUTS, _OUTPUT = b',"inputs":', b',"output":'
_SERVICE = f'"{names.SERVICE_NAME}":'.encode()


def reads_one_way(rows: pa.RecordBatch) -> Mask:
    """Which rows name each member just where it stands, and their service as it does."""
    clear = np.ones(rows.num_rows, bool)
    _without(clear, rows.column("attributes"), _CORRELATION)  # (1)
    for name in ("error", "inputs", "output"):  # (2)
        _without(clear, rows.column(name), _OUTPUT)
        if rows.column("error").null_count < rows.num_rows:
            _without(clear, rows.column(name), _INPUTS)
    _whole(clear, rows.column("output"))  # (3)
    _serviced(clear, rows)
    return clear


def _without(clear: Mask, column: pa.Array, mark: bytes) -> None:
    """Doubt rows whose text holds the mark. The column is searched as a whole first."""
    if mark in bytes_of(column):
        held = pc.match_substring(column.view(pa.binary()), mark)
        clear &= ~pc.fill_null(held, fill_value=False).to_numpy(zero_copy_only=False)


def _whole(clear: Mask, column: pa.Array) -> None:
    """Doubt rows whose text is no JSON, where that could be a closing brace too many."""
    if column.null_count == len(column):
        return
    raw, ends = bytes_of(column), ends_of(column)
    if b"}" not in raw:
        return
    # A value and one brace more has two, or does not begin with one: most outputs have neither.
    text = np.frombuffer(raw, np.uint8)
    at = np.flatnonzero(text == ord("}"))
    braces = np.diff(np.searchsorted(at, ends - ends[0]))
    opens = text[np.minimum(ends[:-1] - ends[0], len(text) - 1)] == ord("{")
    for place in np.flatnonzero((braces > 1) | ((braces == 1) & ~opens)).tolist():
        first, end = int(ends[place] - ends[0]), int(ends[place + 1] - ends[0])
        try:
            orjson.loads(memoryview(raw)[first:end])
        except ValueError:
            clear[place] = False


def _serviced(clear: Mask, rows: pa.RecordBatch) -> None:
    """Doubt rows whose service is not named once in their attributes, as the column has it.

    An absent one is not named at all. What the column has stands there without escapes.
    """
    column, attributes = rows.column("service_name"), rows.column("attributes")
    named = column.is_valid().to_numpy(zero_copy_only=False)
    pieces = bytes_of(attributes).split(_SERVICE)
    if not _once_in_each(pieces, named, ends_of(attributes)):
        counted = pc.count_substring(attributes.view(pa.binary()), _SERVICE)
        clear &= pc.fill_null(counted, 0).to_numpy(zero_copy_only=False) == named
        named &= clear
        pieces = bytes_of(attributes.filter(pa.array(named))).split(_SERVICE)
    texts = bytes_of(column)
    if b'"' in texts or b"\\" in texts:
        escaped = pc.match_substring_regex(column.view(pa.binary()), rb'["\\]')
        clear &= ~pc.fill_null(escaped, fill_value=False).to_numpy(zero_copy_only=False)
    piece = plain_piece(column)
    if isinstance(piece, str):
        value = b'"' + piece.encode() + b'"'
        right = [after.startswith(value) for after in pieces[1:]]
    else:
        values = column.filter(pa.array(named)).view(pa.binary()).to_pylist()
        right = [
            after.startswith(b'"' + value + b'"')
            for after, value in zip(pieces[1:], values, strict=True)
        ]
    clear[named] &= np.array(right, bool)


def _once_in_each(
    pieces: list[bytes], named: Mask, ends: "np.ndarray[Any, np.dtype[np.int32]]"
) -> bool:
    """Whether what stands between the pieces is once in each named row, and in no other."""
    if len(pieces) - 1 != np.count_nonzero(named):
        return False
    lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
    begins = np.cumsum(lengths + len(_SERVICE))[:-1] - len(_SERVICE) + ends[0]
    within = (begins >= ends[:-1][named]) & (begins + len(_SERVICE) <= ends[1:][named])
    return bool(within.all())
