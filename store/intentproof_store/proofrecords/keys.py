"""Ed25519 keys and signatures of proof records. Pure."""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ..errors import NoteInvalid
from ..note import VerifierKey
from ..strict import strict_base64
from .errors import CosignNeeded, NotVerified, Unreadable
from .record import Record

_KEY_BYTES, _SIGNATURE_BYTES = 32, 64
_HEX = re.compile(r"[0-9a-fA-F]{64}")
_BASE64, _COSIGN = "base64:", "cosign:"
_NAME = "proof-records"  # a note's key has a name; these have none


@dataclass(frozen=True)
class PublicKey:
    """An Ed25519 public key that the caller trusts."""

    raw: bytes

    @property
    def key_id(self) -> str:
        """Lower-case hex SHA-256 of the 32 bytes."""
        return hashlib.sha256(self.raw).hexdigest()

    def verify(self, message: bytes, encoded: str, what: str) -> None:
        """Raise NotVerified unless `encoded`, in base64, is this key's signature."""
        try:
            signature = strict_base64(encoded.encode())
        except ValueError as error:
            raise NotVerified(f"the signature of {what} is {error}") from error
        if len(signature) != _SIGNATURE_BYTES:
            raise NotVerified(f"the signature of {what} is not {_SIGNATURE_BYTES} bytes")
        try:
            VerifierKey(_NAME, self.raw).verify(message, signature)
        except NoteInvalid as error:
            raise NotVerified(f"the signature of {what} does not hold") from error


def read_public_key(text: str) -> PublicKey:
    """A public key of 64 hex digits, or of padded or unpadded standard base64.

    Raises Unreadable for anything else, PEM and URL-safe base64 too, and for keys of low order.
    """
    text = text.strip()
    raw = bytes.fromhex(text) if _HEX.fullmatch(text) else _from_base64(text)
    if raw is None or len(raw) != _KEY_BYTES:
        raise Unreadable(
            f"{text[:60]!r} is not an Ed25519 key: give 64 hex digits, or base64 of 32 bytes"
        )
    try:
        VerifierKey.parse(VerifierKey(_NAME, raw).vkey())  # looks at the order of the point
    except NoteInvalid as error:
        raise Unreadable(f"the key {text[:60]!r} is of low order or not canonical") from error
    return PublicKey(raw)


def _from_base64(text: str) -> bytes | None:
    for padded in (text, text + "=" * (-len(text) % 4)):
        try:
            return strict_base64(padded.encode())
        except (ValueError, binascii.Error):
            continue
    return None


def check_record_signature(record: Record, key: PublicKey) -> None:
    """Raise NotVerified unless `key` signed the record, whose hash was checked before.

    What is signed is the text of `record_hash`, 71 ASCII bytes. Raises CosignNeeded for a
    signature of another kind.
    """
    if not record.signature or not record.signing_key_id:
        raise NotVerified("the record is not signed: it lacks signature or signing_key_id")
    if record.signature.startswith(_COSIGN):
        raise CosignNeeded("the record")
    if record.signing_key_id != key.key_id:
        raise NotVerified(
            f"signed with the key {record.signing_key_id[:80]!r}, not with {key.key_id}"
        )
    if not record.signature.startswith(_BASE64):
        raise NotVerified(f"the signature of the record does not begin with {_BASE64!r}")
    key.verify(
        record.record_hash.encode("ascii"), record.signature.removeprefix(_BASE64), "the record"
    )


@dataclass(frozen=True)
class SigningKey:
    """An Ed25519 private key that signs what is exported."""

    private: Ed25519PrivateKey

    @property
    def public(self) -> PublicKey:
        """The key to check with."""
        return PublicKey(self.private.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> str:
        """The signature in padded base64."""
        return base64.b64encode(self.private.sign(message)).decode()

    def sign_hash(self, record_hash: str) -> str:
        """A record's signature, as `integrity.signature` holds it."""
        return _BASE64 + self.sign(record_hash.encode("ascii"))


def read_signing_key(pem: bytes, what: str) -> SigningKey:
    """An unencrypted Ed25519 key in PEM (PKCS#8). Raises Unreadable."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Unreadable(f"{what} is not an unencrypted private key in PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Unreadable(f"{what} is not an Ed25519 key")
    return SigningKey(key)
