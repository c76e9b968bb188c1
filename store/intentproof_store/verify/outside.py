"""What a verifier brings along, which came another way than the evidence."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import AuthoritiesInvalid, NoteInvalid
from ..identity import read_vkeys
from ..note import Checkpoint, VerifierKey, open_note, read_checkpoint
from ..tokens import Authorities, read_authorities


def outside_keys(path: Path | None) -> tuple[VerifierKey, ...]:
    """The keys of a file, one vkey a line; none without a file. Raises NoteInvalid."""
    if path is None:
        return ()
    if not path.is_file():
        raise NoteInvalid(f"{path}: no such file")
    keys = read_vkeys(path)
    if not keys:
        raise NoteInvalid(f"{path} holds no key")
    return keys


def known_checkpoints(path: Path | None, keys: Sequence[VerifierKey]) -> tuple[Checkpoint, ...]:
    """The checkpoint that the caller holds; if a key of its log is at hand, it must be signed.

    None without a file. Raises NoteInvalid.
    """
    if path is None:
        return ()
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise NoteInvalid(f"{path} cannot be read: {error}") from error
    checkpoint = read_checkpoint(raw)
    if any(key.name == checkpoint.origin for key in keys):
        open_note(raw, keys)
    return (checkpoint,)


def trusted_authorities(path: Path | None) -> Authorities | None:
    """The authorities of a PEM file, None without one. Raises AuthoritiesInvalid."""
    if path is None:
        return None
    try:
        return read_authorities(path.read_bytes())
    except (OSError, AuthoritiesInvalid) as error:
        raise AuthoritiesInvalid(f"{path}: {error}") from error
