"""Numbers and bytes as text, where there is one way to write each. Pure."""

import base64
import binascii

_DIGITS_MAX = 19


def strict_base64(text: bytes) -> bytes:
    """The bytes of standard base64. Raises ValueError for any other way to write them."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64") from error
    if base64.b64encode(raw) != text:
        raise ValueError("not canonical base64")
    return raw


def decimal(text: bytes) -> int | None:
    """A number without sign and leading zeros, or None for anything else."""
    if not text.isdigit() or len(text) > _DIGITS_MAX or str(int(text)).encode() != text:
        return None
    return int(text)
