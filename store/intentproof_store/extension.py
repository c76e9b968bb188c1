"""A proof that a log only grew: from a checkpoint that somebody holds to a later one. Pure.

The file is what C2SP tlog-witness sends to `add-checkpoint`: `old <size>`, the hashes of the
consistency proof in base64, one a line, an empty line, and the later checkpoint as signed.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from .errors import NoteInvalid, ProofInvalid
from .merkle import verify_consistency
from .note import Checkpoint, VerifierKey, open_checkpoint, read_checkpoint
from .strict import decimal, hash_lines, read_hash_lines

_FIRST = b"old "
EXTENSION_BYTES_MAX = 1 << 20


@dataclass(frozen=True)
class Extension:
    """What the file holds. Nothing of it is true before `verify_extension` returned."""

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        """The file's bytes."""
        hashes = hash_lines(self.proof)
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
    try:
        return Extension(old_size, read_hash_lines(hashes), checkpoint)
    except ValueError as error:
        raise ProofInvalid(str(error)) from error


def verify_extension(
    extension: Extension, *, known: Checkpoint, keys: Iterable[VerifierKey] = ()
) -> Checkpoint:
    """The later checkpoint, which keeps every leaf of the one that the caller holds.

    One of `keys` must have signed it. Without keys that is left out: anybody can append to the tree
    of a checkpoint that they have seen, so what is returned is then consistent, and nothing more.
    Raises NoteInvalid and ProofInvalid; no proof leads from one log to another.
    """
    keys = tuple(keys)
    if keys:
        later = open_checkpoint(extension.checkpoint, keys=keys, known=(known,))
    else:
        later = read_checkpoint(extension.checkpoint)
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
