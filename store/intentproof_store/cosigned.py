"""Kept cosignatures: files `checkpoint.<size>.<hex key id>`, each the signature line of a witness.

So a checkpoint and all its cosignatures are one signed note: `cat checkpoint.N checkpoint.N.*`.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from .errors import NoteInvalid
from .files import read_regular
from .layout import parse_checkpoint, parse_cosignature
from .note import Note, parse_note

_LINE_BYTES_MAX = 8 << 10  # ML-DSA-44 takes some 3,300
_LINES_MAX = 64


def cosignature_files(folder: Path) -> dict[int, list[Path]]:
    """The kept cosignatures of a log's folder, by the size of their checkpoint. Reads names."""
    found: dict[int, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        parsed = parse_cosignature(path.name)
        if parsed is not None:
            found.setdefault(parsed[0], []).append(path)
    return found


def best_checkpoint(folder: Path, index: int) -> int:
    """The size of the checkpoint over leaf `index` that most witnesses cosigned; 0 if none is.

    Of equals the newest. Reads names.
    """
    sizes: set[int] = set()
    cosignatures: Counter[int] = Counter()
    for path in folder.iterdir() if folder.is_dir() else ():
        size = parse_checkpoint(path.name)
        parsed = parse_cosignature(path.name)
        if size is not None and size > index:
            sizes.add(size)
        elif parsed is not None:
            cosignatures[parsed[0]] += 1
    return max(sizes, key=lambda size: (cosignatures[size], size), default=0)


def cosigned_note(folder: Path, size: int) -> bytes:
    """The checkpoint of that size with the cosignatures at hand. Blocks on the disk.

    A file that is no signature line of the key id in its name is left out: nobody could use it.
    Raises OSError where there is no such checkpoint.
    """
    note = read_regular(folder / f"checkpoint.{size}")
    paths = sorted(folder.glob(f"checkpoint.{size}.*"))
    return note + b"".join(list(_lines(note, paths))[:_LINES_MAX])


def _lines(note: bytes, paths: list[Path]) -> Iterator[bytes]:
    for path in paths:
        parsed = parse_cosignature(path.name)
        if parsed is None:
            continue
        try:
            line = read_cosignature(path)
            parse_cosigned(note, line, parsed[1])
        except (NoteInvalid, OSError):
            continue
        yield line


def read_cosignature(path: Path) -> bytes:
    """The bytes of a kept cosignature. Raises NoteInvalid for a file that is too long, OSError."""
    raw = read_regular(path)
    if len(raw) > _LINE_BYTES_MAX:
        raise NoteInvalid(f"over {_LINE_BYTES_MAX} bytes are no cosignature")
    return raw


def parse_cosigned(checkpoint: bytes, line: bytes, key_id: str) -> Note:
    """The checkpoint's text with that one signature. Raises NoteInvalid if it is not of that id."""
    text = parse_note(checkpoint).text
    note = parse_note(f"{text}\n".encode() + line)
    if len(note.signatures) != 1 or note.signatures[0].key_id.hex() != key_id:
        raise NoteInvalid(f"not one signature of the key {key_id}")
    return note
