"""Any Python value as JSON text, for inputs and outputs. Never raises, always bounded."""

import base64
import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from intentproof_schemas import canonical

from .values import integer_text, whole_text

LEVELS_MAX = 32  # the mapping reads 64 levels of JSON
VALUES_MAX = 50_000
CHARS_MAX = 1 << 19  # half of what an event may hold in all
REPR_CHARS_MAX = 4096

_INTEGER_MAX = 2**53 - 1
_TEXTUAL = (Decimal, UUID)


def json_text(value: Any) -> str:
    """The RFC 8785 text of `value`, with what is not JSON made safe.

    Dataclasses, named tuples and mappings become objects; sets sorted arrays; times ISO 8601
    text; time spans seconds; decimals, UUIDs and paths text; bytes base64; enums their values;
    NaN and the infinities their names; integers beyond 2^53 - 1 decimal text; anything else its
    `repr`, or the name of its class where that says nothing more. What refers to itself, nests
    deeper than 32 levels or comes after 50,000 values or 512 Ki characters is replaced by a
    parenthesis that says so. Runs on the caller's thread and never raises.
    """
    try:
        return canonical(_Capture().value(value, LEVELS_MAX)).decode()
    except Exception:  # noqa: BLE001 - capturing must not hurt the program: any object may come
        return f'"(not readable: {type(value).__qualname__})"'


class _Capture:
    """One walk over one value: what is still allowed, and what is being walked."""

    def __init__(self) -> None:
        self._values_left = VALUES_MAX
        self._chars_left = CHARS_MAX
        self._path: set[int] = set()

    def value(self, value: Any, levels: int) -> Any:
        self._values_left -= 1
        if self._values_left < 0:
            return "(left out: too many values)"
        try:
            plain = _scalar(value)
            if plain is not _NOT_SCALAR:
                return self._spend(plain)
            if id(value) in self._path:
                return "(refers to itself)"
            if levels <= 0:
                return "(nested too deeply)"
            self._path.add(id(value))
            try:
                return self._composite(value, levels - 1)
            finally:
                self._path.discard(id(value))
        except Exception:  # noqa: BLE001 - properties and iterators of any object may raise
            return f"(not readable: {_class_name(value)})"

    def _spend(self, plain: Any) -> Any:
        if isinstance(plain, str):
            if len(plain) > self._chars_left:
                return f"(left out: {len(plain)} characters)"
            self._chars_left -= len(plain)
        return plain

    def _composite(self, value: Any, levels: int) -> Any:
        if isinstance(value, Mapping):
            return self._object(value.items(), levels)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = dataclasses.fields(value)
            return self._object(
                ((field.name, getattr(value, field.name)) for field in fields), levels
            )
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return self._object(zip(value._fields, value, strict=True), levels)
        if isinstance(value, AbstractSet):
            items = [self.value(item, levels) for item in self._some(value)]
            return sorted(items, key=canonical)
        if isinstance(value, Sequence) and not isinstance(value, range):
            return [self.value(item, levels) for item in self._some(value)]
        return self._spend(_described(value))

    def _object(self, items: Any, levels: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, item in self._some(items):
            name = self._spend(_key_text(key))
            if name not in result:
                result[name] = self.value(item, levels)
        return result

    def _some(self, items: Any) -> Any:
        """The items for which there is room, and one more, which then says that there is not."""
        for item in items:
            yield item
            if self._values_left < 0:
                return


_NOT_SCALAR = object()
_OBJECT_REPR: Any = object.__repr__
_OBJECT_STR: Any = object.__str__


def _scalar(value: Any) -> Any:
    """The JSON value of what has no parts; _NOT_SCALAR for everything else."""
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return whole_text(str(value))
    if isinstance(value, int):
        return int(value) if abs(value) <= _INTEGER_MAX else integer_text(int(value))
    if isinstance(value, float):
        return _float(float(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _base64(value)
    if isinstance(value, (date, time)):  # datetime is a date
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, _TEXTUAL):
        return str(value)
    if isinstance(value, os.PathLike):
        return whole_text(os.fsdecode(value))
    return _NOT_SCALAR


def _float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _base64(value: bytes | bytearray | memoryview) -> str:
    size = value.nbytes if isinstance(value, memoryview) else len(value)
    if size > CHARS_MAX:
        return f"(left out: {size} bytes)"
    return base64.b64encode(value).decode("ascii")


def _key_text(key: Any) -> str:
    plain = _scalar(key)
    if isinstance(plain, str):
        return plain
    if plain is _NOT_SCALAR:
        return _described(key)
    return canonical(plain).decode()


def _described(value: Any) -> str:
    """The value's own words; its class where it has none, since an address says nothing."""
    kind = type(value)
    if kind.__repr__ is _OBJECT_REPR and kind.__str__ is _OBJECT_STR:
        return f"<{_class_name(value)}>"
    words = repr(value) if kind.__repr__ is not _OBJECT_REPR else str(value)
    return whole_text(words[:REPR_CHARS_MAX])


def _class_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
