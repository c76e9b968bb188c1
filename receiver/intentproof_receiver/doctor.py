"""The command `doctor`: looks at the set-up, changes nothing, and says what to mend."""

import argparse
import shutil
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .config import Config
from .errors import ReceiverError
from .keys import FILE_NAME, read_keys
from .serve import bind, config_of
from .tls_findings import certificates_may_send, transport_security

OK, INVALID = 0, 6
DISK_FREE_MIN = 1 << 30  # a segment and its sealing need some room: below it, trouble is near
BUILT_AFTER = 1_767_225_600  # 2026-01-01: a clock before that has not been set
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Finding(NamedTuple):
    """One thing looked at; `mend` says what to do, "" where all is well."""

    subject: str
    state: str
    mend: str = ""


def register(subparsers: Any) -> None:
    """Add `doctor` to the command line."""
    doctor = subparsers.add_parser("doctor", help="check the set-up, and say what to mend")
    doctor.add_argument("--config", metavar="FILE", help="settings as YAML")
    doctor.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what was found; 0 if there is nothing to mend, else 6."""
    try:
        config = config_of(args)
    except ReceiverError as error:
        findings = [Finding("config", "cannot be used", str(error))]
    else:
        findings = list(examine(config))
    for finding in findings:
        sys.stdout.write(
            f"{'MEND' if finding.mend else 'ok  '}  {finding.subject}: {finding.state}\n"
        )
        if finding.mend:
            sys.stdout.write(f"      {finding.mend}\n")
    return INVALID if any(finding.mend for finding in findings) else OK


def examine(config: Config, *, clock: Callable[[], float] = time.time) -> Iterator[Finding]:
    """Everything that can be looked at without the ledger's lock."""
    yield Finding("config", "valid")
    yield _home(config.home)
    if certificates_may_send(config, now=clock()) and not (config.home / FILE_NAME).exists():
        yield Finding("keys", "none, and none needed: client certificates are mapped")
    else:
        yield _keys(config.home / FILE_NAME)
    for name, folder in (("store", config.store), ("hot", config.hot_folder)):
        yield _disk(name, folder)
    for name, address in (("grpc", config.grpc), ("http", config.http)):
        yield _port(name, address)
    for told in transport_security(config, now=clock()):
        yield Finding(*told)
    now = clock()
    if now < BUILT_AFTER:
        yield Finding("clock", f"{now:.0f} seconds since 1970", "set the clock; run NTP")
    else:
        yield Finding("clock", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)))


def _home(home: Path) -> Finding:
    subject = f"home {home}"
    if not home.is_dir():
        return Finding(subject, "not there yet; `keys create` or `serve` makes it")
    open_paths = [path for path in (home, *home.iterdir()) if _open_to_others(path)]
    if open_paths:
        names = ", ".join(map(str, open_paths))
        return Finding(subject, "others may read secrets", f"chmod go= {names}")
    return Finding(subject, "for its owner only")


def _open_to_others(path: Path) -> bool:
    """Whether others than the owner may use `path`; public keys and checkpoints are no secret."""
    return bool(path.stat().st_mode & _OTHERS) and path.name not in (
        "trusted.vkeys",
        "last-checkpoint",
        "writer",
    )


def _keys(path: Path) -> Finding:
    subject = f"keys {path}"
    try:
        keys = read_keys(path)
    except ReceiverError as error:
        mend = "intentproof-otel keys create --tenant NAME" if not path.exists() else str(error)
        return Finding(subject, "no usable file of keys", mend)
    live = [key for key in keys.values() if not key.revoked]
    if not any("ingest" in key.roles for key in live):
        mend = "intentproof-otel keys create --tenant NAME"
        return Finding(subject, "no key that may send", mend)
    return Finding(subject, f"{len(live)} of {len(keys)} not revoked")


def _disk(name: str, folder: Path) -> Finding:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    subject = f"{name} {folder}"
    state = f"{free / (1 << 30):.1f} GiB free"
    if free < DISK_FREE_MIN:
        return Finding(subject, state, "make room, or move it: below 1 GiB the store is near full")
    return Finding(subject, state)


def _port(name: str, address: str) -> Finding:
    subject = f"{name} {address}"
    try:
        listener: socket.socket = bind(address)
    except (ReceiverError, OSError):
        return Finding(
            subject,
            "in use",
            f"if that is not your own receiver, stop it, or choose: serve --{name} HOST:PORT",
        )
    listener.close()
    return Finding(subject, "free")
