"""What a receiver's log sends to its witnesses, and what it keeps of their answers.

Blocks on the disk; knows nothing of how the bytes travel.
"""

from dataclasses import dataclass
from pathlib import Path

from .checkpoints import checkpoint_sizes
from .cosignature import WitnessKey, cosigned_at, signature_line
from .cosigned import read_cosignature
from .durable import create_file
from .errors import NoteInvalid
from .extension import Extension
from .files import read_regular
from .identity import read_writer
from .layout import Layout
from .merkle import verify_consistency
from .note import Note, parse_checkpoint_text, parse_note
from .proofs import consistency_proof
from .tilenodes import TileNodes


@dataclass(frozen=True)
class WitnessedLog:
    """One log of this writer, as far as its checkpoints go. Thread-safe: it holds no state."""

    folder: Path
    tenant: str

    @classmethod
    def of(cls, store: Path, tenant: str, writer: str) -> "WitnessedLog":
        """The log of a tenant and a writer. Raises TenantInvalid."""
        return cls(Layout(store).log(tenant, writer), tenant)

    @property
    def newest_path(self) -> Path:
        """The file that changes with each new checkpoint."""
        return self.folder / "checkpoint"

    def newest_size(self) -> int:
        """The size of the newest checkpoint, 0 where there is none yet. Raises NoteInvalid."""
        try:
            raw = read_regular(self.newest_path)
        except FileNotFoundError:
            return 0
        return parse_checkpoint_text(parse_note(raw).text).size

    def signed_size(self) -> int:
        """The largest size that has a checkpoint, 0 if none has. Lists the folder."""
        return max(checkpoint_sizes(self.folder), default=0)

    def has_checkpoint(self, size: int) -> bool:
        """Whether this log has a checkpoint of that size."""
        return (self.folder / f"checkpoint.{size}").is_file()

    def submission(self, old_size: int, size: int) -> bytes:
        """The body of `add-checkpoint`: the checkpoint of `size` and its proof from `old_size`.

        A proof from a size that this log signed was verified. Raises OSError, StoreError and
        ProofInvalid where the store cannot prove it.
        """
        note = read_regular(self.folder / f"checkpoint.{size}")
        proof: list[bytes] = []
        if old_size:
            proof = consistency_proof(old_size, size, TileNodes(self.folder, size).node)
            self._check(old_size, note, proof)
        return Extension(old_size, tuple(proof), note).encode()

    def _check(self, old_size: int, note: bytes, proof: list[bytes]) -> None:
        path = self.folder / f"checkpoint.{old_size}"
        if path.exists():
            older = parse_checkpoint_text(parse_note(read_regular(path)).text)
            later = parse_checkpoint_text(parse_note(note).text)
            verify_consistency(
                size1=older.size, size2=later.size, root1=older.root, root2=later.root, proof=proof
            )

    def keep(self, size: int, answer: bytes, key: WitnessKey) -> int:
        """Keep a witness's cosignature of the checkpoint of `size`; its time in Unix seconds.

        Of several the first that was kept stands. When this returns it is durable. Raises
        NoteInvalid where the answer holds none of `key`, or where what stands is not one.
        """
        text = parse_note(read_regular(self.folder / f"checkpoint.{size}")).text
        note = parse_note(f"{text}\n".encode() + answer)
        line = _line(note, key)
        path = self.folder / f"checkpoint.{size}.{key.key_id.hex()}"
        if not create_file(path, line):
            line = read_cosignature(path)
        times = cosigned_at(parse_note(f"{text}\n".encode() + line), [key])
        if key not in times:
            raise NoteInvalid(f"{path.name} is not a cosignature of {key.name}")
        return times[key]


def _line(note: Note, key: WitnessKey) -> bytes:
    """The first signature line of a key; others are passed over. Raises NoteInvalid."""
    for signature in note.signatures:
        if (signature.name, signature.key_id) == (key.name, key.key_id):
            key.verify(note.text, signature.signature)
            return signature_line(signature.name, signature.key_id, signature.signature)
    raise NoteInvalid(f"no cosignature of {key.name} with the key id {key.key_id.hex()}")


def own_logs(store: Path, home: Path) -> list[WitnessedLog]:
    """The logs of the writer of `home`; none where it has no writer. Raises HomeInvalid."""
    writer = read_writer(home)
    layout = Layout(store)
    return [
        WitnessedLog(layout.log(tenant, writer), tenant)
        for tenant in layout.tenants()
        if writer is not None and writer in layout.writers(tenant)
    ]
