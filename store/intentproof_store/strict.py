"""Numbers and bytes as text, where there is one way to write each. Pure."""

import base64
import binascii
from collections.abc import Iterable, Sequence

_DIGITS_MAX = 19
_HASH_BYTES = 32
_PROOF_HASHES_MAX = 63  # C2SP tlog-witness: of a tree of less than 2^63 leaves


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


def hash_lines(hashes: Iterable[bytes]) -> bytes:
    """The hashes of a proof in base64, one a line."""
    return b"".join(base64.b64encode(each) + b"\n" for each in hashes)


def read_hash_lines(lines: Sequence[bytes]) -> tuple[bytes, ...]:
    """The hashes of a proof, from their lines without line feeds. Raises ValueError."""
    if len(lines) > _PROOF_HASHES_MAX:
        raise ValueError(f"over {_PROOF_HASHES_MAX} hashes")
    try:
        hashes = tuple(map(strict_base64, lines))
    except ValueError as error:
        raise ValueError(f"a hash of the proof is {error}") from error
    if any(len(each) != _HASH_BYTES for each in hashes):
        raise ValueError(f"a hash of the proof is not {_HASH_BYTES} bytes")
    return hashes
