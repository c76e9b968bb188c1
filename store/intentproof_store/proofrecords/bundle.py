"""Bundles of proof records: a folder whose manifest lists files and their hashes. Reads only."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .asked import Asked, Verified
from .chain import OPEN_END, verify_chain
from .detached import check_detached
from .errors import NotVerified, Unreadable
from .folder import check_same, file_digest, read_chain_file, read_file, read_folder, record_files
from .manifest import CHAIN, MANIFEST, Manifest, check_path, read_manifest
from .record import Record, read_record
from .recordcheck import UNSIGNED, check_record, remarks_on
from .strictjson import read_object


def verify_bundle(folder: Path, asked: Asked, *, chain: bool) -> Verified:
    """What a bundle shows; with `chain`, its chain too, and then that is what is told.

    1. The manifest can be read, and its paths stay within the bundle.
    2. Strict: there are no files but those listed, and no symbolic links.
    3. Every file that is listed is there and has its hash.
    4. Listed records hold by themselves, a listed chain as a whole, and they agree.
    5. The trusted key made every signature of the manifest, of which there is one.

    Raises RecordsInvalid, by its classes.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise NotVerified(f"{MANIFEST} is missing: this folder is no bundle")
    manifest = read_manifest(read_file(path), strict=asked.strict)  # (1)
    if asked.strict:
        _check_folder(folder, manifest)  # (2)
    for name, digest in manifest.files.items():  # (3)
        _check_file(folder, name, digest)
    for number, signature in enumerate(manifest.signatures, start=1):
        asked.check_not_revoked(signature.key_id, f"signature {number} of {MANIFEST}")
    unsigned = replace(asked, signatures=False)  # the manifest's covers every byte of a chain
    told = _check_records(folder, manifest, unsigned, chain=chain or asked.head is not None)  # (4)
    if not asked.signatures:
        return told
    _check_signatures(manifest, asked)  # (5)
    answered = (UNSIGNED, OPEN_END)
    return replace(told, remarks=tuple(each for each in told.remarks if each not in answered))


def _check_folder(folder: Path, manifest: Manifest) -> None:
    for path in (folder, *_below(folder)):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise NotVerified(f"structure.symlink_ambiguous: {name!r} is a symbolic link")
        if path.is_dir() or name == MANIFEST:
            continue
        check_path(name, strict=True)
        if name not in manifest.files:
            raise NotVerified(f"structure.unlisted_file: {name!r} is not in {MANIFEST}")


def _below(folder: Path) -> Iterator[Path]:
    for base, folders, files in os.walk(folder):
        for name in sorted((*folders, *files)):
            yield Path(base, name)


def _check_file(folder: Path, name: str, digest: str) -> None:
    try:
        found = file_digest(folder / name)
    except Unreadable as error:
        raise NotVerified(f"{name!r} is in {MANIFEST}, and {error}") from error
    if found != digest:
        raise NotVerified(f"bundle hash mismatch for {name!r}: {found}, the manifest has {digest}")


def _check_records(folder: Path, manifest: Manifest, asked: Asked, *, chain: bool) -> Verified:
    """Check what of the listed files is a record or the chain; what else there is, is data."""
    records = []
    for path in record_files(folder):
        if path.name not in manifest.files:
            if chain:
                raise NotVerified(f"structure.unlisted_file: {path.name!r} is not in {MANIFEST}")
        elif path.suffix == ".json":
            record = _record(path)
            if record is not None:
                check_record(record, asked)
                records.append(record)
    if CHAIN in manifest.files:
        found = read_chain_file(folder / CHAIN)
        told = verify_chain(found, asked)
        if records:
            check_same(records, found)
    elif chain:
        if (folder / CHAIN).exists():
            raise NotVerified(f"structure.unlisted_file: {CHAIN!r} is not in {MANIFEST}")
        told = verify_chain(read_folder(folder), asked)
    else:
        told = Verified({}, "", remarks_on(records))
    if chain:
        return told
    return replace(told, document={"kind": "bundle", "ok": True}, words="Bundle verified.")


def _record(path: Path) -> Record | None:
    """The record that a listed file holds, None for other data."""
    raw = read_file(path)
    if b"record_id" not in raw:
        return None
    value = read_object(raw, path.name)
    return read_record(value, path.name) if "record_id" in value else None


def _check_signatures(manifest: Manifest, asked: Asked) -> None:
    key = asked.key(NotVerified) if asked.public_key is not None else asked.key()
    if not manifest.signatures:
        raise NotVerified(f"{MANIFEST} is not signed")
    for number, signature in enumerate(manifest.signatures, start=1):
        what = f"signature {number} of {MANIFEST}"
        check_detached(signature, manifest.digest, key, what)
