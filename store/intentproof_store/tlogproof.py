"""The form of C2SP tlog-proof, whatever a proof is of: receipts and time stamps share it. Pure.

`c2sp.org/tlog-proof@v1`, a line `extra` with opaque data in base64, a line `index`, the hashes of
the inclusion proof, an empty line, and a checkpoint as signed.
"""

import base64
from dataclasses import dataclass

from .merkle import HASH_BYTES
from .strict import decimal, strict_base64

HEADER = b"c2sp.org/tlog-proof@v1\n"
_PROOF_HASHES_MAX = 63


@dataclass(frozen=True)
class TlogProof:
    """What the file holds. Nothing of it is true yet."""

    extra: bytes
    index: int
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        """The file's bytes."""
        hashes = b"".join(base64.b64encode(each) + b"\n" for each in self.proof)
        extra = base64.b64encode(self.extra)
        head = b"%sextra %s\nindex %d\n" % (HEADER, extra, self.index)
        return head + hashes + b"\n" + self.checkpoint


def decode_tlog_proof(raw: bytes) -> TlogProof:
    """Read a proof, strictly: one way to write each, nothing left over. Raises ValueError.

    The `extra` line, which the specification lets out, is asked for: ours all have one.
    """
    if not raw.startswith(HEADER):
        raise ValueError("the first line is not c2sp.org/tlog-proof@v1")
    head, blank, checkpoint = raw[len(HEADER) :].partition(b"\n\n")
    lines = head.split(b"\n")
    if not blank or len(lines) < 2:
        raise ValueError("no extra line, no index, or no checkpoint")
    extra = _member(lines[0], b"extra ")
    number = _member(lines[1], b"index ")
    index = decimal(number)
    if index is None:
        raise ValueError("the index is not a plain decimal number")
    if len(lines) - 2 > _PROOF_HASHES_MAX:
        raise ValueError(f"over {_PROOF_HASHES_MAX} hashes")
    proof = tuple(_base64(line, "a hash of the proof") for line in lines[2:])
    if any(len(each) != HASH_BYTES for each in proof):
        raise ValueError(f"a hash of the proof is not {HASH_BYTES} bytes")
    return TlogProof(_base64(extra, "the extra line"), index, proof, checkpoint)


def _member(line: bytes, name: bytes) -> bytes:
    if not line.startswith(name):
        raise ValueError(f"a line does not start with {name.decode()!r}")
    return line.removeprefix(name)


def _base64(text: bytes, what: str) -> bytes:
    try:
        return strict_base64(text)
    except ValueError as error:
        raise ValueError(f"{what} is {error}") from error
