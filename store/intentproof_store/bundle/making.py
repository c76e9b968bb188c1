"""Making a bundle of a store. Blocks on the disk; the store is read, never written."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, islice, pairwise
from pathlib import Path
from typing import Any

from ..anchors import anchor_name, decode_anchored, verify_anchored
from ..checkpoints import checkpoint_sizes
from ..cosigned import cosignature_files, cosigned_note
from ..errors import BundleInvalid, BundleRefused, NotSigned, ProofInvalid, StampInvalid
from ..export import Export, put
from ..files import read_regular
from ..identity import trusted_keys
from ..layout import Layout, parse_anchor, token_name
from ..lookups import Told
from ..note import VerifierKey, parse_note
from ..proving import Places, extension_of, leaf_rows, receipt_of_row
from ..receipt import Receipt
from ..tilenodes import TileNodes
from ..tokens import check_token
from .archive import archive, pack
from .content import Content
from .files import bundle_files
from .head import EVENTS_MAX, Head
from .proof import prove

_PLAIN = ".tar"
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
    events = [folders[row["writer"]].receipt(row) for row in rows]
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

    That is, of those that cover the event, the one that most witnesses cosigned; of equals one
    with a time stamp, and of these the newest.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sizes = checkpoint_sizes(folder)
        cosignatures = cosignature_files(folder)
        self._stamps = _stamps(folder)
        ranks = (
            (len(cosignatures.get(size, ())), size in self._stamps, size)
            for size in reversed(self._sizes)
        )
        # The nth is the best of the nth checkpoint and all newer ones.
        self._best = [size for _, _, size in accumulate(ranks, max)][::-1]
        self._used: dict[int, tuple[TileNodes, bytes]] = {}

    def receipt(self, row: Row) -> Receipt:
        """The receipt of a row. Raises NotSigned, ProofInvalid."""
        at = bisect_right(self._sizes, row["log_index"])
        if at == len(self._sizes):
            raise NotSigned(row["event_id"])
        size = self._best[at]
        if size not in self._used:
            note = cosigned_note(self._folder, size)
            self._used[size] = TileNodes(self._folder, size), note
        nodes, note = self._used[size]
        return receipt_of_row(row, nodes, size=size, checkpoint=note)

    def files(self, places: Places, tenant: str) -> Iterator[tuple[str, bytes]]:
        """The log's files in a bundle. Asked for when every event has its receipt."""
        for size, (_, note) in self._used.items():
            yield f"checkpoint.{size}", note
            for path in self._stamps.get(size, ()):
                yield from _stamp_files(path, note)
        for old, new in pairwise(sorted(self._used)):
            growth = extension_of(places, tenant, self._folder.name, old_size=old, size=new)
            _, note = self._used[new]
            yield f"growth.{old}-{new}", replace(growth, checkpoint=note).encode()


def _stamps(folder: Path) -> dict[int, list[Path]]:
    """Proofs of time stamps that have a token, by the size of their checkpoint. Reads names."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    names = {path.name for path in paths}
    found: dict[int, list[Path]] = {}
    for path in paths:
        size = parse_anchor(path.name)
        if size is not None and token_name(path.name) in names:
            found.setdefault(size, []).append(path)
    return found


def _stamp_files(path: Path, note: bytes) -> Iterator[tuple[str, bytes]]:
    """Proof and token of a time stamp, if it is of this note: else no verifier would take it.

    What is wrong with one, `verify` tells of the store. Whose it is, the bundle's reader judges.
    """
    try:
        proof, token = read_regular(path), read_regular(path.with_name(token_name(path.name)))
        anchored = decode_anchored(proof)
        checkpoint = verify_anchored(anchored)
        check_token(token, digest=anchored.digest)
    except (StampInvalid, OSError):
        return
    same = parse_note(note).text == checkpoint.text()
    if same and anchor_name(checkpoint.size, token) == path.name:
        yield path.name, proof
        yield token_name(path.name), token


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
