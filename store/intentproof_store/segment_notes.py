"""Signing a segment's note: each revision once, for one sequence of bytes only."""

from dataclasses import replace
from pathlib import Path

from .durable import create_file
from .errors import NoteInvalid, StoreError
from .identity import Identity
from .layout import Layout, SegmentName
from .note import SegmentNote
from .segments import read_segment_note

_REVISIONS_MAX = 1_000_000


def put_segment_note(
    layout: Layout,
    identity: Identity,
    tenant: str,
    wanted: SegmentName,
    size_bytes: int,
    digest: str,
) -> SegmentName:
    """Sign bytes as the first revision, from the wanted one on, that no others were signed as.

    Returns that revision's name. Blocks on the disk; raises StoreError where a standing note is
    not ours.
    """
    origin = identity.origin(tenant)
    for rev in range(wanted.rev, _REVISIONS_MAX):
        name = replace(wanted, rev=rev)
        note = SegmentNote(origin, name.first, name.last, rev, size_bytes, digest)
        raw = identity.sign(note.text(), tenant)
        path = layout.log(tenant, identity.writer) / name.note()
        if create_file(path, raw) or _says(path, note):
            return name
    raise StoreError(f"no revision is left for the segment {wanted.first}-{wanted.last}")


def _says(path: Path, note: SegmentNote) -> bool:
    """Whether the standing note is the same, of an earlier try with the same bytes."""
    try:
        return read_segment_note(path.read_bytes(), ()) == note
    except NoteInvalid as error:
        raise StoreError(f"{path} is not ours: {error}") from error
