"""Files of proof records on disk. Reads, never writes; blocks on the disk."""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BufferedReader
from pathlib import Path

from .chain import Chain, read_chain
from .errors import NotVerified, Unreadable
from .hashing import jcs
from .manifest import CHAIN, MANIFEST
from .record import Record, read_record
from .strictjson import read_object

FILE_BYTES_MAX = 256 << 20
_BLOCK = 1 << 20


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    """A regular file; a pipe in its place would keep the reader for ever. Raises Unreadable."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise Unreadable(f"{path.name} cannot be read: {error}") from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Unreadable(f"{path.name} is not a regular file")
        yield file


def read_file(path: Path) -> bytes:
    """A file's bytes. Raises Unreadable where it is none, or has over 256 MiB."""
    with _opened(path) as file:
        raw = file.read(FILE_BYTES_MAX + 1)
    if len(raw) > FILE_BYTES_MAX:
        raise Unreadable(f"{path.name} has over {FILE_BYTES_MAX >> 20} MiB")
    return raw


def file_digest(path: Path) -> str:
    """Hex SHA-256 of a file, read in blocks. Raises Unreadable."""
    digest = hashlib.sha256()
    with _opened(path) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def record_files(folder: Path) -> list[Path]:
    """The files of a folder that hold its records, in the order of the chain."""
    names = [os.fsencode(each.name) for each in folder.iterdir()]
    ordered = [
        name
        for suffix in (b".json", b".jsonl")
        for name in sorted(names)
        if name.endswith(suffix) and os.fsdecode(name) not in (MANIFEST, CHAIN)
    ]
    return [folder / os.fsdecode(name) for name in ordered]


def read_folder(folder: Path) -> Chain:
    """The chain of a folder: `*.json`, then `*.jsonl`, by name.

    `chain.json` frames those records where it is there, and must hold the very same; alone, it is
    the chain. Raises Unreadable, or NotVerified where the two differ.
    """
    records = [record for path in record_files(folder) for record in _records(path)]
    frame = folder / CHAIN
    if not frame.exists():
        return Chain(tuple(records))
    chain = read_chain_file(frame)
    if records:
        check_same(records, chain)
    return chain


def check_same(records: list[Record], chain: Chain) -> None:
    """Raise NotVerified unless the chain has these very records, in this order."""
    pairs = zip(map(_told, records), map(_told, chain.records), strict=False)
    shorter = min(len(records), len(chain.records))
    first = next((index for index, (one, other) in enumerate(pairs) if one != other), shorter)
    if first < max(len(records), len(chain.records)):
        raise NotVerified(
            f"there are {len(records)} records in files of their own and {len(chain.records)} in "
            f"{CHAIN}: they differ at record {first + 1}"
        )


def _told(record: Record) -> tuple[object, ...]:
    """All that a record says, in one way to write it: in Python, `1 == True`."""
    return record.payload(), jcs(record.document()), record.unprotected


def read_chain_file(path: Path) -> Chain:
    """A chain's file. Raises Unreadable or NotVerified."""
    return framed(read_object(read_file(path), path.name))


def framed(value: dict[str, object]) -> Chain:
    """The chain of an object; one that does not say its head says `""`, as to the reference."""
    chain = read_chain(value)
    return chain if chain.head_hash is not None else replace(chain, head_hash="")


def _records(path: Path) -> Iterator[Record]:
    raw = read_file(path)
    if path.name.endswith(".json"):
        yield read_record(read_object(raw, path.name), path.name)
        return
    for number, line in enumerate(raw.split(b"\n"), start=1):
        if line.strip():
            what = f"{path.name}, line {number}"
            yield read_record(read_object(line, what), what)
