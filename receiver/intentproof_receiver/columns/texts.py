"""Columns of text: trimmed, hex, and read as JSON. Pure."""

import hashlib
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from intentproof_schemas import ATOMS, BLANK, Duplicates, inputs_of, names, output_of

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_DASHES = (8, 13, 18, 23)
_DIGITS = np.array([at for at in range(36) if at not in _DASHES])

Numbers = np.ndarray[Any, Any]


def trimmed(column: pa.Array) -> pa.Array:
    """A column of text without blanks at either end (contract §2)."""
    return pc.utf8_trim(column, characters=BLANK)


def byte_lengths(column: pa.Array) -> Numbers:
    """The bytes of each text; 0 of a null."""
    lengths: Numbers = np.diff(np.frombuffer(column.buffers()[1], np.int32)[column.offset :])
    return lengths[: len(column)]


def hex_texts(column: pa.Array) -> pa.Array:
    """A column of bytes as lower-case hex."""
    offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset :][: len(column) + 1]
    raw = bytes(column.buffers()[2] or b"")[offsets[0] : offsets[-1]]
    ends = (offsets - offsets[0]) * 2
    return pa.StringArray.from_buffers(
        len(column), pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(raw.hex().encode())
    )


def default_event_ids(trace_ids: pa.Array, span_ids: pa.Array) -> pa.Array:
    """`default_event_id` of each span; the ids are of 16 and of 8 bytes."""
    count = len(trace_ids)
    raws = pc.binary_join_element_wise(trace_ids, span_ids, b"").to_pylist()
    sha256 = hashlib.sha256
    hashed = np.frombuffer(b"".join([sha256(raw).digest() for raw in raws]), np.uint8)
    ids = hashed.reshape(count, 32)[:, :16].copy()
    ids[:, 6] = ids[:, 6] & 0x0F | 0x80  # version 8
    ids[:, 8] = ids[:, 8] & 0x3F | 0x80  # variant 0b10
    digits = np.frombuffer(ids.tobytes().hex().encode(), np.uint8).reshape(count, 32)
    texts = np.full((count, 36), ord("-"), np.uint8)
    texts[:, _DIGITS] = digits
    ends = np.arange(0, 36 * count + 1, 36, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(ends), pa.py_buffer(texts.tobytes()))


def inputs_texts(column: pa.Array) -> tuple[pa.Array, Numbers]:
    """Each event's inputs as JCS; and which are right: of the others keys came twice."""
    return _json_texts(column, names.INPUTS, inputs_of)


def output_texts(column: pa.Array) -> tuple[pa.Array, Numbers]:
    """Each succeeded event's output as JCS; and which are right: of the others keys came twice."""

    def read(given: dict[str, Any], rule: None, duplicates: Duplicates) -> bytes:
        return output_of(given, rule, duplicates, "ok") or b"null"

    return _json_texts(column, names.OUTPUT, read)


def _json_texts(
    column: pa.Array, name: str, read: Callable[..., bytes]
) -> tuple[pa.Array, Numbers]:
    texts = column.to_pylist()
    if _are_canonical(texts):
        return column, np.ones(len(texts), bool)
    made, right = [], np.ones(len(texts), bool)
    for place, text in enumerate(texts):
        duplicates = Duplicates()
        made.append(read({name: text}, None, duplicates))
        right[place] = not duplicates.count
    return pa.array(made, pa.binary()).cast(pa.string()), right


def _are_canonical(texts: list[str]) -> bool:
    """Whether all texts are flat objects in canonical form, as our own bridge writes them.

    Each is read by itself, so that no text can pose as two. Written again, all in one, they come
    out byte for byte: so no key came twice, and none was out of order (where keys are ASCII, the
    order of code points is that of UTF-16).
    """
    whole = b"[" + ",".join(texts).encode() + b"]"
    try:
        values = list(map(orjson.loads, texts))
        members = chain.from_iterable(map(dict.values, values))  # TypeError for what is no object
        return (
            ATOMS.issuperset(map(type, members))
            and (whole.isascii() or all(map(str.isascii, chain.from_iterable(values))))
            and orjson.dumps(values, option=_OPTIONS) == whole
        )
    except (ValueError, TypeError, RecursionError):
        return False
