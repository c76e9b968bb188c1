"""What checkpoints cost: processor time within one run of ingestion, by the thread that signs."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from intentproof_receiver.process import collecting_often
from intentproof_store.checkpoints import Signer
from intentproof_store.tree import TileTree

from .served import create_key, settings
from .whole import run_exporter
from .workload import Workload


@dataclass(frozen=True)
class Shares:
    """Processor time of a run's own: of its checkpoints, and of the tree that they are over."""

    checkpoints: float
    tree: float
    signed: int


def run_checkpoints(
    workload: Workload, folder: Path, *, checkpoint_seconds: float | None = None
) -> Shares:
    """One run with a checkpoint at each seal, and as often besides; None: as by default.

    A checkpoint is: the root, partial tiles, the signature, its files. The tree's nodes and full
    tiles are made of every leaf once, however often it is signed.
    """
    places = settings(folder)
    if checkpoint_seconds is not None:
        places = replace(places, checkpoint_seconds=checkpoint_seconds)
    key = create_key(places.home)
    spent = {"checkpoints": 0.0, "tree": 0.0, "signed": 0.0}
    with ExitStack() as stack:
        for owner, name, part in (
            (Signer, "sign", "checkpoints"),
            (TileTree, "write_partial", "checkpoints"),
            (TileTree, "root", "checkpoints"),
            (TileTree, "extend", "tree"),
        ):
            stack.enter_context(_timed(owner, name, part, spent))
        stack.enter_context(collecting_often())
        began = time.process_time()
        run_exporter(places, key, workload)
        whole = time.process_time() - began
    return Shares(spent["checkpoints"] / whole, spent["tree"] / whole, int(spent["signed"]))


@contextmanager
def _timed(owner: type, name: str, part: str, spent: dict[str, float]) -> Iterator[None]:
    """Add what each call of a method takes of its thread's processor time."""
    method: Any = getattr(owner, name)

    def timed(*args: Any, **options: Any) -> Any:
        began = time.thread_time()
        try:
            return method(*args, **options)
        finally:
            spent[part] += time.thread_time() - began
            spent["signed"] += name == "sign"

    with mock.patch.object(owner, name, timed):
        yield
