"""A bundle's manifest: which files it has, their hashes, who signed it. Pure."""

import re
from dataclasses import dataclass
from typing import Any

from .detached import Detached, read_detached
from .errors import ManifestInvalid, NotVerified, Unreadable
from .hashing import sha256_hex
from .members import Kind, Members, read_members
from .strictjson import read_object

MANIFEST, CHAIN = "manifest.json", "chain.json"
ALGORITHM = "sha256"
_MANIFEST = {
    "files": Kind.LIST,
    "algo_id": Kind.TEXT,
    "salt_id": Kind.TEXT,
    "signatures": Kind.LIST,
}
_FILE = {"path": Kind.TEXT, "sha256": Kind.TEXT}
_DIGEST = re.compile(r"(?:sha256:)?([a-f0-9]{64})")
_VOLUME = re.compile(r"[^\W\d_]:")


@dataclass(frozen=True)
class Manifest:
    """A manifest as read: hex digests by path, and what its signatures sign."""

    files: dict[str, str]
    digest: str
    signatures: tuple[Detached, ...]


def read_manifest(raw: bytes, *, strict: bool) -> Manifest:
    """A manifest. Raises NotVerified where it cannot be read, ManifestInvalid for its content.

    Its digest covers every member but `signatures`, those that nobody knows included.
    """
    try:
        value = read_object(raw, MANIFEST)
        members = read_members(value, _MANIFEST, MANIFEST)
        signatures = tuple(
            read_detached(each, f"signature {index + 1} of {MANIFEST}")
            for index, each in enumerate(members.known["signatures"] or ())
        )
        files = _files(members.known["files"], strict=strict)
        digest = sha256_hex(_signed(members))
    except Unreadable as error:
        raise NotVerified(str(error)) from error
    if any(not all(vars(signature).values()) for signature in signatures):
        raise ManifestInvalid(f"{MANIFEST}: a signature has alg, key_id, sig and signed_digest")
    algorithm = members.known["algo_id"].strip().lower() or ALGORITHM
    if algorithm != ALGORITHM:
        raise ManifestInvalid(f"{MANIFEST}: algo_id is {algorithm[:40]!r}, not {ALGORITHM!r}")
    if strict and members.unknown:
        raise ManifestInvalid(
            f"{MANIFEST}: nobody knows the member {next(iter(members.unknown))!r}"
        )
    if not files:
        raise NotVerified(f"{MANIFEST} lists no files: there is nothing to verify")
    return Manifest(files, digest, signatures)


def _signed(members: Members) -> dict[str, Any]:
    known = members.known
    return {
        **members.unknown,
        "files": known["files"],
        "algo_id": known["algo_id"] if known["algo_id"].strip() else ALGORITHM,
        **({"salt_id": known["salt_id"]} if known["salt_id"] else {}),
    }


def _files(entries: list[Any] | None, *, strict: bool) -> dict[str, str]:
    if entries is None:
        raise ManifestInvalid(f"{MANIFEST}: files is required")
    found: dict[str, str] = {}
    for index, entry in enumerate(entries):
        what = f"{MANIFEST}: files[{index}]"
        members = read_members(entry, _FILE, what)
        if members.unknown and strict:
            raise ManifestInvalid(f"{what}: nobody knows {next(iter(members.unknown))!r}")
        path = members.known["path"]
        digest = _DIGEST.fullmatch(members.known["sha256"].strip().lower())
        if digest is None:
            raise NotVerified(f"{what}: sha256 is not 64 hex digits: no file has that hash")
        check_path(path, strict=strict)
        if path in found:
            raise ManifestInvalid(f"structure.path_duplicate: {path!r} is listed twice")
        found[path] = digest[1]
    return found


def check_path(path: str, *, strict: bool) -> None:
    """Raise ManifestInvalid for a path that leaves the bundle, or that is not portable.

    The second is asked of a strict verification alone.
    """
    slashed = path.replace("\\", "/")
    absolute = slashed.startswith("/") or _VOLUME.match(slashed) is not None
    if not path or "\0" in path or absolute or ".." in slashed.split("/"):
        raise ManifestInvalid(f"structure.path_invalid: {path!r} is not a path within the bundle")
    if not strict:
        return
    parts = path.split("/")
    portable = slashed == path and path == path.lower()
    if not portable or any(part in ("", ".") or part != part.rstrip(" .") for part in parts):
        raise ManifestInvalid(
            f"structure.path_ambiguous: {path!r} is not the one portable way to write it: "
            "lower case, slashes, no empty part, no space or dot at the end of one"
        )
