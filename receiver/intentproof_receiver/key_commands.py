"""The commands `keys create`, `keys list` and `keys revoke`."""

import argparse
import json
import re
import secrets
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from intentproof_schemas import TENANT

from .errors import Unusable
from .homefile import changing
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
    check_tenant(tenant)
    now = time.time()
    secret = secrets.token_urlsafe(32)
    key = ApiKey(
        id=secrets.token_hex(6),
        tenant=tenant,
        roles=tuple(dict.fromkeys(roles)) or ("ingest", "read"),
        sha256=digest(secret),
        created=utc(now),
        expires=utc(now + lifetime_seconds(expires)) if expires else "",
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
    write_table(rows)
    return 0


def write_table(rows: Sequence[tuple[str, ...]]) -> None:
    """Rows on stdout, the columns aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def run_revoke(args: argparse.Namespace) -> int:
    """Revoke a key; a running receiver refuses it within a second."""
    with _changing(Path(args.home)) as keys:
        if args.key_id not in keys:
            raise Unusable(f"there is no key {args.key_id!r}: see `intentproof-otel keys list`")
        if not keys[args.key_id].revoked:
            keys[args.key_id] = replace(keys[args.key_id], revoked=utc(time.time()))
    sys.stderr.write(f"key {args.key_id} is revoked\n")
    return 0


def check_tenant(tenant: str) -> None:
    """Raises Unusable for what is no tenant of a customer."""
    if not TENANT.fullmatch(tenant) or tenant.startswith("_"):
        raise Unusable(
            f"--tenant {tenant!r}: must be a lower-case letter, then up to 62 of a-z, 0-9 and -"
        )


def lifetime_seconds(lifetime: str) -> int:
    """Seconds of a text such as 90d. Raises Unusable."""
    match = _LIFETIME.fullmatch(lifetime)
    if match is None:
        raise Unusable(f"--expires {lifetime!r}: must be a number and m, h, d or w, such as 90d")
    return int(match[1]) * _UNITS[match[2]]


def _changing(home: Path) -> AbstractContextManager[dict[str, ApiKey]]:
    return changing(home / FILE_NAME, read_keys, keys_text, {})
