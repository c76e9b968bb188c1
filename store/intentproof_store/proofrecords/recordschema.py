"""Whether a record keeps the schema and what its type asks of its event. Pure.

The rules are data: `proof-record.v1` of the schemas that ship.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from intentproof_schemas import schema
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import best_match
from jsonschema.protocols import Validator
from jsonschema.validators import extend

from .errors import NotVerified
from .record import Record

_SHOWN_MAX = 200
# What the reference asks to be more than white space, in its order.
_NOT_BLANK = ("record_version", "source", "source_product", "record_type", "record_id")


def check_schema(record: Record) -> None:
    """Raise NotVerified unless the record has what every record has, and its type's event."""
    if record.timestamp is None or record.timestamp.is_zero():
        raise NotVerified("timestamp is required")
    for name in _NOT_BLANK:
        if not getattr(record, name).strip():
            raise NotVerified(f"{name} is required")
    if record.event is None:
        raise NotVerified("event is required")
    error = best_match(_validator().iter_errors(record.document()))
    if error is not None:
        place = ".".join(map(str, error.absolute_path)) or "the record"
        raise NotVerified(f"schema: {place}: {error.message[:_SHOWN_MAX]}")


def _pattern(
    _validator: Validator, pattern: str, instance: Any, _schema: Any
) -> Iterator[ValidationError]:
    """A pattern to its very end: in Python, unlike Go, `$` also matches before a line feed."""
    if isinstance(instance, str) and not re.fullmatch(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


@cache
def _validator() -> Validator:
    whole = extend(Draft202012Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]
    validator: Validator = whole(schema("proof-record.v1"))
    return validator
