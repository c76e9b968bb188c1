"""Time stamps of a receiver's logs: which checkpoints wait for one, and keeping what came.

The files of one stamp, and what a crash after each leaves behind:

1. `anchor.<size>.<hex>.tsr` is put in place    a token that nothing leads to: no reader looks at it
2. `anchor.<size>.<hex>` is put in place        this log has its stamp, others perhaps not yet
3. `--home` remembers what is stamped           until then all of it is stamped again

A token is checked before the first byte of it is kept.
"""

import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .anchors import ANCHOR_SALT_BYTES, Anchored, anchor_name, anchor_origin, make_anchor
from .durable import create_file, write_file
from .errors import HomeInvalid, NoteInvalid
from .files import read_regular
from .identity import Identity, last_checkpoints, load_identity, trusted_keys
from .layout import Layout, token_name
from .note import Checkpoint, VerifierKey, open_checkpoint
from .tokens import Authorities, TokenRequest, check_token, request_token, verify_token

_MEMORY = "last-stamp"
_UNIQUE_BYTES = 8


@dataclass(frozen=True)
class LastStamp:
    """What `--home` remembers: when it last kept a stamp, Unix seconds, and each log's size."""

    seconds: int = 0
    sizes: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Unstamped:
    """Checkpoints that wait for a stamp, under one anchor, and the question for its token."""

    request: TokenRequest
    logs: tuple[tuple[Checkpoint, Anchored], ...]


@dataclass(frozen=True)
class Kept:
    """A stamp that is durable in the folders of so many logs; they existed before `seconds`."""

    seconds: int
    logs: int


def last_stamp(home: Path) -> LastStamp:
    """What this home last stamped, nothing where it never did. Raises HomeInvalid."""
    path = home / _MEMORY
    try:
        found = json.loads(path.read_text("utf-8"))
        sizes = tuple(sorted((str(name), int(size)) for name, size in found["sizes"].items()))
        return LastStamp(int(found["seconds"]), sizes)
    except FileNotFoundError:
        return LastStamp()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise HomeInvalid(f"{path} cannot be read, and may be deleted: {error}") from error


class Stamping:
    """Stamps the logs that one home signs. Not thread-safe; blocks on the disk, asks no network."""

    def __init__(
        self, *, store: Path, home: Path, log_name: str, authorities: Authorities | None
    ) -> None:
        self._layout = Layout(store)
        self._home = home
        self._log_name = log_name
        self._authorities = authorities

    def unstamped(self) -> Unstamped | None:
        """The newest checkpoint of each log that has none stamped; None where nothing is new.

        To be called again for each try, so that a stamp is never of a checkpoint much older than
        itself. Raises HomeInvalid; a log whose checkpoint cannot be read waits.
        """
        stamped = dict(last_stamp(self._home).sizes)
        found = list(self._newest(stamped))
        if not found:
            return None
        identity = load_identity(self._home, self._log_name)
        anchored = make_anchor(
            [raw for _, raw in found],
            [secrets.token_bytes(ANCHOR_SALT_BYTES) for _ in found],
            origin=_origin(identity),
            key=identity.signing_key,
        )
        checkpoints = [checkpoint for checkpoint, _ in found]
        logs = tuple(zip(checkpoints, anchored, strict=True))
        return Unstamped(request_token(anchored[0].anchor), logs)

    def keep(
        self, wanted: Unstamped, token: bytes, *, between: Callable[[], object] = lambda: None
    ) -> Kept:
        """Check the answer of an authority, then keep it, durably, with each log.

        `between` is called after each log, for one who wants the disk meanwhile. Raises
        StampInvalid for a token that does not hold; nothing of it is then kept.
        """
        request = wanted.request
        if self._authorities is None:
            seconds = check_token(token, digest=request.digest, nonce=request.nonce)
        else:
            seconds = verify_token(
                token, digest=request.digest, nonce=request.nonce, authorities=self._authorities
            )
        for checkpoint, anchored in wanted.logs:
            _, tenant, writer = checkpoint.origin.rsplit("/", 2)
            path = self._layout.log(tenant, writer) / anchor_name(checkpoint.size, token)
            create_file(path.with_name(token_name(path.name)), token)  # (1)
            create_file(path, anchored.encode())  # (2)
            between()
        self._remember(wanted, seconds)  # (3)
        return Kept(seconds, len(wanted.logs))

    def _newest(self, stamped: Mapping[str, int]) -> Iterator[tuple[Checkpoint, bytes]]:
        """The newest checkpoint in the store of each log that this home signed since its stamp.

        Read from one small file a log: a folder has a file for each checkpoint that ever was.
        """
        keys = trusted_keys(self._home)
        for origin, signed in sorted(last_checkpoints(self._home).items()):
            if signed.size > stamped.get(origin, 0):
                found = self._read(origin, keys)
                if found is not None and found[0].size > stamped.get(origin, 0):
                    yield found

    def _read(self, origin: str, keys: Sequence[VerifierKey]) -> tuple[Checkpoint, bytes] | None:
        _, tenant, writer = origin.rsplit("/", 2)
        try:
            raw = read_regular(self._layout.log(tenant, writer) / "checkpoint")
            checkpoint = open_checkpoint(raw, keys=keys)
        except (NoteInvalid, OSError):
            return None  # such as a log that a restored store does not have; `verify` tells of it
        return (checkpoint, raw) if checkpoint.origin == origin else None

    def _remember(self, wanted: Unstamped, seconds: int) -> None:
        sizes = dict(last_stamp(self._home).sizes)
        sizes |= {checkpoint.origin: checkpoint.size for checkpoint, _ in wanted.logs}
        memory = json.dumps({"seconds": seconds, "sizes": sizes}, ensure_ascii=False)
        write_file(self._home / _MEMORY, memory.encode(), mode=0o600)


def _origin(identity: Identity) -> str:
    return anchor_origin(identity.log_name, identity.writer, secrets.token_bytes(_UNIQUE_BYTES))
