"""The commands `certificates map`, `certificates list` and `certificates unmap`."""

import argparse
import json
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from .client_certificates import FILE_NAME, IDENTITY, Mapping, mappings_text, read_mappings
from .errors import Unusable
from .homefile import changing
from .key_commands import check_tenant, lifetime_seconds, write_table
from .keys import ROLES, utc


def register(subparsers: Any) -> None:
    """Add `certificates` and its three commands to the command line."""
    certificates = subparsers.add_parser(
        "certificates", help="map client certificates to tenants, list and unmap them"
    )
    commands = certificates.add_subparsers(
        dest="certificates_command", required=True, metavar="COMMAND"
    )
    add = commands.add_parser("map", help="let a client certificate send or read for a tenant")
    add.add_argument("identity", metavar="IDENTITY", help="URI:…, DNS:… or CN:…, exactly")
    add.add_argument("--tenant", required=True, help="whose data it writes and reads")
    add.add_argument("--role", action="append", choices=ROLES, help="default: ingest and read")
    add.add_argument("--expires", metavar="90d", help="lifetime: a number and m, h, d or w")
    add.set_defaults(run=run_map)
    listing = commands.add_parser("list", help="list the mappings")
    listing.add_argument("--json", action="store_true", help="one JSON document")
    listing.set_defaults(run=run_list)
    remove = commands.add_parser("unmap", help="end a mapping")
    remove.add_argument("identity", metavar="IDENTITY")
    remove.set_defaults(run=run_unmap)


def run_map(args: argparse.Namespace) -> int:
    """Map a name; what it was mapped to before is replaced."""
    mapping = map_certificate(
        Path(args.home),
        identity=args.identity,
        tenant=args.tenant,
        roles=args.role or (),
        expires=args.expires,
    )
    until = f", until {mapping.expires}" if mapping.expires else ""
    roles = ", ".join(mapping.roles)
    sys.stderr.write(f"{mapping.identity} is {mapping.tenant} ({roles}{until})\n")
    return 0


def map_certificate(
    home: Path,
    *,
    identity: str,
    tenant: str,
    roles: "list[str] | tuple[str, ...]" = (),
    expires: str | None = None,
) -> Mapping:
    """Keep a mapping in --home. Durable when this returns. Raises Unusable."""
    check_tenant(tenant)
    identity = _checked(identity)
    now = time.time()
    mapping = Mapping(
        identity=identity,
        tenant=tenant,
        roles=tuple(dict.fromkeys(roles)) or ("ingest", "read"),
        created=utc(now),
        expires=utc(now + lifetime_seconds(expires)) if expires else "",
    )
    with _changing(home) as mappings:
        mappings[identity] = mapping
    return mapping


def _checked(identity: str) -> str:
    if not IDENTITY.fullmatch(identity):
        raise Unusable(
            f"{identity[:200]!r}: must be a name of a certificate with its kind, such as "
            "URI:spiffe://shop/collector, DNS:collector.shop.example or CN:collector"
        )
    return identity.lower().replace("dns:", "DNS:", 1) if identity[:4] == "DNS:" else identity


def run_list(args: argparse.Namespace) -> int:
    """Show the mappings: a table, or with --json one document."""
    path = Path(args.home) / FILE_NAME
    mappings = list(read_mappings(path).values()) if path.exists() else []
    if not mappings:
        sys.stderr.write(f"no client certificate is mapped in {path}\n")
    if args.json:
        shown = [
            {
                "identity": mapping.identity,
                "tenant": mapping.tenant,
                "roles": list(mapping.roles),
                "created": mapping.created,
                "expires": mapping.expires or None,
            }
            for mapping in mappings
        ]
        sys.stdout.write(json.dumps({"certificates": shown}) + "\n")
        return 0
    rows = [("IDENTITY", "TENANT", "ROLES", "CREATED", "EXPIRES")]
    rows += [
        (one.identity, one.tenant, ",".join(one.roles), one.created, one.expires or "-")
        for one in mappings
    ]
    write_table(rows)
    return 0


def run_unmap(args: argparse.Namespace) -> int:
    """End a mapping; a running receiver forgets it within a second."""
    identity = _checked(args.identity)
    with _changing(Path(args.home)) as mappings:
        if mappings.pop(identity, None) is None:
            raise Unusable(f"{identity!r} is not mapped: see `intentproof-otel certificates list`")
    sys.stderr.write(f"{identity} is no longer mapped\n")
    return 0


def _changing(home: Path) -> AbstractContextManager[dict[str, Mapping]]:
    return changing(home / FILE_NAME, read_mappings, mappings_text, {})
