"""Making a bundle of a store. Blocks on the disk; the store is read, never written."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from ..checkpoints import checkpoint_sizes
from ..errors import BundleInvalid, BundleRefused, NotSigned, ProofInvalid
from ..export import Export, put
from ..identity import trusted_keys
from ..layout import Layout
from ..lookups import Told
from ..note import VerifierKey, parse_note
from ..proving import Places, extension_of, leaf_rows, receipt_of_row
from ..receipt import Receipt
from ..tilenodes import TileNodes
from .archive import archive, pack
from .content import Content
from .files import bundle_files
from .head import EVENTS_MAX, Head
from .proof import prove

_PLAIN = ".tar"
_COSIGNATURE = re.compile(r"checkpoint\.[0-9]+\.[0-9a-f]{8}")
_STAMP = re.compile(r"(anchor\.[0-9]+\.[0-9a-f]{16})(?:\.tsr)?")
Row = dict[str, Any]


def write_bundle(export: Export) -> None:
    """Write a bundle: a `.tar.zst`, or an archive that is not compressed where asked for a `.tar`.

    It was proved before it is written. Raises NotSigned where an event stands under no checkpoint
    yet, BundleRefused for what cannot be made, ProofInvalid where the store does not prove what it
    holds, which `verify` explains; OSError.
    """
    content = _content(export)
    try:
        pieces = archive(bundle_files(prove(content)))
        put(export.output, pieces if export.output.suffix == _PLAIN else pack(pieces))
    except BundleInvalid as error:
        if error.code == "archive_too_large":
            raise BundleRefused(str(error)) from error
        where = f" ({error.file})" if error.file else ""
        raise ProofInvalid(
            f"the store does not prove these events: {error}{where}; "
            "`intentproof-otel verify` says more"
        ) from error


def _content(export: Export) -> Content:
    told = sorted(islice(export.told, EVENTS_MAX + 1), key=_order)
    if len(told) > EVENTS_MAX:
        raise BundleRefused(f"over {EVENTS_MAX} events: ask for a shorter period")
    layout = Layout(export.places.store)
    folders = {writer: _LogFolder(layout.log(export.tenant, writer)) for writer in _writers(told)}
    rows = _rows(export, told)
    events = [_receipt(row, folders[row["writer"]]) for row in rows]
    if export.without_payload:
        events = [replace(receipt, payload=None) for receipt in events]
    logs = {
        writer: dict(folder.files(export.places, export.tenant))
        for writer, folder in folders.items()
    }
    head = Head(
        tenant=export.tenant,
        asked_by=export.asked_by,
        asked=export.asked,
        without_payload=export.without_payload,
        disputed=tuple(place for place, each in enumerate(told) if each.is_event and each.disputed),
        events=len(events),
    )
    return Content(head, tuple(events), logs, _keys(export.places, logs))


def _order(told: Told) -> tuple[int, str, int]:
    return told.event.started_ns, told.writer, told.log_index


def _writers(told: Iterable[Told]) -> list[str]:
    return sorted({each.writer for each in told})


def _rows(export: Export, told: Sequence[Told]) -> Iterator[Row]:
    """The leaves of what was told, in its order."""
    ids = sorted({each.event.event_id for each in told})
    found = {
        (row["writer"], row["log_index"]): row
        for row in leaf_rows(export.reader, export.tenant, ids)
    }
    for each in told:
        row = found.get((each.writer, each.log_index))
        if row is None:
            raise BundleRefused("the store changed while it was read: try again")
        yield row


class _LogFolder:
    """One log: which of its checkpoints the bundle takes, and what proves an event under it.

    That is the newest one that somebody outside cosigned or time-stamped, for what it covers, and
    the newest of all for what came later.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sizes = checkpoint_sizes(folder)
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        self._beside = {size: _beside(names, size) for size in self._sizes}
        self._vouched = max((size for size in self._sizes if self._beside[size]), default=0)
        self._used: dict[int, TileNodes] = {}

    def nodes(self, row: Row) -> tuple[TileNodes, int]:
        """The tree under which to prove a row, and its size. Raises NotSigned."""
        newest = max(self._sizes, default=0)
        size = self._vouched if row["log_index"] < self._vouched else newest
        if size <= row["log_index"]:
            raise NotSigned(row["event_id"])
        return self._used.setdefault(size, TileNodes(self._folder, size)), size

    def note(self, size: int) -> bytes:
        """A checkpoint, with the lines of the cosignatures that are kept beside it."""
        lines = {_line(self._folder / name) for name in self._beside[size] if _is_line(name)}
        raw = (self._folder / f"checkpoint.{size}").read_bytes()
        return raw + b"".join(sorted(line for line in lines if line not in raw))

    def files(self, places: Places, tenant: str) -> Iterator[tuple[str, bytes]]:
        """The log's files in a bundle. Asked for when every event has its proof."""
        for size in self._used:
            yield f"checkpoint.{size}", self.note(size)
            for name in self._beside[size]:
                if not _is_line(name):
                    yield name, (self._folder / name).read_bytes()
        for old, new in pairwise(sorted(self._used)):
            growth = extension_of(places, tenant, self._folder.name, old_size=old, size=new)
            yield f"growth.{old}-{new}", replace(growth, checkpoint=self.note(new)).encode()


def _beside(names: Collection[str], size: int) -> list[str]:
    """What is kept beside a checkpoint: cosignatures, and time stamps with what leads to them."""
    of_size = [name for name in names if name.split(".")[1:2] == [str(size)]]
    stamps = [(name, found[1]) for name in of_size if (found := _STAMP.fullmatch(name))]
    whole = [name for name, stem in stamps if stem in names and f"{stem}.tsr" in names]
    return [name for name in of_size if _is_line(name)] + whole


def _is_line(name: str) -> bool:
    """Whether a file is the line of a cosignature (contract §4)."""
    return _COSIGNATURE.fullmatch(name) is not None


def _line(path: Path) -> bytes:
    raw = path.read_bytes()
    return raw if raw.endswith(b"\n") else raw + b"\n"


def _receipt(row: Row, folder: _LogFolder) -> Receipt:
    nodes, size = folder.nodes(row)
    return receipt_of_row(row, nodes, size=size, checkpoint=folder.note(size))


def _keys(places: Places, logs: Mapping[str, Mapping[str, bytes]]) -> tuple[VerifierKey, ...]:
    """The public keys that signed the checkpoints, of those that `--home` trusts."""
    trusted = () if places.home is None else trusted_keys(places.home)
    signed: set[tuple[str, bytes]] = set()
    for writer, files in logs.items():
        names = {
            (line.name, line.key_id)
            for name, raw in files.items()
            if name.startswith("checkpoint.")
            for line in parse_note(raw).signatures
        }
        if not names & {(key.name, key.key_id) for key in trusted}:
            raise BundleRefused(
                f"no public key of the log {writer} is in trusted.vkeys of --home: a bundle "
                "carries the keys that its checkpoints are checked with; add the line that "
                "`intentproof-otel log key` prints where that log is written"
            )
        signed |= names
    return tuple(key for key in trusted if (key.name, key.key_id) in signed)
