"""A writer's identity and memory: the files of `--home` that belong to the store.

Evidence is copied and shared, these never are: whoever holds them can sign as this writer.
"""

import json
import re
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from intentproof_schemas import WRITER

from .durable import create_file, write_file
from .errors import HomeInvalid, NoteInvalid
from .note import Checkpoint, VerifierKey, read_checkpoint, sign_note

_HOT_KEY_BYTES = 32
NEXT_KEY = "signing.key.next"  # there while the key is being rotated


@dataclass(frozen=True)
class Identity:
    """Who writes: its id, who wrote before it, the key that signs, the key of hot frames."""

    home: Path
    log_name: str
    writer: str
    former_writer: str | None
    signing_key: Ed25519PrivateKey
    hot_key: bytes
    next_key: Ed25519PrivateKey | None = None
    earlier: Mapping[str, Sequence[VerifierKey]] = field(default_factory=dict)  # by log's name

    def origin(self, tenant: str) -> str:
        """The name of this writer's log of a tenant, and of the key that signs it."""
        return f"{self.log_name}/{tenant}/{self.writer}"

    def verifier_key(self, tenant: str) -> VerifierKey:
        """The public key under the log's name."""
        return VerifierKey(self.origin(tenant), self.signing_key.public_key().public_bytes_raw())

    def next_verifier_key(self, tenant: str) -> VerifierKey | None:
        """The public key that is to follow, while keys are being rotated."""
        if self.next_key is None:
            return None
        return VerifierKey(self.origin(tenant), self.next_key.public_key().public_bytes_raw())

    def verifier_keys(self, tenant: str) -> list[VerifierKey]:
        """Every key that signed this log: the present one, and those before it."""
        earlier = self.earlier.get(self.origin(tenant), ())
        return list(dict.fromkeys((self.verifier_key(tenant), *earlier)))

    def sign(self, text: str, tenant: str) -> bytes:
        """A note over `text` by this writer's key, and while keys are rotated by the next, too."""
        raw = sign_note(text, name=self.origin(tenant), key=self.signing_key)
        if self.next_key is None:
            return raw
        also = sign_note(text, name=self.origin(tenant), key=self.next_key)
        return raw + also.removeprefix(f"{text}\n".encode())


def load_identity(home: Path, log_name: str, *, new_writer: bool = False) -> Identity:
    """Read the identity of `home`, or make one where there is none; `new_writer` makes a new id.

    Files are made 0600. Raises HomeInvalid for what cannot be read. Blocks on the disk.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    writer = read_writer(home)
    if new_writer:  # its logs have one key from their first leaf on
        (home / NEXT_KEY).unlink(missing_ok=True)
    if new_writer or writer is None:
        if writer is not None:
            write_file(home / "former-writer", f"{writer}\n".encode(), mode=0o600)
        writer = _new_writer_id()
        write_file(home / "writer", f"{writer}\n".encode(), mode=0o600)
    if not (home / "signing.key").exists():
        create_file(home / "signing.key", new_key_pem(), mode=0o600)
    if not (home / "hot.key").exists():
        create_file(home / "hot.key", secrets.token_bytes(_HOT_KEY_BYTES), mode=0o600)
    hot_key = read_hot_key(home)
    if hot_key is None:
        raise HomeInvalid(f"{home / 'hot.key'} cannot be read")
    former = _read_writer(home / "former-writer")
    next_key = _read_signing_key(home / NEXT_KEY) if (home / NEXT_KEY).exists() else None
    signing_key = _read_signing_key(home / "signing.key")
    earlier: dict[str, list[VerifierKey]] = {}
    for key in trusted_keys(home):  # once: a home may have thousands of logs
        earlier.setdefault(key.name, []).append(key)
    return Identity(home, log_name, writer, former, signing_key, hot_key, next_key, earlier)


def new_key_pem() -> bytes:
    """A new Ed25519 key, PKCS#8 PEM."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def read_writer(home: Path) -> str | None:
    """The writer whose home this is, None where it has none yet. Raises HomeInvalid."""
    return _read_writer(home / "writer")


def _read_writer(path: Path) -> str | None:
    """The writer id in a file, None where there is no such file. Raises HomeInvalid."""
    try:
        writer = path.read_text("ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise HomeInvalid(f"{path} cannot be read: {error}") from error
    if not WRITER.fullmatch(writer):
        raise HomeInvalid(f"{path}: {writer!r} is not a writer id")
    return writer


def _new_writer_id() -> str:
    host = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().lower()).strip("-")[:40]
    return f"{host if host[:1].isalpha() else 'w'}-{secrets.token_hex(4)}"


def _read_signing_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise HomeInvalid(f"{path} is not a PKCS#8 PEM key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise HomeInvalid(f"{path} is not an Ed25519 key")
    return key


def read_hot_key(home: Path) -> bytes | None:
    """The key of hot frames, or None where it is not at hand. Raises HomeInvalid if damaged."""
    path = home / "hot.key"
    try:
        key = path.read_bytes()
    except OSError:
        return None
    if len(key) != _HOT_KEY_BYTES:
        raise HomeInvalid(f"{path} is not {_HOT_KEY_BYTES} bytes")
    return key


def trusted_keys(home: Path) -> tuple[VerifierKey, ...]:
    """The keys of `trusted.vkeys`; none where the file is absent. Raises HomeInvalid."""
    return read_vkeys(home / "trusted.vkeys")


def read_vkeys(path: Path) -> tuple[VerifierKey, ...]:
    """The vkeys of a file, one a line; blank lines and `#` comments are passed over."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise HomeInvalid(f"{path} cannot be read: {error}") from error
    try:
        return tuple(
            VerifierKey.parse(line.strip())
            for line in lines
            if line.strip() and not line.startswith("#")
        )
    except NoteInvalid as error:
        raise HomeInvalid(f"{path}: {error}") from error


def trust(home: Path, key: VerifierKey) -> None:
    """Add a key to `trusted.vkeys` unless it is there. Blocks on the disk."""
    known = trusted_keys(home)
    if key not in known:
        lines = "".join(f"{each.vkey()}\n" for each in (*known, key))
        write_file(home / "trusted.vkeys", lines.encode(), mode=0o600)


def last_checkpoints(home: Path) -> dict[str, Checkpoint]:
    """What this home last signed, by origin: its memory against restored stores."""
    path = home / "last-checkpoint"
    try:
        notes = json.loads(path.read_text("utf-8"))
        found = (read_checkpoint(n.encode()) for n in notes)
        return {checkpoint.origin: checkpoint for checkpoint in found}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise HomeInvalid(f"{path} cannot be read: {error}") from error


def remember_checkpoints(home: Path, notes: dict[str, bytes]) -> None:
    """Replace `last-checkpoint` by these signed notes, by origin. Blocks on the disk."""
    lines = json.dumps([notes[origin].decode() for origin in sorted(notes)], ensure_ascii=False)
    write_file(home / "last-checkpoint", lines.encode(), mode=0o600)


def log_name_of(home: Path) -> str | None:
    """The name under which this home's writer signs; None where it has no log yet."""
    writer = read_writer(home)
    parts = (key.name.rsplit("/", 2) for key in trusted_keys(home))
    return next((name for name, _, of in parts if of == writer), None)


def remember_stop(home: Path, now_ns: int) -> None:
    """Note that this writer stops of its own will, and when. Blocks on the disk."""
    write_file(home / "stopped", f"{now_ns}\n".encode(), mode=0o600)


def take_stop(home: Path) -> int | None:
    """When this writer stopped, None where it did not by itself; asked once. Raises HomeInvalid."""
    path = home / "stopped"
    try:
        stopped_ns = int(path.read_text("ascii"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise HomeInvalid(f"{path} cannot be read, delete it: {error}") from error
    path.unlink()
    return stopped_ns
