"""Every path of the store: nothing else builds one (contract §5). Pure.

Tenant names become folders, so that they are checked here, where folders are named.
"""

import re
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from intentproof_schemas import TENANT, WRITER

from .errors import TenantInvalid

_SEGMENT_FILE = re.compile(
    r"(?P<writer>[a-z][a-z0-9-]{0,39}-[0-9a-f]{8})-(?P<first>[0-9]{20})-(?P<last>[0-9]{20})-(?P<rev>[0-9]{6})"
    r"\.parquet"
)
_SEGMENT_NOTE = re.compile(r"segment\.(?P<first>[0-9]{20})-(?P<last>[0-9]{20})-(?P<rev>[0-9]{6})")
_CHECKPOINT = re.compile(r"checkpoint\.([0-9]{1,20})")
_ANCHOR = re.compile(r"anchor\.(0|[1-9][0-9]{0,18})\.[0-9a-f]{16}")
_COSIGNATURE = re.compile(r"checkpoint\.(0|[1-9][0-9]{0,19})\.([0-9a-f]{8})")
_DATE_FOLDER = re.compile(r"date=([0-9]{4}-[0-9]{2}-[0-9]{2})")
_TENANT_FOLDER = re.compile(r"tenant=(.+)")
TILE_LEVELS = 8  # of the tree in one tile
TILE_WIDTH = 1 << TILE_LEVELS
DAY_NS = 86_400 * 10**9


@dataclass(frozen=True, order=True)
class SegmentName:
    """What a segment's file name says: its writer, its leaves (last inclusive), its revision."""

    writer: str
    first: int
    last: int
    rev: int

    @property
    def rows(self) -> int:
        """How many leaves the name promises."""
        return self.last - self.first + 1

    def file(self) -> str:
        """The Parquet file's name."""
        return f"{self.writer}-{self.first:020d}-{self.last:020d}-{self.rev:06d}.parquet"

    def note(self) -> str:
        """The name of its signed note."""
        return f"segment.{self.first:020d}-{self.last:020d}-{self.rev:06d}"


def check_tenant(tenant: str) -> str:
    """The tenant id itself; TenantInvalid unless the contract allows it."""
    if not TENANT.fullmatch(tenant):
        raise TenantInvalid(tenant)
    return tenant


def parse_segment_file(name: str) -> SegmentName | None:
    """What a file name says, or None where it is not a segment's."""
    match = _SEGMENT_FILE.fullmatch(name)
    return _segment(match, match["writer"]) if match else None


def parse_segment_note(name: str, writer: str) -> SegmentName | None:
    """What a note's name says, or None where it is not a segment note's."""
    match = _SEGMENT_NOTE.fullmatch(name)
    return _segment(match, writer) if match else None


def _segment(match: re.Match[str], writer: str) -> SegmentName:
    return SegmentName(writer, int(match["first"]), int(match["last"]), int(match["rev"]))


def parse_checkpoint(name: str) -> int | None:
    """The size in `checkpoint.<size>`, or None for another name."""
    match = _CHECKPOINT.fullmatch(name)
    size = match[1] if match else ""
    return int(size) if size and str(int(size)) == size else None


def parse_cosignature(name: str) -> tuple[int, str] | None:
    """Size and hex key id in `checkpoint.<size>.<key id>`, or None for another name."""
    match = _COSIGNATURE.fullmatch(name)
    return (int(match[1]), match[2]) if match else None


def parse_anchor(name: str) -> int | None:
    """The size in `anchor.<size>.<hex>`, or None for another name."""
    match = _ANCHOR.fullmatch(name)
    return int(match[1]) if match else None


def token_name(anchor: str) -> str:
    """The name of the token beside an anchor's file."""
    return f"{anchor}.tsr"


def parse_date_folder(name: str) -> str | None:
    """The date of a `date=` folder."""
    match = _DATE_FOLDER.fullmatch(name)
    return match[1] if match else None


def day_number(ns: int) -> int:
    """The UTC day of Unix nanoseconds, counted from 1970-01-01."""
    return ns // DAY_NS


def day_text(day: int) -> str:
    """A day number as in folder names."""
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


def date_of(ns: int) -> str:
    """The UTC date of Unix nanoseconds, as in folder names."""
    return day_text(day_number(ns))


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """A tile's path below `tile/` (C2SP tlog-tiles): `<L>/<N>[.p/<W>]`."""
    groups = [f"{index % 1000:03d}"]
    rest = index // 1000
    while rest:
        groups.append(f"x{rest % 1000:03d}")
        rest //= 1000
    path = f"{level}/" + "/".join(reversed(groups))
    return path if width == TILE_WIDTH else f"{path}.p/{width}"


def quarantine_file(sha256: str) -> str:
    """The name of the file whose commitment a quarantine leaf has."""
    return sha256.removeprefix("sha256:")


@dataclass(frozen=True)
class Layout:
    """The folders of one store."""

    root: Path

    @property
    def events(self) -> Path:
        """Where sealed segments are."""
        return self.root / "events"

    @property
    def unfinished(self) -> Path:
        """Where a writer writes what is moved into a folder of several; no reader looks here.

        What stands here begins with the writer's id, who deletes at its start what a kill left.
        """
        return self.root / "unfinished"

    def unfinished_quarantine(self, tenant: str, writer: str) -> Path:
        """One file of a writer on its way into the tenant's quarantine."""
        return self.unfinished / f"{writer}-{check_tenant(tenant)}.quarantine"

    def tenant_events(self, tenant: str) -> Path:
        """One tenant's segments."""
        return self.events / f"tenant={check_tenant(tenant)}"

    def segment(self, tenant: str, day: str, name: SegmentName) -> Path:
        """One segment's file."""
        return self.tenant_events(tenant) / f"date={day}" / name.file()

    def tenant_log(self, tenant: str) -> Path:
        """One tenant's logs, a folder a writer."""
        return self.root / "log" / check_tenant(tenant)

    def log(self, tenant: str, writer: str) -> Path:
        """One log's checkpoints, segment notes and tiles."""
        return self.tenant_log(tenant) / writer

    def quarantine(self, tenant: str) -> Path:
        """What a tenant sent and could not be taken."""
        return self.root / "quarantine" / check_tenant(tenant)

    def tenants(self) -> list[str]:
        """Every tenant that has a log or a segment. Reads folder names."""
        found = {path.name for path in _folders(self.root / "log")}
        for folder in _folders(self.events):
            match = _TENANT_FOLDER.fullmatch(folder.name)
            found.add(match[1] if match else folder.name)
        return sorted(name for name in found if TENANT.fullmatch(name))

    def writers(self, tenant: str) -> list[str]:
        """Every writer that has a log of the tenant. Reads folder names."""
        names = (path.name for path in _folders(self.tenant_log(tenant)))
        return sorted(name for name in names if WRITER.fullmatch(name))


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
