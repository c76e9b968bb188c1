"""Records, chains and manifests made, as the reference makes them. Pure.

Link first, sign afterwards: a signature is over the hash, which covers the hash before it.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from .detached import sign_digest
from .hashing import jcs
from .keys import SigningKey
from .manifest import ALGORITHM
from .record import Record, read_record

VERSION = "1.0"


def linked(drafts: Iterable[Mapping[str, Any]], *, key: SigningKey | None) -> Iterator[Record]:
    """Records of drafts, each naming the hash of the one before it; signed where there is a key.

    A draft has the members of a record but `record_version`, `record_id` and `integrity`, and no
    empty `metadata`, which breaks the hash of whoever saves it. Raises Unreadable.
    """
    head = ""
    for draft in drafts:
        record = read_record(
            {
                **draft,
                "record_version": VERSION,
                "integrity": {"previous_record_hash": head},
            }
        )
        record = replace(record, record_id=record.derived_id())
        head = record.hash()
        record = replace(record, record_hash=head)
        if key is not None:
            key_id, signature = key.public.key_id, key.sign_hash(head)
            record = replace(record, signing_key_id=key_id, signature=signature)
        yield record


def record_text(record: Record) -> bytes:
    """A record as it is written: RFC 8785 text. Raises Unreadable."""
    return jcs(record.document())


def chain_text(
    records: Iterable[bytes], *, chain_id: str, created_at: str, head: str, key: SigningKey | None
) -> bytes:
    """A chain as it is written, of its records' texts; `created_at` in whole UTC seconds.

    The text is RFC 8785's, so that what is signed is the text without its signatures.
    """
    texts = list(records)
    frame = jcs(
        {
            "chain_id": chain_id,
            "created_at": created_at,
            "head_hash": head,
            "record_count": len(texts),
        }
    )
    body = frame[:-1] + b',"records":[' + b",".join(texts) + b"]"
    if key is None:
        return body + b"}"
    signature = sign_digest(hashlib.sha256(body + b"}").hexdigest(), key)
    return body + b',"signatures":' + jcs([signature]) + b"}"


def manifest_text(files: Mapping[str, bytes], *, key: SigningKey | None) -> bytes:
    """A manifest over files by path, in the order of their paths."""
    entries = [
        {"path": path, "sha256": hashlib.sha256(files[path]).hexdigest()} for path in sorted(files)
    ]
    manifest: dict[str, Any] = {"algo_id": ALGORITHM, "files": entries}
    if key is not None:
        digest = hashlib.sha256(jcs(manifest)).hexdigest()
        manifest["signatures"] = [sign_digest(digest, key)]
    return jcs(manifest)
