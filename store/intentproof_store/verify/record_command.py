"""`intentproof-otel verify` of proof records: what is asked, what is told, the exit code."""

import argparse
import json
import sys
from pathlib import Path

from ..present import shown
from ..proofrecords import (
    HASH,
    Asked,
    RecordsInvalid,
    Unreadable,
    holds_records,
    read_file,
    read_public_key,
    read_revocations,
    verify_path,
)
from .bundle_command import looks_like_bundle

_OK = 0
_UNSIGNED_LIST = "nobody looked at who signed the revocation list: --revocation-key asks"
# Flags of stores, bundles, receipts, consistency proofs and time stamps.
_OURS = ("tenant", "sealed", "key", "known", "policy", "period", "tsa")


def add_record_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that proof records take."""
    flags = parser.add_argument_group("proof records (docs/proof-records.md)")
    flags.add_argument("--chain", action="store_true", help="PATH must be, or hold, a chain")
    flags.add_argument("--bundle", action="store_true", help="PATH must be a bundle")
    flags.add_argument("--signatures", action="store_true", help="ask who signed")
    flags.add_argument("--public-key", metavar="KEY", help="Ed25519, 64 hex digits or base64")
    flags.add_argument("--head", metavar="HASH", help="the chain must end with this record_hash")
    flags.add_argument(
        "--revocation-list", type=Path, metavar="FILE", help="take nothing of the keys it lists"
    )
    flags.add_argument("--revocation-key", metavar="KEY", help="the key that signed that list")
    flags.add_argument(
        "--strict", action="store_true", help="refuse all that a hash does not tell apart"
    )


def is_about_records(args: argparse.Namespace) -> bool:
    """Whether the command line asks for proof records, or its path holds such."""
    path: Path | None = args.path
    if _flags_given(args):
        return True
    if args.bundle:  # a folder, or an archive of ours, which is a bundle too
        return path is None or not looks_like_bundle(path)
    return path is not None and holds_records(path)


def run_records(args: argparse.Namespace) -> int:
    """Verify proof records and tell; the exit code of the reference's table.

    As of the reference, there is JSON on success alone: a failure is one line on stderr.
    """
    try:
        _check_flags(args)
        verified = verify_path(args.path, _asked(args), chain=args.chain, bundle=args.bundle)
    except RecordsInvalid as error:
        sys.stderr.write(f"verify: {shown(str(error))}\n")
        return error.exit_code
    if args.json:
        sys.stdout.write(json.dumps(verified.document, indent=2, sort_keys=True) + "\n")
    else:
        sys.stdout.write(f"{verified.words}\n")
    unsigned = args.revocation_list is not None and args.revocation_key is None
    for remark in (*verified.remarks, *([_UNSIGNED_LIST] if unsigned else ())):
        sys.stderr.write(f"note: {remark}\n")
    return _OK


def _asked(args: argparse.Namespace) -> Asked:
    revoked: frozenset[str] = frozenset()
    if args.revocation_list is not None:
        key = None if args.revocation_key is None else read_public_key(args.revocation_key)
        revoked = read_revocations(read_file(args.revocation_list), key)
    return Asked(
        signatures=args.signatures or args.public_key is not None,
        public_key=args.public_key,
        strict=args.strict,
        head=args.head,
        revoked=revoked,
    )


def _flags_given(args: argparse.Namespace) -> bool:
    valued = (args.public_key, args.head, args.revocation_list, args.revocation_key)
    given = any(each is not None for each in valued)
    return given or any((args.chain, args.signatures, args.strict))


def _check_flags(args: argparse.Namespace) -> None:
    """Raise Unreadable for a flag that would be ignored here: it would promise a check."""
    if args.path is None:
        raise Unreadable("which PATH? --store is not where proof records are")
    if args.head is not None and not HASH.fullmatch(args.head):
        raise Unreadable(f"--head {args.head[:80]!r} is not sha256: and 64 lower-case hex digits")
    if args.revocation_key is not None and args.revocation_list is None:
        raise Unreadable("--revocation-key needs --revocation-list, the list that it signed")
    for name in _OURS:
        if getattr(args, name, None):
            raise Unreadable(
                f"--{name} is for stores and receipts; proof records take --signatures "
                "--public-key, --chain, --bundle, --head and --strict"
            )
