"""Cosignatures of witnesses (C2SP tlog-cosignature): made with Ed25519, verified with it or ML-DSA.

A cosignature says: at this time, this was the largest consistent tree of the log that I had seen.
Pure. ML-DSA-44 is verified where the installed `cryptography` has it, and never taken on trust.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519

from .errors import NoteInvalid
from .note import Note, check_point, parse_checkpoint_text, split_vkey

try:  # cryptography 47 and later
    from cryptography.hazmat.primitives.asymmetric import mldsa
except ImportError:
    _ML_DSA: Callable[[bytes, bytes, bytes], None] | None = None
else:

    def _verify_ml_dsa(key: bytes, signature: bytes, message: bytes) -> None:
        mldsa.MLDSA44PublicKey.from_public_bytes(key).verify(signature, message)

    _ML_DSA = _verify_ml_dsa

ED25519, ML_DSA_44 = 0x04, 0x06
_KEY_BYTES = {ED25519: 32, ML_DSA_44: 1312}
_SIGNATURE_BYTES = {ED25519: 64, ML_DSA_44: 2420}
_ALGORITHMS = {ED25519: "Ed25519", ML_DSA_44: "ML-DSA-44"}
_TIME_BYTES = 8
_TIME_MAX = 2**63 - 1
_LABEL = b"subtree/v1\n\0"
_PREFIX = "\u2014 "


@dataclass(frozen=True)
class WitnessKey:
    """A witness's public key under its name. `algorithm` is the byte in its vkey."""

    name: str
    key: bytes
    algorithm: int = ED25519

    @property
    def key_id(self) -> bytes:
        """First four bytes of SHA-256(name ‖ 0x0A ‖ algorithm ‖ key)."""
        material = self.name.encode() + b"\n" + bytes([self.algorithm]) + self.key
        return hashlib.sha256(material).digest()[:4]

    @property
    def is_supported(self) -> bool:
        """Whether its cosignatures can be verified here."""
        return self.algorithm == ED25519 or _ML_DSA is not None

    @property
    def algorithm_name(self) -> str:
        """The algorithm as people write it."""
        return _ALGORITHMS[self.algorithm]

    def vkey(self) -> str:
        """The key as one line of text."""
        encoded = base64.b64encode(bytes([self.algorithm]) + self.key).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @classmethod
    def parse(cls, vkey: str) -> "WitnessKey":
        """Read a vkey. Raises NoteInvalid unless it is a sound key for cosignatures."""
        name, key_id, raw = split_vkey(vkey)
        algorithm, key = raw[0], raw[1:]
        if len(key) != _KEY_BYTES.get(algorithm):
            raise NoteInvalid(
                f"not a key for cosignatures: {vkey[:200]!r}; a witness's is of type 0x04 "
                "(Ed25519) or 0x06 (ML-DSA-44)"
            )
        found = cls(name, key, algorithm)
        if found.key_id.hex() != key_id:
            raise NoteInvalid(f"the key id of {name} does not belong to its key")
        if algorithm == ED25519:
            check_point(key, name)
        return found

    def verify(self, text: str, signature: bytes) -> int:
        """When the witness cosigned a checkpoint's text, in Unix seconds. Raises NoteInvalid.

        `signature` is what follows the key id in the signature line: the time, then the signature.
        """
        if len(signature) != _TIME_BYTES + _SIGNATURE_BYTES[self.algorithm]:
            raise NoteInvalid(f"a cosignature of {self.name} has a wrong length")
        time_s = int.from_bytes(signature[:_TIME_BYTES], "big")
        if time_s > _TIME_MAX:
            raise NoteInvalid(f"a cosignature of {self.name} has a time beyond 2^63 - 1")
        try:
            if self.algorithm == ED25519:
                key = ed25519.Ed25519PublicKey.from_public_bytes(self.key)
                key.verify(signature[_TIME_BYTES:], _message(text, time_s))
            else:
                self._verify_ml_dsa(text, time_s, signature[_TIME_BYTES:])
        except (InvalidSignature, ValueError, UnsupportedAlgorithm) as error:
            raise NoteInvalid(f"a cosignature of {self.name} does not hold") from error
        return time_s

    def _verify_ml_dsa(self, text: str, time_s: int, signature: bytes) -> None:
        if _ML_DSA is None:
            raise NoteInvalid(f"{self.name}: this cryptography library does not verify ML-DSA-44")
        checkpoint = parse_checkpoint_text(text)
        message = b"".join(
            (
                _LABEL,
                _short(self.name),
                time_s.to_bytes(8, "big"),
                _short(checkpoint.origin),
                (0).to_bytes(8, "big"),
                checkpoint.size.to_bytes(8, "big"),
                checkpoint.root,
            )
        )
        _ML_DSA(self.key, signature, message)


def _short(text: str) -> bytes:
    """An opaque of up to 255 bytes (RFC 8446 section 3.4)."""
    raw = text.encode()
    if not 0 < len(raw) < 256:
        raise NoteInvalid("a name of more than 255 bytes cannot be cosigned with ML-DSA-44")
    return bytes([len(raw)]) + raw


def _message(text: str, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def cosign(text: str, *, name: str, key: ed25519.Ed25519PrivateKey, time_s: int) -> bytes:
    """The signature line of a witness over a checkpoint's text, at a time in Unix seconds."""
    witness = WitnessKey(name, key.public_key().public_bytes_raw())
    signed = key.sign(_message(text, time_s))
    raw = witness.key_id + time_s.to_bytes(_TIME_BYTES, "big") + signed
    return f"{_PREFIX}{name} {base64.b64encode(raw).decode()}\n".encode()


def signature_line(name: str, key_id: bytes, signature: bytes) -> bytes:
    """A signature as the line of a note that it was read from."""
    return f"{_PREFIX}{name} {base64.b64encode(key_id + signature).decode()}\n".encode()


def cosigned_at(note: Note, witnesses: Sequence[WitnessKey]) -> dict[WitnessKey, int]:
    """Which of these witnesses cosigned a note, and when at the earliest, in Unix seconds.

    Signatures of others are ignored. One under the name and key id of a witness that does not hold
    makes the whole note invalid (C2SP signed-note): raises NoteInvalid. A key that cannot be
    verified here is passed over.
    """
    known = {(key.name, key.key_id): key for key in witnesses if key.is_supported}
    found: dict[WitnessKey, int] = {}
    for line in note.signatures:
        key = known.get((line.name, line.key_id))
        if key is not None:
            time_s = key.verify(note.text, line.signature)
            found[key] = min(time_s, found.get(key, time_s))
    return found
