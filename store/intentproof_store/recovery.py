"""Opening a store for writing: what is on disk becomes the writer's state again.

1. Take the locks, read the identity.
2. Take the sealed segments of each of this writer's logs, and the tree that a checkpoint signs.
3. Replay the hot frames: authentic ones, in sequence, each row checked again.
4. Refuse a store that holds less than this writer signed.
5. If anything of the hot files was lost or strange, write what survived anew and say so in the log.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson

from .checkpoints import Signer, checkpoint_sizes
from .clerk import SealJob
from .durable import clear_asides, make_folder, sync_folder
from .errors import LedgerBehind
from .hotlog import HotLog, clear_unfinished
from .identity import Identity, last_checkpoints, load_identity, take_stop
from .layout import Layout, date_of
from .lock import WriterLock
from .logfactory import LogFactory, Replay
from .replay import Replayer
from .segments import Segment, file_sha256, find_segments
from .settings import LedgerSettings
from .silence import restart_of
from .standing import check_log_name
from .tenantlog import TenantLog
from .tree import TileTree

_log = logging.getLogger("intentproof.store")


@dataclass(frozen=True)
class Recovered:
    """A store that is ready to be written."""

    layout: Layout
    identity: Identity
    lock: "Locks"
    signer: Signer
    hot: HotLog
    factory: LogFactory
    logs: dict[str, TenantLog]
    trees: dict[str, TileTree]
    jobs: list[SealJob]


class Locks:
    """The writer's locks: one beside its keys, one beside its hot files."""

    def __init__(self, home: Path, hot: Path) -> None:
        self._locks = [WriterLock(home / "lock")]
        try:
            self._locks.append(WriterLock(hot / "lock"))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release both."""
        for lock in self._locks:
            lock.close()


def recover(settings: LedgerSettings, *, clock_ns: Callable[[], int]) -> Recovered:
    """Open a store for writing. Raises what `Ledger.open` raises. Blocks on the disk."""
    layout = Layout(settings.store)
    make_folder(settings.store)
    make_folder(settings.hot)
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    locks = Locks(settings.home, settings.hot)  # (1)
    try:
        return _recover(settings, layout, locks, clock_ns)
    except BaseException:
        locks.close()
        raise


def _recover(
    settings: LedgerSettings, layout: Layout, locks: Locks, clock_ns: Callable[[], int]
) -> Recovered:
    if not settings.new_writer:
        check_log_name(settings.home, settings.log_name)
    identity = load_identity(settings.home, settings.log_name, new_writer=settings.new_writer)
    _clear_unfinished(settings, layout, identity.writer)
    remembered = _remembered(identity.home)
    signer = Signer(layout, identity, remembered)
    former = _former_checkpoints(identity, remembered)
    factory = LogFactory(settings, layout, identity, signer, former)
    now_ns = clock_ns()
    replays = {
        tenant: factory.sealed(tenant, date_of(now_ns), _segments_of(layout, tenant, identity))
        for tenant in layout.tenants()
        if identity.writer in layout.writers(tenant)
    }
    replayer = Replayer(settings.hot, identity, factory, replays, date_of(now_ns))
    replayer.run()  # (3)
    _refuse_behind(layout, identity, replays)  # (4)
    for tenant, replay in replays.items():
        factory.sign_genesis(replay.log)
        factory.ensure_sealed_signed(tenant, replay)  # before their hot frames go
    hot = HotLog(
        settings.hot, identity.writer, key=identity.hot_key, next_number=replayer.next_number
    )
    replayer.settle(hot, now_ns)  # (5)
    for tenant, replay in replays.items():
        replay.log.checkpoint_size = max(checkpoint_sizes(layout.log(tenant, identity.writer)))
    stopped_ns = take_stop(identity.home)
    for replay in replays.values():
        replay.log.restart = restart_of(replay.log.last_received_ns, now_ns, stopped_ns)
    return Recovered(
        layout=layout,
        identity=identity,
        lock=locks,
        signer=signer,
        hot=hot,
        factory=factory,
        logs={tenant: replay.log for tenant, replay in replays.items()},
        trees={tenant: replay.tree for tenant, replay in replays.items()},
        jobs=[job for replay in replays.values() for job in replay.jobs],
    )


def _former_checkpoints(identity: Identity, remembered: dict[str, bytes]) -> dict[str, bytes]:
    """The last signed checkpoint of each tenant's log of the writer before this one."""
    suffix = f"/{identity.former_writer}"
    return {
        origin.rsplit("/", 2)[1]: raw
        for origin, raw in remembered.items()
        if origin.endswith(suffix)
    }


def _remembered(home: Path) -> dict[str, bytes]:
    last_checkpoints(home)  # refuses a damaged file
    path = home / "last-checkpoint"
    if not path.exists():
        return {}
    notes = orjson.loads(path.read_bytes())
    return {note.partition("\n")[0]: note.encode() for note in notes}


def _clear_unfinished(settings: LedgerSettings, layout: Layout, writer: str) -> None:
    """Delete what a kill left half written, where nobody but this writer writes."""
    for path in layout.unfinished.glob(f"{writer}-*"):
        path.unlink()
    for tenant in layout.tenants():
        clear_asides(layout.log(tenant, writer), below=True)
    clear_asides(settings.home, below=False)
    clear_unfinished(settings.hot, writer)


def _segments_of(layout: Layout, tenant: str, identity: Identity) -> list[Segment]:
    keys = identity.verifier_keys(tenant)
    superseded: list[Segment] = []
    segments, problems = find_segments(layout, tenant, keys=keys, superseded=superseded)
    _clear_superseded(superseded, segments, identity.writer)
    for problem in problems:
        _log.warning(
            "a file among the segments does not count",
            extra={"fields": {"file": str(problem.path), "reason": problem.message}},
        )
    return [segment for segment in segments if segment.name.writer == identity.writer]


def _clear_superseded(superseded: list[Segment], kept: list[Segment], writer: str) -> None:
    """Delete earlier revisions that a crash left or a copy brought back: what was erased is there.

    Only where the later one is, byte for byte, what was signed.
    """
    for earlier in superseded:
        later = next((each for each in kept if each.covers(earlier)), None)
        if earlier.name.writer != writer or later is None:
            continue
        if file_sha256(later.path) == later.note.sha256:
            earlier.path.unlink(missing_ok=True)
            sync_folder(earlier.path.parent)
            _log.warning(
                "an earlier revision of a segment was deleted",
                extra={"fields": {"file": str(earlier.path)}},
            )


def _refuse_behind(layout: Layout, identity: Identity, replays: dict[str, Replay]) -> None:
    """Refuse to write where less is at hand than was signed, here or in `--home`."""
    for origin, signed in last_checkpoints(identity.home).items():
        _, tenant, writer = origin.rsplit("/", 2)
        if writer != identity.writer:
            continue
        replay = replays.get(tenant)
        size = replay.log.size if replay else 0
        if size < signed.size:
            raise LedgerBehind(
                f"the log {origin} has {size} leaves here, but this writer signed {signed.size}: "
                "a restored or incomplete store. Bring the missing files back, "
                "or start a new log with --new-writer"
            )
    for tenant, replay in replays.items():
        sizes = checkpoint_sizes(layout.log(tenant, identity.writer))
        if sizes and sizes[-1] > replay.log.size:
            raise LedgerBehind(
                f"the log of {tenant} has {replay.log.size} leaves, but a checkpoint of "
                f"{sizes[-1]} is signed: bring the missing files back, or use --new-writer"
            )
