"""Whether a store may be written on as the writer of `--home`, as far as signed files tell.

Reads only and takes no lock: for `doctor`, and for the start, which looks at the leaves as well.
"""

from pathlib import Path

from .checkpoints import checkpoint_sizes
from .errors import LedgerBehind, LogNameChanged
from .identity import last_checkpoints, read_writer, trusted_keys
from .layout import Layout


def check_log_name(home: Path, log_name: str) -> None:
    """Raises LogNameChanged where this writer has signed under another log name, HomeInvalid."""
    writer = read_writer(home)
    for key in trusted_keys(home):
        former, _, of = key.name.rsplit("/", 2)
        if of == writer and former != log_name:
            raise LogNameChanged(
                f"log_name is {log_name!r}, but this writer's logs are signed as {former!r}: "
                "set it back, or start new logs with --new-writer"
            )


def check_standing(store: Path, home: Path, log_name: str) -> None:
    """Raises LogNameChanged, LedgerBehind or HomeInvalid where `serve` would refuse to go on.

    LedgerBehind is certain here where the store lacks a checkpoint that `--home` remembers; leaves
    that are missing under one that is there are found at the start only.
    """
    check_log_name(home, log_name)
    writer = read_writer(home)
    for origin, signed in last_checkpoints(home).items():
        _, tenant, of = origin.rsplit("/", 2)
        if of == writer and signed.size not in checkpoint_sizes(Layout(store).log(tenant, of)):
            raise LedgerBehind(
                f"{home} remembers a checkpoint of {signed.size} leaves of {origin} that the store "
                "does not have: a restored or incomplete store. Bring the missing files back, or "
                "start a new log with --new-writer"
            )
