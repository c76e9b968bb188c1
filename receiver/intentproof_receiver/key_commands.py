"""The commands `keys create`, `keys list` and `keys revoke`."""

import argparse
import fcntl
import json
import os
import re
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from intentproof_schemas import TENANT

from .errors import Unusable
from .keys import FILE_NAME, ROLES, ApiKey, digest, keys_text, read_keys, utc

_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LIFETIME = re.compile(r"([1-9][0-9]{0,4})([mhdw])")


def register(subparsers: Any) -> None:
    """Add `keys` and its three commands to the command line."""
    keys = subparsers.add_parser("keys", help="create, list and revoke API keys")
    commands = keys.add_subparsers(dest="keys_command", required=True, metavar="COMMAND")
    create = commands.add_parser("create", help="make a key and print it, once, on stdout")
    create.add_argument("--tenant", required=True, help="whose data the key writes and reads")
    create.add_argument("--role", action="append", choices=ROLES, help="default: ingest and read")
    create.add_argument("--expires", metavar="90d", help="lifetime: a number and m, h, d or w")
    create.set_defaults(run=run_create)
    listing = commands.add_parser("list", help="list the keys, without their secrets")
    listing.add_argument("--json", action="store_true", help="one JSON document")
    listing.set_defaults(run=run_list)
    revoke = commands.add_parser("revoke", help="revoke a key, for good")
    revoke.add_argument("key_id", metavar="KEY_ID")
    revoke.set_defaults(run=run_revoke)


def run_create(args: argparse.Namespace) -> int:
    """Print a new key, alone, on stdout; what people want to know goes to stderr."""
    key, text = create_key(
        Path(args.home), tenant=args.tenant, roles=args.role or (), expires=args.expires
    )
    sys.stdout.write(text + "\n")
    until = f", until {key.expires}" if key.expires else ""
    sys.stderr.write(
        f"key {key.id} for {key.tenant} ({', '.join(key.roles)}{until}): shown only this once\n"
    )
    return 0


def create_key(
    home: Path,
    *,
    tenant: str,
    roles: "list[str] | tuple[str, ...]" = (),
    expires: str | None = None,
) -> tuple[ApiKey, str]:
    """Make a key, keep its hash in --home, and return both. Durable when this returns."""
    if not TENANT.fullmatch(tenant) or tenant.startswith("_"):
        raise Unusable(
            f"--tenant {tenant!r}: must be a lower-case letter, then up to 62 of a-z, 0-9 and -"
        )
    now = time.time()
    secret = secrets.token_urlsafe(32)
    key = ApiKey(
        id=secrets.token_hex(6),
        tenant=tenant,
        roles=tuple(dict.fromkeys(roles)) or ("ingest", "read"),
        sha256=digest(secret),
        created=utc(now),
        expires=utc(now + _seconds(expires)) if expires else "",
    )
    with _changing(home) as keys:
        keys[key.id] = key
    return key, f"ipk_{key.id}_{secret}"


def run_list(args: argparse.Namespace) -> int:
    """Show the keys: a table, or with --json one document."""
    path = Path(args.home) / FILE_NAME
    keys = list(read_keys(path).values()) if path.exists() else []
    shown = [
        {
            "id": key.id,
            "tenant": key.tenant,
            "roles": list(key.roles),
            "created": key.created,
            "expires": key.expires or None,
            "revoked": key.revoked or None,
        }
        for key in keys
    ]
    if not keys:
        sys.stderr.write(f"no key in {path}: create one with `intentproof-otel keys create`\n")
    if args.json:
        sys.stdout.write(json.dumps({"keys": shown}) + "\n")
        return 0
    rows = [("ID", "TENANT", "ROLES", "CREATED", "EXPIRES", "REVOKED")]
    rows += [
        (
            key.id,
            key.tenant,
            ",".join(key.roles),
            key.created,
            key.expires or "-",
            key.revoked or "-",
        )
        for key in keys
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
    return 0


def run_revoke(args: argparse.Namespace) -> int:
    """Revoke a key; a running receiver refuses it within a second."""
    with _changing(Path(args.home)) as keys:
        if args.key_id not in keys:
            raise Unusable(f"there is no key {args.key_id!r}: see `intentproof-otel keys list`")
        if not keys[args.key_id].revoked:
            keys[args.key_id] = replace(keys[args.key_id], revoked=utc(time.time()))
    sys.stderr.write(f"key {args.key_id} is revoked\n")
    return 0


def _seconds(lifetime: str) -> int:
    match = _LIFETIME.fullmatch(lifetime)
    if match is None:
        raise Unusable(f"--expires {lifetime!r}: must be a number and m, h, d or w, such as 90d")
    return int(match[1]) * _UNITS[match[2]]


@contextmanager
def _changing(home: Path) -> Iterator[dict[str, ApiKey]]:
    """The keys, to be changed by one process at a time; written whole, or not at all."""
    path = home / FILE_NAME
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(home / f"{FILE_NAME}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unusable(f"--home {home}: cannot write there: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keys = read_keys(path) if path.exists() else {}
        yield keys
        _write(path, keys_text(keys))
    finally:
        os.close(lock)


def _write(path: Path, content: bytes) -> None:
    """Temporary file, fsync, rename, fsync of the folder."""
    unfinished = path.with_suffix(".tmp")
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)  # the point of no return: readers see the new keys from here
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
