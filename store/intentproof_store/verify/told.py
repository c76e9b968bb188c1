"""What leaves tell of other bytes, erased, lost or in quarantine; and what they tell twice."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import orjson
from intentproof_schemas import QUARANTINE_DOMAIN, QUARANTINE_SALT_BYTES, commitment

from ..files import read_regular
from ..layout import quarantine_file
from .event_ids import repeated
from .report import LogReport, Problem
from .segment_check import LeavesReport

Pieces = Sequence[LeavesReport]


def _details(pieces: Pieces, *kinds: str) -> Iterator[tuple[int, dict[str, object]]]:
    for leaves in pieces:
        for index, kind, text in leaves.details:
            if kind in kinds:
                try:
                    detail = orjson.loads(text)
                except ValueError:
                    detail = {}
                yield index, detail if isinstance(detail, dict) else {}


def check_erased(report: LogReport, pieces: Pieces) -> None:
    """Every erased half is named, by log index, by an erasure or retention leaf."""
    erased = [each for leaves in pieces for each in leaves.erased]
    if not erased:
        return
    named: set[tuple[int, str]] = set()
    for _, detail in _details(pieces, "erasure", "retention"):
        which = detail.get("members", "all")
        for index in _indexes(detail.get("log_indexes")):
            named.update((index, m) for m in ("context", "payload") if which in (m, "all"))
    for each in erased:
        if tuple(each) not in named:
            message = f"the {each.member} is gone, and no leaf of the log says that it was erased"
            report.problems.append(
                Problem("erased_without_leaf", message, log_index=each.log_index)
            )


def _indexes(listed: object) -> Iterable[int]:
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, int):
            yield each
        elif isinstance(each, list) and len(each) == 2 and all(isinstance(n, int) for n in each):
            yield from range(each[0], each[1] + 1)


def check_quarantine(report: LogReport, pieces: Pieces, folder: Path) -> None:
    """The bytes that a quarantine leaf commits to are at hand, and whole."""
    for index, detail in _details(pieces, "quarantine"):
        name = quarantine_file(str(detail.get("sha256", "")))
        path = folder / name
        if not name or "/" in name or not path.is_file():
            message = "the bytes of a quarantined span are missing"
            report.problems.append(Problem("quarantine_missing", message, name, index))
            continue
        raw = read_regular(path)
        salt, content = raw[:QUARANTINE_SALT_BYTES], raw[QUARANTINE_SALT_BYTES:]
        if commitment(QUARANTINE_DOMAIN, salt, content) != detail.get("sha256"):
            message = "the bytes of a quarantined span are not what was logged"
            report.problems.append(Problem("quarantine_differs", message, name, index))


def tell_losses(report: LogReport, pieces: Pieces) -> None:
    """A remark for each leaf in which the receiver tells that hot bytes were lost or set aside."""
    for index, detail in _details(pieces, "gap"):
        if detail.get("reason") == "hot_damaged":
            lost = detail.get("lost")
            named = ", ".join(map(str, lost)) if isinstance(lost, list) and lost else "not known"
            message = f"the receiver lost or set aside hot bytes before this; leaves: {named}"
            report.problems.append(Problem("gap", message, log_index=index))


def check_repeated(report: LogReport, pieces: Pieces) -> None:
    """An event stands in its log once: the same again is a duplicate, which has no leaf."""
    found = [each for leaves in pieces for each in leaves.marks]
    if not found:
        return
    indexes = np.concatenate([index for index, _ in found])
    for later, earlier in repeated(np.concatenate([marks for _, marks in found])):
        pair = sorted((int(indexes[later]), int(indexes[earlier])))
        if pair[0] != pair[1]:  # of overlapping files the same leaf is read twice
            message = f"the event at leaf {pair[0]} is there again"
            report.problems.append(Problem("event_repeated", message, log_index=pair[1]))
