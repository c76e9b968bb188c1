"""A store, what its auditors hold, and an attacker who has the disk and perhaps the log's key."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from intentproof_schemas import ExecutionEvent, canonical
from intentproof_store import Undecodable, WitnessKey, cosign
from intentproof_store.columns import SEGMENT_SCHEMA
from intentproof_store.identity import load_identity
from intentproof_store.layout import SegmentName, parse_segment_file
from intentproof_store.merkle import Frontier
from intentproof_store.note import Checkpoint, SegmentNote, parse_note, sign_note
from intentproof_store.period import read_period
from intentproof_store.segments import file_sha256, write_segment
from intentproof_store.verify import Report, VerifyRequest, verify_store

from tests.store.support import NOON_NS, SECOND_NS, Clock, Place, append, event

OURS, THEIRS = "acme", "beta"
BATCH, BATCHES = 12, 3
HOUR_NS = 3600 * SECOND_NS
Rows = list[dict[str, Any]]
WITNESS = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))  # no attacker here has it
WITNESS_NAME = "witness.example/1"
PERIOD = read_period(
    "2026-11-21T12:00:00Z..2026-11-21T14:00:00Z"
)  # from the first batch to the last


def batch_of(number: int, **changes: Any) -> list[ExecutionEvent]:
    """The events of one batch; `changes` are made to the second of them."""
    made = [event(n, run_id="run-1") for n in range(number * BATCH, (number + 1) * BATCH)]
    made[1] = made[1]._replace(**changes)
    return made


def write_batch(where: Place, number: int, *, tenant: str = OURS, **changes: Any) -> None:
    """An hour of the receiver: a batch, sealed and under a checkpoint."""
    with where.ledger(Clock(NOON_NS + number * HOUR_NS)) as ledger:
        torn = [Undecodable(b"\xff" * 9, "invalid_utf8")] if number == 0 else []
        append(ledger, batch_of(number, **changes), torn, tenant=tenant)


@dataclass(frozen=True)
class Scene:
    """What there was before the attack, and what of it is outside of the attacker's reach."""

    place: Place
    outside: Path

    @property
    def vkeys(self) -> Path:
        """The log's public keys, as the auditor got them on paper."""
        return self.outside / "vkeys"

    @property
    def held(self) -> Path:
        """The checkpoint after the first batch, which the auditor kept."""
        return self.outside / "held"

    def after(self, batches: int) -> Place:
        """A copy of everything after so many batches, as an old backup has it."""
        return Place(self.outside / f"after-{batches}")

    def pinned(self, **more: Any) -> Report:
        """The verdict of an auditor who has the disk and the keys from paper."""
        request = VerifyRequest(
            store=self.place.layout.root, hot=self.place.hot, keys=self.vkeys, tenant=OURS
        )
        return verify_store(replace(request, **more))

    def holding(self) -> Report:
        """The verdict of one who also kept a checkpoint."""
        return self.pinned(known=self.held)

    def witnessed(self) -> Report:
        """The verdict of one who also asks for a witness, and for the whole period."""
        policy = self.outside / "policy"
        return self.pinned(keys=None, known=self.held, policy=policy, period=PERIOD)


def build(root: Path) -> Scene:
    """Three batches of our tenant and one of another, with a backup after each."""
    scene = Scene(Place(root / "here"), root / "outside")
    scene.outside.mkdir(parents=True)
    write_batch(scene.place, 0, tenant=THEIRS)
    for number in range(BATCHES):
        write_batch(scene.place, number)
        cosign_newest(scene.place, number)
        shutil.copytree(scene.place.root, scene.after(number + 1).root)
        if number == 0:
            shutil.copy(scene.place.log(OURS) / "checkpoint", scene.held)
    identity = load_identity(scene.place.home, "intentproof.local")
    own, witness = identity.verifier_key(OURS).vkey(), witness_key().vkey()
    scene.vkeys.write_text(own + "\n")
    (scene.outside / "policy").write_text(f"log {own}\nwitness w {witness}\nquorum w\n")
    return scene


def witness_key() -> WitnessKey:
    """The key of the only witness."""
    return WitnessKey(WITNESS_NAME, WITNESS.public_key().public_bytes_raw())


def cosign_newest(where: Place, number: int) -> None:
    """What an honest witness adds, seconds after a batch."""
    newest = where.log(OURS) / "checkpoint"
    text = parse_note(newest.read_bytes()).text
    time_s = (NOON_NS + number * HOUR_NS) // SECOND_NS + 5
    line = cosign(text, name=WITNESS_NAME, key=WITNESS, time_s=time_s)
    name = f"checkpoint.{text.splitlines()[1]}.{witness_key().key_id.hex()}"
    (where.log(OURS) / name).write_bytes(line)


class Attacker:
    """Reads and writes every file; with `key`, repairs every signature afterwards."""

    def __init__(self, scene: Scene, *, key: bool) -> None:
        self.scene, self.place, self._key = scene, scene.place, key
        self._identity = load_identity(scene.place.home, "intentproof.local")

    def segments(self, tenant: str = OURS) -> list[Path]:
        return sorted(self.place.layout.tenant_events(tenant).rglob("*.parquet"))

    def rows(self, tenant: str = OURS) -> list[Rows]:
        """The rows of each segment, in the log's order."""
        tables = (pq.read_table(path, partitioning=None) for path in self.segments(tenant))
        return [table.sort_by("log_index").to_pylist() for table in tables]

    def put(self, path: Path, rows: Rows) -> None:
        """Rows in the place of a segment's; the note over the file only with the key."""
        self._write(path, rows)
        self._sign_again(path)

    def put_bytes(self, path: Path, raw: bytes) -> None:
        """Bytes in the place of a segment's; the note over them only with the key."""
        path.write_bytes(raw)
        self._sign_again(path)

    def _sign_again(self, path: Path) -> None:
        if self._key:
            name = parse_segment_file(path.name)
            assert name is not None
            self._note(path, name, self._identity.signing_key)

    def forge(self, segments: Sequence[Rows], *, with_own_key: bool = False) -> None:
        """The whole log anew from these rows: indexes, segments, notes and checkpoints."""
        own = Ed25519PrivateKey.generate()
        key = own if with_own_key else self._identity.signing_key
        folder, days = self.place.log(OURS), [path.parent for path in self.segments()]
        signed = {path.name: path.read_bytes() for path in folder.glob("checkpoint.*")}
        days += [days[-1]] * len(segments)
        shutil.rmtree(folder)
        for path in self.segments():
            path.unlink()
        folder.mkdir()
        tree = Frontier()
        for rows, day in zip(segments, days, strict=False):
            first = tree.size
            for row in rows:
                row["log_index"] = tree.size
                tree.append(hashlib.sha256(b"\x00" + row["leaf"]).digest())
                if tree.size == 1:
                    self._checkpoint(tree, key)
            name = SegmentName(self.place.writer, first, tree.size - 1, 0)
            self._write(day / name.file(), rows)
            self._note(day / name.file(), name, key)
            self._checkpoint(tree, key)
        self._keep(signed)

    def _keep(self, signed: dict[str, bytes]) -> None:
        """What was signed and cosigned before, where it still fits."""
        for path in sorted(self.place.log(OURS).glob("checkpoint.*")):
            old = signed.get(path.name)
            if old is not None and parse_note(old).text == parse_note(path.read_bytes()).text:
                for name in signed:
                    if name == path.name or name.startswith(f"{path.name}."):
                        (path.parent / name).write_bytes(signed[name])

    def restore(self, batches: int) -> None:
        """An old backup in place of the store and of all that this machine remembers."""
        for name in ("proofs", "hot", "home"):
            shutil.rmtree(self.place.root / name, ignore_errors=True)
            old = self.scene.after(batches).root / name
            if old.exists():
                shutil.copytree(old, self.place.root / name)

    def start_over(self) -> None:
        """Nothing left but the identity: key and writer."""
        for name in ("proofs", "hot"):
            shutil.rmtree(self.place.root / name, ignore_errors=True)
        (self.place.home / "last-checkpoint").unlink()

    def _write(self, path: Path, rows: Rows) -> None:
        table = pa.Table.from_pylist(rows, schema=SEGMENT_SCHEMA)
        path.unlink(missing_ok=True)
        write_segment(table.to_batches(), path)

    def _note(self, path: Path, name: SegmentName, key: Ed25519PrivateKey) -> None:
        origin = self._identity.origin(OURS)
        numbers = (name.first, name.last, name.rev, path.stat().st_size)
        text = SegmentNote(origin, *numbers, file_sha256(path)).text()
        (self.place.log(OURS) / name.note()).write_bytes(sign_note(text, name=origin, key=key))

    def _checkpoint(self, tree: Frontier, key: Ed25519PrivateKey) -> None:
        origin = self._identity.origin(OURS)
        text = Checkpoint(origin, tree.size, tree.root()).text()
        for name in (f"checkpoint.{tree.size}", "checkpoint"):
            raw = sign_note(text, name=origin, key=key)
            (self.place.log(OURS) / name).write_bytes(raw)


def releafed(row: dict[str, Any], **members: str) -> dict[str, Any]:
    """A row whose leaf has other members, and whose columns follow."""
    leaf = json.loads(row["leaf"]) | members
    shown = {name: value for name, value in members.items() if name in row}
    return row | shown | {"leaf": canonical(leaf)}
