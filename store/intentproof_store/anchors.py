"""The anchor: one signed root over the newest checkpoints of many logs, stamped once for all. Pure.

Its tree is that of RFC 6962; a leaf is 32 bytes of salt and a checkpoint's note, as it stands in
`checkpoint.<size>`. The anchor is a C2SP checkpoint of that tree. What is stamped (RFC 3161) is
the SHA-256 of the whole anchor, signatures included, so that no byte of it is left out.

Each log has a file of its own, `anchor.<size>.<hex>`, in the form of C2SP tlog-proof: the leaf in
`extra`, the inclusion proof, the anchor. Beside it stands `anchor.<size>.<hex>.tsr`, the answer of
the time-stamping authority (TimeStampResp, DER). `<hex>` is the begin of the SHA-256 of the latter.
Of other logs the file holds hashes alone, and because of the salts nobody can try what they are of.

The origin of an anchor is `<log name>/_anchor/<writer>/<16 hex digits>`, new for each: an anchor is
no log, and two of one origin and size would look like a fork. `_anchor` cannot be a tenant.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .errors import NoteInvalid, ProofInvalid, StampInvalid
from .merkle import leaf_hash, node_hash, root_of, verify_inclusion
from .note import Checkpoint, read_checkpoint, sign_note
from .proofs import inclusion_proof
from .tlogproof import TlogProof, decode_tlog_proof

ANCHOR_SALT_BYTES = 32
ANCHOR_BYTES_MAX = 1 << 20
_NAME_DIGITS = 16
_ORIGIN = re.compile(r"[a-z0-9.-]{1,100}/_anchor/[a-z0-9-]{1,49}/[0-9a-f]{16}")


@dataclass(frozen=True)
class Anchored:
    """A log's checkpoint and its proof to an anchor. True after `verify_anchored` returned."""

    salt: bytes
    note: bytes
    index: int
    proof: tuple[bytes, ...]
    anchor: bytes

    @property
    def digest(self) -> bytes:
        """What a time stamp over the anchor is of: its SHA-256."""
        return hashlib.sha256(self.anchor).digest()

    def encode(self) -> bytes:
        """The bytes of `anchor.<size>.<hex>`."""
        return TlogProof(self.salt + self.note, self.index, self.proof, self.anchor).encode()


def anchor_name(size: int, token: bytes) -> str:
    """The name of the file of a checkpoint of `size` leaves that this token stamps."""
    return f"anchor.{size}.{hashlib.sha256(token).hexdigest()[:_NAME_DIGITS]}"


def anchor_origin(log_name: str, writer: str, unique: bytes) -> str:
    """The origin of one anchor; `unique` are 8 random bytes."""
    return f"{log_name}/_anchor/{writer}/{unique.hex()}"


def make_anchor(
    notes: Sequence[bytes], salts: Sequence[bytes], *, origin: str, key: Ed25519PrivateKey
) -> list[Anchored]:
    """The notes, at least one, each with its proof to one signed anchor.

    `salts` are as many times 32 random bytes. The leaves stand in the order of their hashes, which
    because of the salts tells nothing. The name of the key is the origin without its last part.
    """
    hashes = [leaf_hash(salt + note) for salt, note in zip(salts, notes, strict=True)]
    ordered = sorted(hashes)
    checkpoint = Checkpoint(origin, len(ordered), root_of(ordered))
    signed = sign_note(checkpoint.text(), name=origin.rpartition("/")[0], key=key)
    node = _nodes(ordered)
    places = {hashed: index for index, hashed in enumerate(ordered)}
    made = []
    for salt, note, hashed in zip(salts, notes, hashes, strict=True):
        index = places[hashed]
        proof = tuple(inclusion_proof(index, len(ordered), node))
        made.append(Anchored(salt, note, index, proof, signed))
    return made


def _nodes(hashes: Sequence[bytes]) -> Callable[[int, int], bytes]:
    levels = [list(hashes)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node_hash(*below[at : at + 2]) for at in range(0, len(below) - 1, 2)])
    return lambda level, index: levels[level][index]


def decode_anchored(raw: bytes) -> Anchored:
    """Read a file, strictly: one way to write each, nothing left over. Raises StampInvalid."""
    if len(raw) > ANCHOR_BYTES_MAX:
        raise StampInvalid(f"{len(raw)} bytes, the limit is {ANCHOR_BYTES_MAX}")
    try:
        form = decode_tlog_proof(raw)
    except ValueError as error:
        raise StampInvalid(str(error)) from error
    salt, note = form.extra[:ANCHOR_SALT_BYTES], form.extra[ANCHOR_SALT_BYTES:]
    return Anchored(salt, note, form.index, form.proof, form.checkpoint)


def verify_anchored(anchored: Anchored) -> Checkpoint:
    """The checkpoint that stands under the anchor; whose signature it has is not looked at.

    1. The anchor is a checkpoint whose origin is an anchor's.
    2. The leaf, salt and note, follows from its root at the index.
    3. The note is a checkpoint.

    The anchor's own signature tells who made it, and is not looked at either: that what is under it
    existed at a time rests on the token over its bytes. Raises StampInvalid.
    """
    try:
        anchor = read_checkpoint(anchored.anchor)  # (1)
        if not _ORIGIN.fullmatch(anchor.origin):
            raise StampInvalid(f"{anchor.origin!r} is not the origin of an anchor")
        verify_inclusion(  # (2)
            index=anchored.index,
            size=anchor.size,
            hashed_leaf=leaf_hash(anchored.salt + anchored.note),
            proof=anchored.proof,
            root=anchor.root,
        )
        return read_checkpoint(anchored.note)  # (3)
    except (NoteInvalid, ProofInvalid) as error:
        raise StampInvalid(str(error)) from error
