"""Proof records made a second way, so that a mistake of ours is not in the tests too.

It is what the specification says, in the standard library, rfc8785 and Ed25519 alone.
"""

import argparse
import base64
import contextlib
import copy
import hashlib
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from intentproof_store.verify.command import register

REPOSITORY = Path(__file__).resolve().parents[2]
_VECTORS = REPOSITORY.parent / "shared" / "vectors" / "proof"
SEED = bytes(range(1, 33))  # the public test key of the vectors: never for real
KEY = Ed25519PrivateKey.from_private_bytes(SEED)
PUBLIC = KEY.public_key().public_bytes_raw()
KEY_ID = hashlib.sha256(PUBLIC).hexdigest()
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
Document = dict[str, Any]


def vector(name: str) -> Path:
    """A file of the published vectors; skips the test where they are not at hand."""
    path = _VECTORS / name
    if not path.exists():
        pytest.skip(f"vectors are not at hand: {path}")
    return path


def edge_cases() -> list[Document]:
    path = _VECTORS / "derived-edge-vectors.json"
    cases: list[Document] = json.loads(path.read_text())["cases"] if path.exists() else []
    return cases


def payload(record: Document) -> Document:
    """The object whose canonical bytes are hashed, of a record without odd spellings."""
    members = {
        name: record[name]
        for name in ("record_id", "record_version", "timestamp", "source", "source_product")
    }
    members |= {
        "agent_id": record.get("agent_id", ""),
        "record_type": record["record_type"],
        "event": record["event"],
        "controls": record["controls"],
        "metadata": record.get("metadata"),
        "integrity": {
            "previous_record_hash": record.get("integrity", {}).get("previous_record_hash", "")
        },
    }
    return members | {n: record[n] for n in ("relationship", "relations") if n in record}


def sha256(value: Any) -> str:
    return hashlib.sha256(rfc8785.dumps(value)).hexdigest()


def hashed(record: Document, key: Ed25519PrivateKey | None = None) -> Document:
    """The record with the hash of its content and, with a key, its signature."""
    made = copy.deepcopy(record)
    integrity = made.setdefault("integrity", {})
    integrity["record_hash"] = "sha256:" + sha256(payload(made))
    if key is not None:
        public = key.public_key().public_bytes_raw()
        integrity["signing_key_id"] = hashlib.sha256(public).hexdigest()
        signature = key.sign(integrity["record_hash"].encode())
        integrity["signature"] = "base64:" + base64.b64encode(signature).decode()
    return made


def record(
    number: int = 1, key: Ed25519PrivateKey | None = None, previous: str = "", **changes: Any
) -> Document:
    """A record that holds, each number another."""
    made: Document = {
        "record_version": "1.0",
        "timestamp": f"2026-02-18T12:{number % 60:02d}:00Z",
        "source": "test",
        "source_product": "test",
        "record_type": "decision",
        "event": {"action": "allow", "number": number},
        "controls": {"permissions_enforced": True},
        **changes,
    }
    named = {n: made[n] for n in ("timestamp", "source", "source_product", "record_type", "event")}
    digest = sha256({**named, "agent_id": made.get("agent_id", "")})
    made.setdefault("record_id", f"prf-{made['timestamp']}-{digest[:8]}")
    if previous:
        made["integrity"] = {"previous_record_hash": previous}
    return hashed(made, key)


def linked(count: int, key: Ed25519PrivateKey | None = None) -> list[Document]:
    records: list[Document] = []
    for number in range(1, count + 1):
        previous = records[-1]["integrity"]["record_hash"] if records else ""
        records.append(record(number, key, previous))
    return records


def relinked(records: Iterable[Document], key: Ed25519PrivateKey | None = None) -> list[Document]:
    """The records hashed and linked again, as whoever can write them can."""
    made: list[Document] = []
    for each in records:
        again = copy.deepcopy(each)
        again["integrity"] = (
            {"previous_record_hash": made[-1]["integrity"]["record_hash"]} if made else {}
        )
        made.append(hashed(again, key))
    return made


def detached(digest: str, key: Ed25519PrivateKey = KEY, *, raw: bool = False) -> Document:
    message = bytes.fromhex(digest) if raw else digest.encode()
    return {
        "alg": "ed25519",
        "key_id": hashlib.sha256(key.public_key().public_bytes_raw()).hexdigest(),
        "sig": base64.b64encode(key.sign(message)).decode(),
        "signed_digest": digest,
    }


def chain(
    records: list[Document], key: Ed25519PrivateKey | None = None, **changes: Any
) -> Document:
    made: Document = {
        "chain_id": "chain-1",
        "created_at": "2026-02-18T13:00:00Z",
        "record_count": len(records),
        "head_hash": records[-1]["integrity"]["record_hash"] if records else "",
        "records": records,
        **changes,
    }
    return made | ({"signatures": [detached(sha256(made), key)]} if key else {})


def bundle(
    folder: Path, files: dict[str, bytes], key: Ed25519PrivateKey | None = None, **changes: Any
) -> Path:
    """A folder with files and the manifest over them."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    entries = [
        {"path": name, "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    ]
    manifest: Document = {"files": entries, "algo_id": "sha256", **changes}
    if key is not None:
        manifest["signatures"] = [detached(sha256(manifest), key)]
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def written(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def text(value: Any) -> bytes:
    return json.dumps(value).encode()


def as_folder(folder: Path, records: Iterable[Document]) -> Path:
    """A chain as a folder with a file a record."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(records, start=1):
        written(folder / f"{number:04d}.json", each)
    return folder


def verify(*argv: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `verify`, run in this process; its places hold nothing."""
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers(required=True))
    nowhere = Path("/nonexistent")
    places = argparse.Namespace(store=nowhere, home=nowhere, hot=nowhere)
    args = parser.parse_args(["verify", *map(str, argv)], places)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = args.run(args)
    return code, out.getvalue(), err.getvalue()


SIGNED = ("--signatures", "--public-key", PUBLIC.hex())
