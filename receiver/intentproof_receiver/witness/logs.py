"""The logs that a witness knows: vkeys in files, read again when they change."""

import logging
from collections.abc import Sequence
from pathlib import Path

from intentproof_store import HomeInvalid, VerifierKey, read_vkeys

from ..errors import Unusable
from ..homefile import Watched
from ..logs import log

_log = logging.getLogger(__name__)


class KnownLogs:
    """The keys of all files. Thread-safe.

    A file that cannot be used never takes away what is known: the last good content stays, and the
    log tells. Raises Unusable at construction only.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files = [(path, Watched(path, _read)) for path in paths]
        self._good: dict[Path, tuple[VerifierKey, ...]] = {}
        self._told: dict[Path, str] = {}
        for path, file in self._files:
            self._good[path] = file.content()

    def keys(self) -> tuple[VerifierKey, ...]:
        """The keys as the files said a second ago at most."""
        return tuple(key for path, file in self._files for key in self._of(path, file))

    def _of(self, path: Path, file: "Watched[tuple[VerifierKey, ...]]") -> tuple[VerifierKey, ...]:
        try:
            self._good[path] = file.content()
        except Unusable as error:
            if self._told.get(path) != str(error):
                log(_log, logging.ERROR, "log_keys_not_renewed", reason=str(error))
            self._told[path] = str(error)
        else:
            self._told.pop(path, None)
        return self._good[path]


def _read(path: Path) -> tuple[VerifierKey, ...]:
    if not path.is_file():
        raise Unusable(f"--log {path}: no such file")
    try:
        keys = read_vkeys(path)
    except HomeInvalid as error:
        raise Unusable(f"--log {error}") from error
    if not keys:
        raise Unusable(f"--log {path}: holds no vkey; `intentproof-otel log key` prints them")
    return keys
