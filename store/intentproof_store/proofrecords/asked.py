"""What a caller asks of a verification. Pure."""

from dataclasses import dataclass

from .errors import NotVerified, RecordsInvalid, Unreadable
from .keys import PublicKey, read_public_key


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What to check beyond hashes and schemas.

    `head` is a record hash that the caller holds from elsewhere: the chain must end with it.
    `revoked` are ids of keys of which nothing is taken.
    """

    signatures: bool = False
    public_key: str | None = None
    strict: bool = False
    head: str | None = None
    revoked: frozenset[str] = frozenset()

    def key(self, otherwise: type[RecordsInvalid] = Unreadable) -> PublicKey:
        """The key to check signatures with. Raises `otherwise` where there is none to read."""
        if self.public_key is None:
            raise otherwise("--signatures needs --public-key, 64 hex digits or base64")
        try:
            return read_public_key(self.public_key)
        except Unreadable as error:
            raise otherwise(str(error)) from error

    def check_not_revoked(self, key_id: str, what: str) -> None:
        """Raise NotVerified where the key that is named was revoked."""
        if key_id.strip() in self.revoked:
            raise NotVerified(f"{what} names the revoked key {key_id[:80]!r}")


@dataclass(frozen=True)
class Verified:
    """What was verified: the JSON and the words that tell it, and what it does not show."""

    document: dict[str, object]
    words: str
    remarks: tuple[str, ...] = ()
