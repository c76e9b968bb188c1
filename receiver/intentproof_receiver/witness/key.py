"""The witness's own key and name: made once, in its --home."""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from intentproof_store import NoteInvalid, WitnessKey, cosign, create_file

from ..errors import Unsafe, Unusable
from .state import WitnessState

KEY_FILE, NAME_FILE, STATE_FILE = "witness.key", "witness.name", "witness.sqlite"
_OWNER_ONLY = 0o600


@dataclass(frozen=True)
class Cosigner:
    """Who cosigns: a name, and the key that belongs to it alone."""

    name: str
    key: Ed25519PrivateKey

    @property
    def witness_key(self) -> WitnessKey:
        """The public key under the witness's name."""
        return WitnessKey(self.name, self.key.public_key().public_bytes_raw())

    def cosign(self, text: str, time_s: int) -> bytes:
        """A signature line over a checkpoint's text."""
        return cosign(text, name=self.name, key=self.key, time_s=time_s)


def load_cosigner(home: Path, name: str | None) -> Cosigner:
    """The witness of `home`; made under `name` where there is none. Blocks on the disk.

    Raises Unusable for a name or file that is none. Raises Unsafe where its memory is gone, and for
    another name than the home's: the signed message does not hold the name, so one key must not
    cosign under two (tlog-cosignature).
    """
    if (home / "signing.key").exists():
        raise Unusable(f"--home {home} is a receiver's: a witness is somebody else, elsewhere")
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if name is not None and not (home / NAME_FILE).exists():
            _check_name(name)
            _make(home, name)
        found = _read_name(home, name)
        key = load_pem_private_key((home / KEY_FILE).read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise Unusable(f"--home {home}: the witness's key cannot be read: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Unusable(f"{home / KEY_FILE}: not an Ed25519 key")
    return Cosigner(found, key)


def _make(home: Path, name: str) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    create_file(home / KEY_FILE, pem, mode=_OWNER_ONLY)
    WitnessState(home / STATE_FILE).close()
    # Last: from here on the key is never used without the memory that was made with it.
    create_file(home / NAME_FILE, f"{name}\n".encode(), mode=_OWNER_ONLY)


def _read_name(home: Path, name: str | None) -> str:
    try:
        found = (home / NAME_FILE).read_text("utf-8").removesuffix("\n")
    except FileNotFoundError as error:
        raise Unusable(f"--home {home}: no witness is here yet: give --name NAME") from error
    if not (home / STATE_FILE).exists():
        raise Unsafe(
            f"{home / STATE_FILE} is gone: without it the witness {found!r} could cosign a second "
            "history. Bring that very file back, or begin anew with another --home and --name"
        )
    if name not in (None, found):
        raise Unsafe(
            f"--name {name}: the key of {home} belongs to the witness {found!r}; one key must not "
            "cosign under two names: use that name, or another --home"
        )
    return found


def _check_name(name: str) -> None:
    try:
        WitnessKey.parse(WitnessKey(name, bytes(range(32))).vkey())
    except (NoteInvalid, UnicodeEncodeError) as error:
        raise Unusable(
            f"--name {name!r}: a name has no spaces and no '+', such as witness.example/1"
        ) from error
    if any(ord(c) < 0x20 or ord(c) == 0x7F for c in name):
        raise Unusable(f"--name {name!r}: has a control character")
