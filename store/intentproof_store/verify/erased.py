"""What leaves claim to be gone: halves of events, quarantined bytes, whole segments.

A claim counts where its leaf is under a signed checkpoint, and only for leaves before it: what is
not signed excuses nothing, and nothing can be excused in advance.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from ..columns import HALVES
from ..ranges import Array, Ranges
from .leaves import LeavesReport
from .report import LogReport, Problem

Pieces = Sequence[LeavesReport]
_TOLD_MAX = 100  # problems of one kind: a missing leaf may contradict every row


@dataclass(frozen=True)
class Claims:
    """The leaves that lack a half, or are gone, by what the log says."""

    halves: dict[str, Ranges]
    dropped: Ranges

    @property
    def quarantined(self) -> Ranges:
        """Where a quarantine leaf among these stands, its bytes are gone."""
        return Ranges.of([*self.halves["payload"].pairs, *self.dropped.pairs])


def details_of(pieces: Pieces, *kinds: str) -> Iterator[tuple[int, str, dict[str, object]]]:
    """The details of the leaves of these kinds, with their places."""
    for leaves in pieces:
        for index, kind, text in leaves.details:
            if kind in kinds:
                try:
                    detail = orjson.loads(text)
                except ValueError:
                    detail = {}
                yield index, kind, detail if isinstance(detail, dict) else {}


def claims_of(pieces: Pieces, signed: int) -> Claims:
    """What the erasure and retention leaves below the signed size claim."""
    halves: dict[str, list[tuple[int, int]]] = {half: [] for half in HALVES}
    dropped: list[tuple[int, int]] = []
    for index, kind, detail in details_of(pieces, "erasure", "retention"):
        if index >= signed:
            continue
        named = Ranges.read(detail.get("log_indexes"), below=index).pairs
        which = detail.get("members", "all")
        for half in HALVES:
            if which in (half, "all"):
                halves[half] += named
        if kind == "retention" and detail.get("dropped") == "leaves":
            dropped += named
    return Claims({half: Ranges.of(named) for half, named in halves.items()}, Ranges.of(dropped))


def check_erased(report: LogReport, pieces: Pieces, claims: Claims) -> None:
    """Every erased half is claimed; a claimed one that is still there is told of."""
    standing = 0
    for half in HALVES:
        for leaves in pieces:
            gone = leaves.gone(half)
            unclaimed = gone[~claims.halves[half].contains(gone)]
            for index in unclaimed[:_TOLD_MAX].tolist():
                message = f"the {half} is gone, and no leaf of the log says that it was erased"
                report.problems.append(Problem("erased_without_leaf", message, log_index=index))
            _count(report, half, len(gone))
            standing += _still_there(leaves, gone, claims.halves[half])
    if standing:
        message = (
            f"the log says that the halves of events were erased, and {standing} are still there: "
            "a start of the receiver, or the same `erase` again, finishes it"
        )
        report.problems.append(Problem("erasure_unfinished", message))


def _count(report: LogReport, half: str, gone: int) -> None:
    report.erased[half] = report.erased.get(half, 0) + gone


def _still_there(leaves: LeavesReport, gone: Array, claimed: Ranges) -> int:
    if not claimed.meets(leaves.first, leaves.end - 1):
        return 0
    events = np.flatnonzero(np.frombuffer(leaves.event_indexes, np.uint8)) + leaves.first
    return int((claimed.contains(events) & ~np.isin(events, gone)).sum())


def tell_missing(report: LogReport, claims: Claims, first: int, end: int) -> None:
    """Leaves that nobody holds are missing, but for those that a claim says were dropped."""
    report.hash_only += end - first
    for low, high in claims.dropped.lacks(first, end - 1):
        report.hash_only -= high - low + 1
        message = f"leaves {low} to {high} are neither sealed nor hot"
        report.problems.append(Problem("leaves_missing", message, log_index=low))
