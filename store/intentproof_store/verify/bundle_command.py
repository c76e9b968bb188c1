"""`intentproof-otel verify BUNDLE`: what a bundle proves, in words and as JSON."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from intentproof_schemas import microseconds, timestamp

from ..bundle.archive import PACKED_BYTES_MAX, UNPACKED_BYTES_MAX, is_archive
from ..bundle.proof import ProvedBundle
from ..present import cell, shown
from ..receipt import Proved
from .bundle_check import judge_bundle
from .bundle_trust import Trusted
from .report import Outcome, Report
from .stamp_words import stamp_lines
from .witnessed import witnessed_lines

_HEAD_BYTES = 512
_EVENTS_SHOWN = 20
_WORDS = {
    Outcome.VERIFIED: "these events stand in the log as they were signed, and report.html says "
    "what they say",
    Outcome.UNANCHORED: "the bundle agrees with itself, but nothing from outside vouches for all "
    "of its checkpoints: give --key, --known or --policy, or see what is missing",
    Outcome.INCOMPLETE: "the bundle agrees with itself, and the time stamp you ask for is missing",
    Outcome.TAMPERED: "this bundle does not prove what it says",
    Outcome.FORK: "two signed statements cannot both be true",
}


def looks_like_bundle(path: Path) -> bool:
    """Whether a file can be read, and begins as a bundle does."""
    try:
        with path.open("rb") as file:
            return is_archive(file.read(_HEAD_BYTES))
    except OSError:
        return False  # whoever reads the whole of it says why not


def run_bundle(path: Path, trusted: Trusted, *, as_json: bool) -> int:
    """Verify a bundle and tell; the exit code of contract §7. Raises OSError."""
    with path.open("rb") as file:
        raw = file.read(max(PACKED_BYTES_MAX, UNPACKED_BYTES_MAX) + 1)
    report, proved = judge_bundle(raw, trusted)
    if as_json:
        sys.stdout.write(json.dumps(report.document(), indent=2) + "\n")
    else:
        sys.stdout.write("".join(f"{shown(line)}\n" for line in _lines(report, proved)))
    return report.outcome.exit_code


def _lines(report: Report, proved: ProvedBundle | None) -> Iterator[str]:
    yield f"{report.outcome.value.upper()}: {_WORDS[report.outcome]}"
    for log in report.logs:
        if log.writer:
            yield f"  log: {log.tenant}/{log.writer}, checkpoint over {log.size} leaves"
        yield from witnessed_lines(log)
        yield from (f"  {line}" for line in stamp_lines(log))
        for problem in log.problems:
            index = "" if problem.log_index is None else f" at leaf {problem.log_index}"
            where = f" [{problem.file}]" if problem.file else ""
            yield f"    {problem.code}{index}{where}: {problem.message}"
    if proved is not None:
        head = proved.content.head
        yield f"  asked for: {head.asked_by} {head.asked} of {head.tenant}"
        for place, event in enumerate(proved.events[:_EVENTS_SHOWN]):
            yield _event_line(place, event)
        if head.events > _EVENTS_SHOWN:
            yield f"  … and {head.events - _EVENTS_SHOWN} more, see report.html"
    yield f"  {report.events_verified} events verified, anchor: {report.anchor}"


def _event_line(place: int, event: Proved) -> str:
    leaf = event.leaf
    context = event.context or {}
    meant = cell(str(context.get("intent"))) if event.context is not None else "erased"
    started = timestamp(microseconds(int(leaf["started_ns"])))
    gone = "" if event.payload is not None else ", data not here"
    return (
        f"  {place + 1}. {started} {meant}: {cell(leaf['action'])}, {leaf['status']}"
        f" ({leaf['kind']} at leaf {event.index}{gone})"
    )
