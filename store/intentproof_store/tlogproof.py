"""The form of C2SP tlog-proof, whatever a proof is of: receipts and time stamps share it. Pure.

`c2sp.org/tlog-proof@v1`, a line `extra` with opaque data in base64, a line `index`, the hashes of
the inclusion proof, an empty line, and a checkpoint as signed.
"""

import base64
from dataclasses import dataclass

from .strict import decimal, hash_lines, read_hash_lines, strict_base64

HEADER = b"c2sp.org/tlog-proof@v1\n"


@dataclass(frozen=True)
class TlogProof:
    """What the file holds. Nothing of it is true yet."""

    extra: bytes
    index: int
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        """The file's bytes."""
        extra = base64.b64encode(self.extra)
        head = b"%sextra %s\nindex %d\n" % (HEADER, extra, self.index)
        return head + hash_lines(self.proof) + b"\n" + self.checkpoint


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
    proof = read_hash_lines(lines[2:])
    try:
        return TlogProof(strict_base64(extra), index, proof, checkpoint)
    except ValueError as error:
        raise ValueError(f"the extra line is {error}") from error


def _member(line: bytes, name: bytes) -> bytes:
    if not line.startswith(name):
        raise ValueError(f"a line does not start with {name.decode()!r}")
    return line.removeprefix(name)
