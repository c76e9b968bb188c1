"""Every file of a bundle, made from what it proves. Pure.

The exporter writes these; a verifier makes them again and compares, so that no byte of a bundle,
README and report included, can differ from what is proved.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping

from ..errors import BundleInvalid
from ..note import VerifierKey, parse_note
from .content import content_files
from .page import page
from .proof import ProvedBundle
from .readme import readme

MANIFEST, README, REPORT = "MANIFEST", "README.txt", "report.html"
_SPKI_ED25519 = bytes.fromhex("302a300506032b6570032100")  # RFC 8410 section 4


def bundle_files(bundle: ProvedBundle) -> list[tuple[str, bytes]]:
    """Names and bytes of all files, by name."""
    files = dict(content_files(bundle.content))
    for key in bundle.content.keys:
        files[f"keys/{key.key_id.hex()}.pem"] = _pem(key)
    files.update(_signature_files(bundle))
    files[README] = readme(bundle)
    files[REPORT] = page(bundle)
    files[MANIFEST] = manifest(files)
    return sorted(files.items())


def manifest(files: Mapping[str, bytes]) -> bytes:
    """The SHA-256 of each file but the manifest, as `sha256sum --check` reads it."""
    names = sorted(files.keys() - {MANIFEST})
    lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in names)
    return "".join(lines).encode()


def check_files(files: Mapping[str, bytes], bundle: ProvedBundle) -> None:
    """Raise BundleInvalid unless the files are, byte for byte, those of what they prove."""
    expected = dict(bundle_files(bundle))
    names = expected.keys() | files.keys()
    for name in sorted(names, key=lambda each: (each == MANIFEST, each)):  # it follows from others
        if name not in files:
            raise BundleInvalid("bundle_invalid", "this file is missing", name)
        if name not in expected:
            raise BundleInvalid("unknown_member", "this bundle has no use for this file", name)
        if files[name] != expected[name]:
            code = "report_differs" if name in (README, REPORT) else "bundle_invalid"
            raise BundleInvalid(code, "it does not say what the bundle proves", name)


def _pem(key: VerifierKey) -> bytes:
    encoded = base64.b64encode(_SPKI_ED25519 + key.key).decode()
    return f"-----BEGIN PUBLIC KEY-----\n{encoded}\n-----END PUBLIC KEY-----\n".encode()


def _signature_files(bundle: ProvedBundle) -> Iterator[tuple[str, bytes]]:
    """What `openssl` takes of each checkpoint: the signed text, and each signature of a log key."""
    keys = {(key.name, key.key_id) for key in bundle.content.keys}
    for log in bundle.logs:
        for checkpoint, raw in log.checkpoints:
            stem = f"logs/{log.writer}/checkpoint.{checkpoint.size}"
            note = parse_note(raw)
            yield f"{stem}.body", note.text.encode()
            for line in note.signatures:
                if (line.name, line.key_id) in keys:
                    yield f"{stem}.{line.key_id.hex()}.sig", line.signature
