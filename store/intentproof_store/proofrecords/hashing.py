"""RFC 8785 texts and hashes of proof records. Pure."""

import hashlib
from typing import Any

from intentproof_schemas import INTEGER_MAX, CanonicalError, canonical

from .errors import Unreadable


def jcs(value: Any) -> bytes:
    """The RFC 8785 bytes of a value whose numbers are all doubles, as Go's decoder makes them.

    Raises Unreadable for what has no such form.
    """
    try:
        return canonical(value)
    except CanonicalError:
        pass  # an integer beyond 2^53 - 1, which as a double has a form, or what has none
    try:
        return canonical(_doubles(value))
    except (CanonicalError, OverflowError, RecursionError) as error:
        raise Unreadable(f"no canonical JSON: {error}") from error


def _doubles(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _doubles(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_doubles(item) for item in value]
    if type(value) is int and abs(value) > INTEGER_MAX:
        return float(value)
    return value


def sha256_hex(value: Any) -> str:
    """Hex SHA-256 of the value's RFC 8785 bytes. Raises Unreadable."""
    return hashlib.sha256(jcs(value)).hexdigest()
