"""What leaves tell of other bytes, lost or in quarantine; and what they tell twice."""

from pathlib import Path

from intentproof_schemas import QUARANTINE_DOMAIN, QUARANTINE_SALT_BYTES, commitment

from ..files import read_regular
from ..layout import quarantine_file
from ..ranges import Ranges
from .erased import Pieces, details_of
from .event_ids import OrderedMarks, repeated_leaves
from .report import LogReport, Problem


def check_quarantine(report: LogReport, pieces: Pieces, folder: Path, erased: Ranges) -> None:
    """The bytes that a quarantine leaf commits to are at hand, and whole; or claimed as erased."""
    for index, _, detail in details_of(pieces, "quarantine"):
        name = quarantine_file(str(detail.get("sha256", "")))
        path = folder / name
        if erased.meets(index, index) and not path.exists():
            continue
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
    for index, _, detail in details_of(pieces, "gap"):
        if detail.get("reason") == "hot_damaged":
            lost = detail.get("lost")
            named = ", ".join(map(str, lost)) if isinstance(lost, list) and lost else "not known"
            message = f"the receiver lost or set aside hot bytes before this; leaves: {named}"
            report.problems.append(Problem("gap", message, log_index=index))


def check_repeated(report: LogReport, pieces: Pieces) -> None:
    """An event stands in its log once: the same again is a duplicate, which has no leaf."""
    kept = [leaves.ordered for leaves in pieces if leaves.ordered is not None]
    hot = OrderedMarks.of([each for leaves in pieces for each in leaves.marks])
    for first, again in sorted(repeated_leaves([*kept, hot])):
        message = f"the event at leaf {first} is there again"
        report.problems.append(Problem("event_repeated", message, log_index=again))
