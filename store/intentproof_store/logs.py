"""Which logs a store has, with their latest checkpoint and the keys that sign them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .checkpoints import checkpoint_sizes
from .errors import HomeInvalid, NoteInvalid
from .files import read_regular
from .identity import trusted_keys
from .layout import Layout, check_tenant
from .note import Checkpoint, VerifierKey, open_note, read_checkpoint


@dataclass(frozen=True)
class LogEntry:
    """A log: its latest checkpoint, whether a trusted key signed it, and what is wrong with it."""

    tenant: str
    writer: str
    checkpoint: Checkpoint | None = None
    trusted: bool = False
    problem: str = ""


def list_logs(store: Path, home: Path, tenant: str | None = None) -> list[LogEntry]:
    """Every log of the store, or of a tenant, by tenant and writer. Reads checkpoints alone."""
    layout = Layout(store)
    keys = trusted_keys(home)
    tenants = layout.tenants() if tenant is None else [check_tenant(tenant)]
    return [
        _entry(layout, name, writer, keys) for name in tenants for writer in layout.writers(name)
    ]


def _entry(layout: Layout, tenant: str, writer: str, keys: Sequence[VerifierKey]) -> LogEntry:
    folder = layout.log(tenant, writer)
    sizes = checkpoint_sizes(folder)
    if not sizes:
        return LogEntry(tenant, writer, problem="no checkpoint")
    try:
        raw = read_regular(folder / f"checkpoint.{sizes[-1]}")
        checkpoint = read_checkpoint(raw)
        known = [key for key in keys if key.name == checkpoint.origin]
        if known:
            open_note(raw, known)
    except (NoteInvalid, OSError) as error:
        return LogEntry(tenant, writer, problem=str(error))
    if not checkpoint.origin.endswith(f"/{tenant}/{writer}") or checkpoint.size != sizes[-1]:
        return LogEntry(tenant, writer, problem="a checkpoint of another log or size")
    return LogEntry(tenant, writer, checkpoint, bool(known))


def log_keys(home: Path, tenant: str | None = None) -> list[VerifierKey]:
    """The public keys in `trusted.vkeys`, all or those of a tenant's logs.

    Raises HomeInvalid where there is no such home.
    """
    if not home.is_dir():
        raise HomeInvalid(f"there is no home at {str(home)!r}: give --home, or INTENTPROOF_HOME")
    keys = trusted_keys(home)
    if tenant is None:
        return list(keys)
    wanted = check_tenant(tenant)
    return [key for key in keys if key.name.split("/")[1:2] == [wanted]]
