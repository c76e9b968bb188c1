"""Signed notes, checkpoints and keys in the formats of C2SP (signed-note, tlog-checkpoint).

Decoding is strict: canonical base64 only, no bytes left over, no signature line that is not one.
A note proves nothing until `open_note` returned.
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from .errors import NoteInvalid
from .strict import strict_base64

_ED25519 = 0x01
_KEY_ID_BYTES = 4
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_NAME = re.compile(r"[^\s+]+")
_SIGNATURE_PREFIX = "\u2014 "
_SIGNATURES_MAX = 100  # C2SP: a limit on what a reader looks at
# y of the small-order points of edwards25519, with either sign of x: such a key accepts forgeries.
_LOW_ORDER = frozenset(
    int.from_bytes(bytes.fromhex(point), "little")
    for point in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)
_FIELD_PRIME = 2**255 - 19


def split_vkey(vkey: str) -> tuple[str, str, bytes]:
    """Name, key id in hex, and the algorithm's byte with the key. Raises NoteInvalid."""
    name, _, rest = vkey.partition("+")
    key_id, _, encoded = rest.partition("+")
    raw = _strict_base64(encoded)
    if not _NAME.fullmatch(name) or not raw:
        raise NoteInvalid(f"not a vkey: {vkey!r}")
    return name, key_id, raw


def check_point(key: bytes, name: str) -> None:
    """Raises NoteInvalid for an Ed25519 key under which forgeries would hold."""
    coordinate = int.from_bytes(key, "little") & ~(1 << 255)
    if coordinate >= _FIELD_PRIME or coordinate in _LOW_ORDER:
        raise NoteInvalid(f"the key of {name} is of low order or not canonical")


@dataclass(frozen=True)
class VerifierKey:
    """A public key that a reader trusts under a name."""

    name: str
    key: bytes

    @property
    def key_id(self) -> bytes:
        """First four bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ key)."""
        material = self.name.encode() + b"\n" + bytes([_ED25519]) + self.key
        return hashlib.sha256(material).digest()[:_KEY_ID_BYTES]

    def vkey(self) -> str:
        """The key as one line of text."""
        encoded = base64.b64encode(bytes([_ED25519]) + self.key).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @classmethod
    def parse(cls, vkey: str) -> "VerifierKey":
        """Read a vkey. Raises NoteInvalid unless it is a sound Ed25519 key of that id."""
        name, key_id, raw = split_vkey(vkey)
        if len(raw) != 33 or raw[0] != _ED25519:
            raise NoteInvalid(f"not an Ed25519 vkey: {vkey!r}")
        key = cls(name, raw[1:])
        if key.key_id.hex() != key_id:
            raise NoteInvalid(f"the key id of {name} does not belong to its key")
        check_point(key.key, name)
        return key

    def verify(self, message: bytes, signature: bytes) -> None:
        """Raise NoteInvalid unless the signature is this key's over the message."""
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise NoteInvalid(f"a signature of {self.name} does not hold") from error


@dataclass(frozen=True)
class Signature:
    """One signature line of a note."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True)
class Note:
    """A note as parsed; its signatures are not verified."""

    text: str
    signatures: tuple[Signature, ...]


@dataclass(frozen=True)
class Checkpoint:
    """A log's size and root at one moment."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The body that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True)
class SegmentNote:
    """What is signed of a segment's file: its place in the log, its length and its SHA-256."""

    origin: str
    first: int
    last: int
    rev: int
    size_bytes: int
    sha256: str

    def text(self) -> str:
        """The body that is signed."""
        numbers = f"{self.first}\n{self.last}\n{self.rev}\n{self.size_bytes}"
        return f"{self.origin}/segment\n{numbers}\nsha256:{self.sha256}\n"


def sign_note(text: str, *, name: str, key: Ed25519PrivateKey) -> bytes:
    """A signed note over `text`, which ends with a line feed."""
    verifier = VerifierKey(name, key.public_key().public_bytes_raw())
    signed = base64.b64encode(verifier.key_id + key.sign(text.encode())).decode()
    return f"{text}\n{_SIGNATURE_PREFIX}{name} {signed}\n".encode()


def parse_note(raw: bytes) -> Note:
    """Read a note without judging its signatures. Raises NoteInvalid."""
    try:
        whole = raw.decode()
    except UnicodeDecodeError as error:
        raise NoteInvalid("a note is not UTF-8") from error
    if any(ord(c) < 0x20 and c != "\n" for c in whole):
        raise NoteInvalid("a note holds a control character")
    body, separator, signatures = whole.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise NoteInvalid("a note has no signatures")
    lines = signatures[:-1].split("\n")
    if len(lines) > _SIGNATURES_MAX:
        raise NoteInvalid(f"a note with over {_SIGNATURES_MAX} signatures")
    return Note(body + "\n", tuple(_parse_signature(line) for line in lines))


def _parse_signature(line: str) -> Signature:
    if not line.startswith(_SIGNATURE_PREFIX):
        raise NoteInvalid("a line after the note's text is no signature")
    name, space, encoded = line.removeprefix(_SIGNATURE_PREFIX).partition(" ")
    raw = _strict_base64(encoded)
    if not space or not _NAME.fullmatch(name) or len(raw) <= _KEY_ID_BYTES:
        raise NoteInvalid("a malformed signature line")
    return Signature(name, raw[:_KEY_ID_BYTES], raw[_KEY_ID_BYTES:])


def open_note(raw: bytes, trusted: Iterable[VerifierKey]) -> tuple[Note, tuple[VerifierKey, ...]]:
    """The note and the trusted keys that signed it, at least one.

    Signatures by unknown keys are ignored; a signature under a trusted name and key id that does
    not hold makes the whole note invalid. Raises NoteInvalid.
    """
    note = parse_note(raw)
    known = {(key.name, key.key_id): key for key in trusted}
    signers = []
    for line in note.signatures:
        key = known.get((line.name, line.key_id))
        if key is not None:
            key.verify(note.text.encode(), line.signature)
            signers.append(key)
    if not signers:
        raise NoteInvalid("no trusted key signed this note")
    return note, tuple(signers)


def parse_checkpoint_text(text: str) -> Checkpoint:
    """A checkpoint's body: origin, size, root, and nothing else. Raises NoteInvalid."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[0] or not _NUMBER.fullmatch(lines[1]):
        raise NoteInvalid("a checkpoint is not origin, size and root")
    root = _strict_base64(lines[2])
    if len(root) != 32:
        raise NoteInvalid("a checkpoint's root is not 32 bytes")
    return Checkpoint(lines[0], int(lines[1]), root)


def read_checkpoint(raw: bytes) -> Checkpoint:
    """What a checkpoint's note says, whoever signed it. Raises NoteInvalid."""
    return parse_checkpoint_text(parse_note(raw).text)


def open_checkpoint(
    raw: bytes, *, keys: Iterable[VerifierKey], known: Iterable[Checkpoint] = ()
) -> Checkpoint:
    """A checkpoint that the caller holds, or that one of `keys` signed, which is of its origin.

    Raises NoteInvalid for any other.
    """
    checkpoint = read_checkpoint(raw)
    if checkpoint in known:
        return checkpoint
    own = [key for key in keys if key.name == checkpoint.origin]
    if not own:
        raise NoteInvalid(f"no key that you trust, and no checkpoint, is of {checkpoint.origin}")
    open_note(raw, own)
    return checkpoint


def parse_segment_text(text: str) -> SegmentNote:
    """A segment note's body. Raises NoteInvalid."""
    lines = text.split("\n")
    if len(lines) != 7 or lines[6] or not all(_NUMBER.fullmatch(n) for n in lines[1:5]):
        raise NoteInvalid("not a segment note")
    origin, suffix, rest = lines[0].rpartition("/segment")
    digest = re.fullmatch(r"sha256:([0-9a-f]{64})", lines[5])
    if not origin or not suffix or rest or digest is None:
        raise NoteInvalid("not a segment note")
    first, last, rev, size_bytes = map(int, lines[1:5])
    return SegmentNote(origin, first, last, rev, size_bytes, digest[1])


def _strict_base64(text: str) -> bytes:
    try:
        return strict_base64(text.encode())
    except ValueError as error:
        raise NoteInvalid(str(error)) from error
