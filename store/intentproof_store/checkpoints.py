"""Checkpoints of one log: signing them, once and for ever, and reading them back."""

import threading
from pathlib import Path

from .durable import create_file, write_file
from .errors import NoteInvalid, StoreError
from .identity import Identity, remember_checkpoints
from .layout import Layout, parse_checkpoint
from .note import Checkpoint, open_note, parse_checkpoint_text, read_checkpoint


def checkpoint_sizes(folder: Path) -> list[int]:
    """The sizes of which the log's folder has a checkpoint, ascending."""
    names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    return sorted(size for name in names if (size := parse_checkpoint(name)) is not None)


class Signer:
    """Signs checkpoints of a writer's logs, and remembers the last of each in `--home`.

    Two threads may sign for different tenants; one tenant's are signed by one thread at a time.
    """

    def __init__(self, layout: Layout, identity: Identity, last: dict[str, bytes]) -> None:
        self._layout = layout
        self._identity = identity
        self._last = last
        self._lock = threading.Lock()

    def sign(self, tenant: str, size: int, root: bytes) -> bytes:
        """Sign the root of the first `size` leaves, all durable; the signed note. Blocks.

        A size that has a checkpoint is never signed again: another root for it is a StoreError,
        because two such notes would be the proof of a fork.
        """
        origin = self._identity.origin(tenant)
        checkpoint = Checkpoint(origin, size, root)
        folder = self._layout.log(tenant, self._identity.writer)
        raw = self._identity.sign(checkpoint.text(), tenant)
        path = folder / f"checkpoint.{size}"
        if not create_file(path, raw):
            raw = path.read_bytes()
            try:
                text = open_note(raw, self._identity.verifier_keys(tenant))[0].text
            except NoteInvalid as error:
                raise StoreError(f"{path} is not ours: {error}") from error
            if parse_checkpoint_text(text) != checkpoint:
                raise StoreError(f"{path} has another root: refusing to sign a second one")
        with self._lock:
            if size >= self._last_size(origin):
                write_file(folder / "checkpoint", raw)
                self._last[origin] = raw
                remember_checkpoints(self._identity.home, self._last)
        return raw

    def _last_size(self, origin: str) -> int:
        raw = self._last.get(origin)
        return -1 if raw is None else read_checkpoint(raw).size
