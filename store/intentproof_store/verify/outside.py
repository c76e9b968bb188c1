"""What a verifier brings along, which came another way than the evidence."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import AuthoritiesInvalid, HomeInvalid, NoteInvalid, PolicyInvalid
from ..identity import read_vkeys
from ..note import Checkpoint, VerifierKey, open_note, read_checkpoint
from ..policy import POLICY_BYTES_MAX, Policy, parse_policy
from ..tokens import Authorities, read_authorities


def outside_keys(path: Path | None) -> tuple[VerifierKey, ...]:
    """The keys of a file, one vkey a line; none without a file. Raises NoteInvalid."""
    if path is None:
        return ()
    if not path.exists():
        raise NoteInvalid(f"{path}: no such file")
    try:
        keys = read_vkeys(path)
    except HomeInvalid as error:
        raise NoteInvalid(str(error)) from error
    if not keys:
        raise NoteInvalid(f"{path} holds no key")
    return keys


def outside_policy(path: Path | None) -> Policy | None:
    """The trust policy of a file, None without one. Raises PolicyInvalid."""
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            raw = file.read(POLICY_BYTES_MAX + 1)
    except OSError as error:
        raise PolicyInvalid(0, f"{path} cannot be read: {error.strerror}") from error
    return parse_policy(raw)


def policy_keys(policy: Policy, keys: Sequence[VerifierKey]) -> tuple[VerifierKey, ...]:
    """The logs that count: the policy's, and those of `--key` beside it. Raises PolicyInvalid."""
    found = tuple(dict.fromkeys((*policy.logs, *keys)))
    if not found:
        unsupported = ", ".join(policy.unsupported_logs)
        also = f" that can be verified here ({unsupported})" if unsupported else ""
        raise PolicyInvalid(0, f"it names no log{also}: give the log's key with --key beside it")
    return found


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
