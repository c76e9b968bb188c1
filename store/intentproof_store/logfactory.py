"""The writer's state of one log, made from what is sealed, or from nothing."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from .checkpoints import Signer, checkpoint_sizes
from .clerk import SealJob
from .durable import write_file
from .errors import LedgerBehind, NoteInvalid, StoreError
from .hotlog import HotLog, NewFrame
from .identity import Identity, trust
from .layout import Layout, date_of
from .lookup import SegmentLookUp, details_of
from .merkle import leaf_hash
from .note import open_note, parse_checkpoint_text, read_checkpoint
from .quarantine import Quarantine
from .roster import Roster
from .rows import RowMaker
from .sameness import Sameness
from .segments import Segment
from .settings import LedgerSettings
from .silence import interval_ms
from .tenantlog import KEPT_KINDS, TenantLog
from .tree import TileTree


@dataclass
class Replay:
    """One log while it is opened: its state, its tree as far as sealed, the seals that are due."""

    log: TenantLog
    tree: TileTree
    jobs: list[SealJob] = field(default_factory=list)
    lost: list[tuple[int, int]] = field(default_factory=list)


class LogFactory:
    """Makes the writer's state of a log, from what is sealed or from nothing."""

    def __init__(
        self,
        settings: LedgerSettings,
        layout: Layout,
        identity: Identity,
        signer: Signer,
        former: dict[str, bytes],
    ) -> None:
        self._settings = settings
        self._layout = layout
        self._identity = identity
        self._signer = signer
        self._former = former
        self._look_up = SegmentLookUp()
        self._early_path = identity.home / "early-ids"
        self._early: list[list[str]] = _read_early(self._early_path)

    def close(self) -> None:
        """Release the look-up engine."""
        self._look_up.close()

    def create(self, tenant: str, hot: HotLog, received_ns: int) -> tuple[TenantLog, TileTree]:
        """A new log with its genesis leaf, durable and not signed yet."""
        log, tree = self.blank(tenant, date_of(received_ns))
        maker = RowMaker(tenant, self._identity.writer, received_ns)
        genesis = self._genesis(tenant)
        maker.add_detail("genesis", genesis)
        refs = hot.append([NewFrame(tenant, maker.batch(0), log.day)])
        (written,) = hot.read(refs)  # what is signed is what stands on the disk
        log.unsigned_genesis = leaf_hash(written.column("leaf")[0].as_py())
        log.took(refs)
        log.last_received_ns = received_ns
        log.learn(0, "genesis", orjson.dumps(genesis).decode())
        return log, tree

    def sign_genesis(self, log: TenantLog) -> None:
        """Sign the checkpoint of size 1 before a log's first acknowledgement; once."""
        if log.unsigned_genesis is None:
            return
        trust(self._identity.home, self._identity.verifier_key(log.tenant))
        genesis = TileTree.open(self.log_folder(log.tenant), 0)
        genesis.extend(log.unsigned_genesis)
        genesis.write_partial()
        self._signer.sign(log.tenant, 1, genesis.root())
        log.unsigned_genesis = None
        log.checkpoint_size = max(log.checkpoint_size, 1)

    def log_folder(self, tenant: str) -> Path:
        """Where this writer's log of the tenant keeps its checkpoints and tiles."""
        return self._layout.log(tenant, self._identity.writer)

    def _genesis(self, tenant: str) -> dict[str, Any]:
        detail: dict[str, Any] = {
            "checkpoint_interval_ms": round(self._settings.checkpoint_seconds * 1000),
            "heartbeat_interval_ms": interval_ms(self._settings.heartbeat_seconds),
            "log_key": self._identity.verifier_key(tenant).vkey(),
        }
        former = self._former.get(tenant)
        if former is not None:
            origin = read_checkpoint(former).origin
            detail["former"] = {
                "checkpoint": former.decode(),
                "writer": origin.rpartition("/")[2],
            }
        return detail

    def blank(self, tenant: str, day: str) -> tuple[TenantLog, TileTree]:
        """The state of a log without leaves."""
        log = TenantLog(
            tenant=tenant,
            sameness=Sameness(look_up=self._look_up, today=day, aside=self._settings.hot),
            quarantine=Quarantine(
                self._layout.quarantine(tenant),
                aside=self._layout.unfinished_quarantine(tenant, self._identity.writer),
            ),
            roster=Roster(self._identity.writer),
            size=0,
            day=day,
        )
        log.sameness.add_early(event_id for name, event_id in self._early if name == tenant)
        return log, TileTree.open(self._layout.log(tenant, self._identity.writer), 0)

    def sealed(self, tenant: str, day: str, segments: list[Segment]) -> Replay:
        """The state of a log as its segments leave it."""
        log, _ = self.blank(tenant, day)
        for segment in segments:
            log.sameness.add_segments(segment.day, [segment.path])
            log.sealed_rows += segment.name.rows
        for told in details_of([segment.path for segment in segments], KEPT_KINDS):
            log.learn(*told)
        if segments:
            log.size = segments[-1].name.last + 1
            log.last_received_ns = _last_received_ns(segments[-1])
        tree = self._tree(tenant, segments, log.size)
        return Replay(log, tree)

    def ensure_sealed_signed(self, tenant: str, replay: Replay) -> None:
        """Sign the sealed leaves where a crash came between a segment and its checkpoint."""
        size = replay.tree.size
        if size > max(checkpoint_sizes(self.log_folder(tenant)), default=0):
            replay.tree.write_partial()
            self._signer.sign(tenant, size, replay.tree.root())

    def _tree(self, tenant: str, segments: list[Segment], size: int) -> TileTree:
        """The tree of the sealed leaves: from the newest checkpoint whose tiles hold, and rows."""
        folder = self._layout.log(tenant, self._identity.writer)
        tree = TileTree.open(folder, 0)
        for signed in reversed([each for each in checkpoint_sizes(folder) if each <= size]):
            try:
                found = TileTree.open(folder, signed)
            except StoreError:
                continue
            if found.root() == self.signed_root(tenant, signed):
                tree = found
                break
        for segment in segments:
            if segment.name.first > tree.size:
                raise LedgerBehind(
                    f"leaves {tree.size} to {segment.name.first - 1} of {tenant} are missing: "
                    "bring their segment back, or start a new log with --new-writer"
                )
            if segment.name.last >= tree.size:
                tree.extend(_leaf_hashes_from(segment, tree.size))
        return tree

    def signed_root(self, tenant: str, size: int) -> bytes:
        """The root that this writer signed at that size. Raises StoreError."""
        path = self._layout.log(tenant, self._identity.writer) / f"checkpoint.{size}"
        try:
            note, _ = open_note(path.read_bytes(), self._identity.verifier_keys(tenant))
            return parse_checkpoint_text(note.text).root
        except (OSError, NoteInvalid) as error:
            raise StoreError(f"{path}: {error}") from error

    def remember_early(self, early: Iterable[tuple[str, str]], logs: dict[str, TenantLog]) -> None:
        """Keep ids received more than a day before their completion, durably."""
        for tenant, event_id in early:
            self._early.append([tenant, event_id])
            logs[tenant].sameness.add_early([event_id])
        write_file(self._early_path, orjson.dumps(self._early), mode=0o600)


def _read_early(path: Path) -> list[list[str]]:
    try:
        found: list[list[str]] = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    return found


def _last_received_ns(segment: Segment) -> int:
    """When its last leaf was received: behind a step back of the clock not the latest moment."""
    last = [("log_index", "==", segment.name.last)]
    table = pq.read_table(segment.path, columns=["received_ns"], filters=last, partitioning=None)
    received_ns: int = table.column(0)[0].as_py()
    return received_ns


def _leaf_hashes_from(segment: Segment, first: int) -> bytes:
    table = pq.read_table(segment.path, columns=["log_index", "leaf"], partitioning=None)
    table = table.sort_by("log_index")
    leaves = table.column("leaf").slice(max(0, first - segment.name.first)).to_pylist()
    return b"".join(leaf_hash(leaf) for leaf in leaves)
