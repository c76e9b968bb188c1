"""A proof that a log only grew: from a checkpoint that somebody holds to a later one. Pure.

The file is what C2SP tlog-witness sends to `add-checkpoint`: `old <size>`, the hashes of the
consistency proof in base64, one a line, an empty line, and the later checkpoint as signed.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass

from .errors import NoteInvalid, ProofInvalid
from .merkle import HASH_BYTES, verify_consistency
from .note import Checkpoint, VerifierKey, open_note, parse_checkpoint_text, parse_note
from .strict import decimal, strict_base64

_FIRST = b"old "
_PROOF_HASHES_MAX = 63  # C2SP tlog-witness
EXTENSION_BYTES_MAX = 1 << 20


@dataclass(frozen=True)
class Extension:
    """What the file holds. Nothing of it is true before `verify_extension` returned."""

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        """The file's bytes."""
        hashes = b"".join(base64.b64encode(each) + b"\n" for each in self.proof)
        return b"%s%d\n%s\n%s" % (_FIRST, self.old_size, hashes, self.checkpoint)


def is_extension(raw: bytes) -> bool:
    """Whether the bytes begin as such a proof does."""
    return raw.startswith(_FIRST)


def decode_extension(raw: bytes) -> Extension:
    """Read a proof, strictly: one way to write each, nothing left over. Raises ProofInvalid."""
    head, blank, checkpoint = raw.partition(b"\n\n")
    first, *hashes = head.split(b"\n")
    if len(raw) > EXTENSION_BYTES_MAX or not blank or not is_extension(first):
        raise ProofInvalid("not a line `old <size>`, hashes, an empty line and a checkpoint")
    old_size = decimal(first.removeprefix(_FIRST))
    if old_size is None:
        raise ProofInvalid("the old size is not a plain decimal number")
    if len(hashes) > _PROOF_HASHES_MAX:
        raise ProofInvalid(f"over {_PROOF_HASHES_MAX} hashes")
    try:
        proof = tuple(map(strict_base64, hashes))
    except ValueError as error:
        raise ProofInvalid(f"a hash of the proof is {error}") from error
    if any(len(each) != HASH_BYTES for each in proof):
        raise ProofInvalid(f"a hash of the proof is not {HASH_BYTES} bytes")
    return Extension(old_size, proof, checkpoint)


def verify_extension(
    extension: Extension, *, known: Checkpoint, keys: Iterable[VerifierKey] = ()
) -> Checkpoint:
    """The later checkpoint, which keeps every leaf of the one that the caller holds.

    Where `keys` has a key of the log, it must have signed the later checkpoint. Raises NoteInvalid
    and ProofInvalid; no proof leads from one log to another.
    """
    later = parse_checkpoint_text(parse_note(extension.checkpoint).text)
    own = [key for key in keys if key.name == later.origin]
    if own:
        open_note(extension.checkpoint, own)
    if later.origin != known.origin:
        raise NoteInvalid(f"a checkpoint of {later.origin}, yours is of {known.origin}")
    if extension.old_size != known.size:
        raise ProofInvalid(f"a proof from {extension.old_size} leaves, yours has {known.size}")
    verify_consistency(
        size1=known.size,
        size2=later.size,
        root1=known.root,
        root2=later.root,
        proof=extension.proof,
    )
    return later
