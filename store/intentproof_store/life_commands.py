"""`intentproof-otel log retire-writer` and `log rotate-key`: what is done to a log as a whole."""

import argparse
import sys
from pathlib import Path
from typing import Any

from .errors import HomeInvalid, LedgerBehind, LedgerLocked, LogNameChanged, StoreMissing
from .identity import load_identity, log_name_of, read_writer, trusted_keys
from .layout import Layout, check_tenant
from .ledger import Ledger
from .present import shown
from .roster import newest_checkpoint
from .rotation import begin_rotation
from .settings import LedgerSettings

_OK, _INVALID, _BLOCKED = 0, 6, 8  # contract §7


def register_life(commands: Any) -> None:
    """Add `retire-writer` and `rotate-key` to the commands of `log`."""
    retire = commands.add_parser(
        "retire-writer", help="say that a log ends: its silence is no longer one"
    )
    retire.add_argument(
        "writer", nargs="?", metavar="WRITER", help="see `log list` (default: this home's own)"
    )
    retire.add_argument("--tenant", required=True, help="whose log")
    retire.add_argument("--reason", help="why, for whoever reads the log; no names of people")
    retire.set_defaults(run=run_retire)
    rotate = commands.add_parser(
        "rotate-key", help="sign with a new key from here on; the log says so, signed by both"
    )
    rotate.set_defaults(run=run_rotate)


def run_retire(args: argparse.Namespace) -> int:
    """Append a `writer-retired` leaf; the exit code of contract §7."""
    try:
        told = retire_writer(
            _settings(args), check_tenant(args.tenant), args.writer, reason=args.reason
        )
    except (LedgerLocked, LedgerBehind, LogNameChanged) as error:
        sys.stderr.write(f"log retire-writer: {shown(str(error))}\n")
        return _BLOCKED
    except (HomeInvalid, StoreMissing, ValueError) as error:
        sys.stderr.write(f"log retire-writer: {shown(str(error))}\n")
        return _INVALID
    sys.stdout.write(f"{shown(told)}\n")
    return _OK


def run_rotate(args: argparse.Namespace) -> int:
    """Change the key of this home's logs; the exit code of contract §7.

    Where the receiver runs, its next start does it: a key in use is never changed under it.
    """
    try:
        settings = _settings(args)
        begin_rotation(settings.home)
        Ledger.open(settings).close()
    except LedgerLocked as error:
        later = "the receiver rotates the key when it is next started; the next key is in --home"
        sys.stderr.write(f"log rotate-key: {shown(str(error))}; {later}\n")
        return _OK
    except (LedgerBehind, LogNameChanged) as error:
        sys.stderr.write(f"log rotate-key: {shown(str(error))}\n")
        return _BLOCKED
    except (HomeInvalid, StoreMissing) as error:
        sys.stderr.write(f"log rotate-key: {shown(str(error))}\n")
        return _INVALID
    identity = load_identity(settings.home, settings.log_name)
    names = sorted({key.name for key in trusted_keys(settings.home)})
    tenants = [name.rsplit("/", 2)[1] for name in names if name.endswith(f"/{identity.writer}")]
    sys.stdout.write("".join(f"{identity.verifier_key(each).vkey()}\n" for each in tenants))
    return _OK


def retire_writer(
    settings: LedgerSettings, tenant: str, writer: str | None, *, reason: str | None = None
) -> str:
    """Say in this home's log of the tenant that a log ends, durably and signed; the writer's id.

    The receiver of this home must not run. Another writer's log must have a checkpoint that a key
    of `trusted.vkeys` signed: the leaf holds it, and `verify` asks for no less and no more. This
    home's own, where it has ended, is not ended again. Raises LedgerLocked, HomeInvalid, and
    ValueError where there is no such log.
    """
    layout = Layout(settings.store)
    own = read_writer(settings.home)
    writer = writer or str(own)
    signed = newest_checkpoint(layout, tenant, writer, trusted_keys(settings.home))
    if signed is None:
        raise ValueError(
            f"no log of {tenant} by {writer} that a key of {settings.home / 'trusted.vkeys'} signed"
        )
    detail = {"writer": writer}
    if writer != own:
        detail["checkpoint"] = signed[0]
    if reason:
        detail["reason"] = reason
    with Ledger.open(settings) as ledger:
        if writer != own or not ledger.has_ended(tenant):  # another may have gone on since
            ledger.tell(tenant, "writer-retired", detail).result()
    return writer


def _settings(args: argparse.Namespace) -> LedgerSettings:
    """The settings of a ledger that another process will go on with. Raises HomeInvalid."""
    home: Path = args.home
    if not args.store.is_dir():
        raise StoreMissing(args.store)
    log_name = log_name_of(home)
    if log_name is None:
        raise HomeInvalid(f"no receiver has written with the home {str(home)!r}: give --home")
    return LedgerSettings(store=args.store, home=home, hot=args.hot, log_name=log_name)
