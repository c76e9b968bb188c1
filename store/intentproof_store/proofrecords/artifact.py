"""What a path holds, and whether it holds. Reads files, never writes."""

from pathlib import Path
from typing import Any

from .asked import Asked, Verified
from .bundle import verify_bundle
from .chain import verify_chain
from .errors import NotVerified, Unreadable
from .folder import framed, read_file, read_folder
from .gait import is_gait, verify_gait
from .manifest import CHAIN, MANIFEST
from .record import read_record
from .recordcheck import verify_record
from .strictjson import read_object

_STORE_FOLDERS = ("events", "log")
_SUFFIXES = (".json", ".jsonl")
_WHITE = b" \t\r\n"


def holds_records(path: Path) -> bool:
    """Whether a path looks like proof records rather than a store, a receipt or a proof.

    A folder with a manifest, or with JSON files and nothing of a store; a file that begins as a
    JSON object does, or is named as one; a name with a suffix of which there is nothing, for such
    is no store that was lost.
    """
    try:
        return _holds_records(path)
    except OSError:
        return False  # whoever reads all of it says why it cannot be read


def _holds_records(path: Path) -> bool:
    if not path.exists():
        return path.suffix != ""
    if path.is_dir():
        if (path / MANIFEST).exists():
            return True
        if any((path / name).is_dir() for name in _STORE_FOLDERS):
            return False
        return any(each.suffix in _SUFFIXES for each in path.iterdir())
    if not path.is_file():
        return False
    if path.suffix in _SUFFIXES:
        return True
    with path.open("rb") as file:
        return file.read(4096).lstrip(_WHITE)[:1] == b"{"


def verify_path(path: Path, asked: Asked, *, chain: bool = False, bundle: bool = False) -> Verified:
    """What the records at a path show: a record, a chain, a bundle or a GAIT artifact.

    With `chain` or `bundle` it must be that. A folder with a manifest is always verified as a
    bundle. Blocks on the disk. Raises RecordsInvalid, by its classes, with their exit codes; what
    the disk refuses is Unreadable.
    """
    try:
        return _verify_path(path, asked, chain=chain, bundle=bundle)
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error}") from error


def _verify_path(path: Path, asked: Asked, *, chain: bool, bundle: bool) -> Verified:
    if not path.exists():
        raise Unreadable(f"there is nothing at {str(path)!r}")
    if path.is_dir():
        if bundle or (path / MANIFEST).exists():
            return verify_bundle(path, asked, chain=chain)
        return verify_chain(read_folder(path), asked)
    if bundle:
        raise Unreadable(f"{path.name} is a file, and a bundle is a folder with {MANIFEST}")
    return _verify_object(_read(path), asked, chain=chain)


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_object(read_file(path), path.name)
    except Unreadable as error:
        if path.suffix == ".jsonl":
            raise Unreadable(f"{error}; a chain of many lines is verified by its folder") from error
        raise


def _verify_object(value: dict[str, Any], asked: Asked, *, chain: bool) -> Verified:
    if "records" in value:
        return verify_chain(framed(value), asked)
    if chain:
        raise NotVerified(f"no records: this is no chain, which is a {CHAIN} or a folder")
    if asked.head is not None:
        raise Unreadable("--head is for chains: what a record is, its own hash says")
    if "record_id" in value:
        return verify_record(read_record(value), asked)
    if is_gait(value):
        return verify_gait(value, asked)
    raise Unreadable(
        "unsupported artifact type: neither a record, a chain, nor a signed GAIT artifact"
    )
