"""The store, the hot folder and --home: who may read them, what they stand on, how full it is."""

import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from .finding import Finding

DISK_FREE_MIN = 1 << 30  # a segment and its sealing need some room: below it, trouble is near
DAYS_LEFT_MIN, DAYS_LEFT_NOTE = 3, 14
_DAY = 86_400
_LEFTOVER_AFTER = 3_600.0  # what is younger may be on its way into place
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_NO_SECRETS = ("trusted.vkeys", "last-checkpoint", "writer")
_VOLATILE = ("tmpfs", "ramfs", "overlay")
_NETWORK = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "ceph",
    "glusterfs",
    "lustre",
    "fuse.sshfs",
)
MOUNTS = Path("/proc/self/mountinfo")


def place_findings(store: Path, hot: Path, home: Path, now: float) -> Iterator[Finding]:
    """Everything about the three folders."""
    yield _home(home)
    kinds = _file_systems(MOUNTS)
    for name, folder in (("store", store), ("hot", hot)):
        yield _disk(name, folder)
    yield from _apart(store, home)
    for name, folder in (("store", store), ("hot", hot), ("home", home)):
        yield from _file_system(name, folder, kinds)
        yield from _writable(name, folder)
    yield from _days_left(store, now)
    yield from _leftovers(store, hot, home, now)


def _home(home: Path) -> Finding:
    subject = f"home {home}"
    if not home.is_dir():
        return Finding(subject, "not there yet; `keys create` or `serve` makes it")
    try:
        open_paths = [path for path in (home, *home.iterdir()) if _open_to_others(path)]
    except PermissionError:
        return Finding(
            subject, "this user may not look in", "run the doctor as the receiver's user"
        )
    if open_paths:
        names = ", ".join(map(str, open_paths))
        return Finding(subject, "others may read secrets", f"chmod go= {names}")
    return Finding(subject, "for its owner only")


def _open_to_others(path: Path) -> bool:
    """Whether others than the owner may use `path`; public keys and checkpoints are no secret."""
    return path.name not in _NO_SECRETS and bool(path.stat().st_mode & _OTHERS)


def _standing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    path = folder.resolve()
    return next(one for one in (path, *path.parents) if one.exists())


def _disk(name: str, folder: Path) -> Finding:
    free = shutil.disk_usage(_standing(folder)).free
    subject = f"{name} {folder}"
    state = f"{free / (1 << 30):.1f} GiB free"
    if free < DISK_FREE_MIN:
        return Finding(subject, state, "make room, or move it: below 1 GiB the store is near full")
    return Finding(subject, state)


def _apart(store: Path, home: Path) -> Iterator[Finding]:
    subject = f"home {home}"
    if home.resolve().is_relative_to(store.resolve()):
        yield Finding(
            subject,
            "inside the store",
            "whoever gets a copy of the evidence gets the signing key: move it, set --home",
        )
    elif _standing(home).stat().st_dev == _standing(store).stat().st_dev:
        yield Finding(
            subject,
            "on the same disk as the store",
            "one lost disk takes the evidence and its keys: put --home on another",
            urgent=False,
        )


def _file_systems(mounts: Path) -> dict[Path, str]:
    """The type of each mount point. See proc(5), /proc/pid/mountinfo."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) > 4 and after:
            found[Path(fields[4].replace("\\040", " "))] = after.split()[0]
    return found


def _file_system(name: str, folder: Path, kinds: Mapping[Path, str]) -> Iterator[Finding]:
    path = folder.resolve()
    point = next((one for one in (path, *path.parents) if one in kinds), None)
    kind = kinds[point] if point is not None else ""
    subject = f"{name} {folder}"
    if kind in _VOLATILE:
        yield Finding(
            subject,
            f"on {kind}, which a restart or a new container empties",
            "what was acknowledged would be lost: mount a disk there",
        )
    elif kind in _NETWORK and name == "hot":
        yield Finding(
            subject,
            f"on {kind}, a network file system",
            "its fsync may not reach a disk, and each acknowledgement waits for it: use --hot on "
            "a local disk",
        )


def _writable(name: str, folder: Path) -> Iterator[Finding]:
    if not os.access(_standing(folder), os.R_OK | os.W_OK | os.X_OK):
        yield Finding(
            f"{name} {folder}",
            "this user may not write there",
            "run the doctor as the receiver's user, or give the folder to that user",
        )


def _days_left(store: Path, now: float) -> Iterator[Finding]:
    """From the segments of today and yesterday how long the disk lasts, if it goes on like that."""
    days = {time.strftime("%Y-%m-%d", time.gmtime(now - back)) for back in (0, _DAY)}
    found = [
        path.stat()
        for day in days
        for path in (store / "events").glob(f"tenant=*/date={day}/*.parquet")
    ]
    recent = [one for one in found if 0 <= now - one.st_mtime < _DAY]
    if not recent:
        return
    seconds = max(now - min(one.st_mtime for one in recent), 3_600.0)
    a_day = sum(one.st_size for one in recent) / seconds * _DAY
    left = shutil.disk_usage(store).free / max(a_day, 1.0)
    state = f"{a_day / (1 << 30):.2f} GiB a day: full in {min(left, 9_999):.0f} days"
    mend = "make room: move old dates to a larger disk, or give the store one"
    yield Finding(
        f"growth of {store}",
        state,
        mend if left < DAYS_LEFT_NOTE else "",
        urgent=left < DAYS_LEFT_MIN,
    )


def _leftovers(store: Path, hot: Path, home: Path, now: float) -> Iterator[Finding]:
    patterns = (
        (home, "*.tmp"),
        (store, "unfinished/*"),
        (store, "log/*/*/.*.tmp"),
        (store, "quarantine/*/.*.tmp"),
        (hot, "*/*.unfinished"),
    )
    old = [
        path
        for folder, pattern in patterns
        for path in folder.glob(pattern)
        if now - path.stat().st_mtime > _LEFTOVER_AFTER
    ]
    if old:
        yield Finding(
            f"leftovers {', '.join(map(str, old[:3]))}",
            f"{len(old)} files that a crash left unfinished",
            "no reader looks at them; delete them while the receiver is stopped",
            urgent=False,
        )
    aside = [path for path in hot.glob("*/set-aside/*") if path.is_file()]
    if aside:
        yield Finding(
            f"set aside {aside[0].parent}",
            f"{len(aside)} hot files that recovery could not take whole",
            "see the view `gaps` for what is missing; keep the files until that is explained",
            urgent=False,
        )
