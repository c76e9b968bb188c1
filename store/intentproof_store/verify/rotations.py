"""From a key that the reader trusts to those that the log names after it, or before it.

A `key-rotation` leaf under a checkpoint that both keys signed makes the one vouch for the other.
What only a key signs that no such leaf names is not accepted, nor what an old key signs later.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from intentproof_schemas import TENANT, WRITER

from ..errors import FrameInvalid, NoteInvalid
from ..files import read_regular
from ..frames import Frame
from ..hotlog import read_hot
from ..layout import Layout, parse_checkpoint
from ..note import VerifierKey, parse_note
from ..segments import find_segments
from .life import LifeLeaf
from .report import LogReport, Problem


def candidate_keys(layout: Layout, hot: Path, keys: Iterable[VerifierKey]) -> list[VerifierKey]:
    """Keys that rotation leaves connect with those given, of logs that other keys signed, too.

    They are candidates only: the leaves were read, and not judged. `check_rotations` does that.
    """
    by_log: dict[str, list[VerifierKey]] = {}
    for key in keys:
        by_log.setdefault(key.name, []).append(key)
    found: list[VerifierKey] = []
    for name, own in by_log.items():
        parts = name.rsplit("/", 2)
        if len(parts) != 3 or not TENANT.fullmatch(parts[1]) or not WRITER.fullmatch(parts[2]):
            continue  # a name of somebody else's making, and no path
        if _has_other_signer(layout.log(parts[1], parts[2]), own):
            found += _connected(own, _leaves(layout, hot, parts[1], parts[2]))
    return found


def _has_other_signer(folder: Path, own: Sequence[VerifierKey]) -> bool:
    """Whether a checkpoint has a signature in the log's name by a key that is none of these."""
    known = {key.key_id for key in own}
    for path in folder.glob("checkpoint.*") if folder.is_dir() else ():
        if parse_checkpoint(path.name) is None:
            continue
        try:
            lines = parse_note(read_regular(path)).signatures
        except (OSError, NoteInvalid):
            continue  # what is wrong with it is told where it is judged
        if any(line.name == own[0].name and line.key_id not in known for line in lines):
            return True
    return False


def _connected(
    own: Sequence[VerifierKey], leaves: Iterable[dict[str, object]]
) -> list[VerifierKey]:
    pairs = [pair for leaf in leaves if (pair := _pair(leaf.get("detail"))) is not None]
    reached = list(own)
    for _ in pairs:
        for old, new in pairs:
            if (old in reached) != (new in reached) and old.name == new.name == own[0].name:
                reached.append(new if old in reached else old)
    return reached[len(own) :]


def _leaves(layout: Layout, hot: Path, tenant: str, writer: str) -> Iterator[dict[str, object]]:
    """Every rotation leaf at hand, as its bytes say."""
    for segment in find_segments(layout, tenant)[0]:
        if segment.name.writer == writer:
            wanted = [("kind", "==", "key-rotation")]
            try:
                table = pq.read_table(
                    segment.path, columns=["leaf"], filters=wanted, partitioning=None
                )
            except (OSError, pa.ArrowException):
                continue  # damaged: told where the segment is judged
            yield from _parsed(table.column(0).to_pylist())
    for _, frame in read_hot(hot, writer):
        if isinstance(frame, Frame) and frame.tenant == tenant:
            try:
                rows = frame.rows()
            except FrameInvalid:
                continue
            rotations = rows.filter(pc.equal(rows.column("kind"), "key-rotation"))
            yield from _parsed(rotations.column("leaf").to_pylist())


def _parsed(leaves: Iterable[bytes | None]) -> Iterator[dict[str, object]]:
    for raw in leaves:
        try:
            members = orjson.loads(raw or b"")
            members["detail"] = orjson.loads(members["detail"])
        except (ValueError, KeyError, TypeError):
            continue
        yield members


def _pair(detail: object) -> tuple[VerifierKey, VerifierKey] | None:
    if not isinstance(detail, dict):
        return None
    try:
        return (
            VerifierKey.parse(str(detail.get("old_key", ""))),
            VerifierKey.parse(str(detail.get("new_key", ""))),
        )
    except NoteInvalid:
        return None


def check_rotations(log: LogReport, pinned: Sequence[VerifierKey]) -> None:
    """Judge who signed each checkpoint of a log, from the keys that the reader brought."""
    suffix = f"/{log.tenant}/{log.writer}"
    accepted = {key for key in pinned if key.name.endswith(suffix)}
    if not accepted:
        return
    leaves = [leaf for leaf in log.life.leaves if leaf.kind == "key-rotation"]
    turned: set[int] = set()
    for _ in leaves:
        for leaf in leaves:
            pair = _pair(leaf.detail)
            if leaf.index not in turned and pair is not None and accepted & set(pair):
                turned.add(leaf.index)
                if _check_turn(log, leaf, *pair):
                    accepted |= set(pair)
    for size, signers in sorted(log.life.signers.items()):
        if not signers & accepted:
            message = "signed by a key only that no leaf under a trusted signature names"
            log.problems.append(Problem("key_not_named", message, f"checkpoint.{size}"))


def _check_turn(log: LogReport, leaf: LifeLeaf, old: VerifierKey, new: VerifierKey) -> bool:
    """The first checkpoint over the leaf is by both keys, and later ones are by the new."""
    over = sorted(size for size in log.life.signers if size > leaf.index)
    if not over or not {old, new} <= log.life.signers[over[0]]:
        message = "this leaf names a new key, and the first checkpoint over it is not by both keys"
        log.problems.append(Problem("rotation_invalid", message, log_index=leaf.index))
        return False
    for size in over[1:]:
        signers = log.life.signers[size]
        if old in signers and new not in signers:
            message = f"signed by a key that the log gave up at leaf {leaf.index}"
            log.problems.append(Problem("key_given_up", message, f"checkpoint.{size}"))
    message = (
        f"the key {old.key_id.hex()} was replaced by {new.key_id.hex()}: "
        f"both signed the checkpoint of {over[0]} leaves"
    )
    log.problems.append(Problem("key_rotated", message, log_index=leaf.index))
    return True
