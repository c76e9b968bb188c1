"""`verify --period`: whether every log of a tenant shows the whole of a period.

A truncated log is a valid log. What it cannot show is a checkpoint from after its new end, so that
an auditor asks for one at or after the end of the period, and for a sign of life from every
interval in it (facts of the threat model: a rule defeats truncation, a hash does not).
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from ..period import Period
from .life import SECOND_NS, Life, LifeLeaf
from .report import LogReport, Problem
from .roster import End

_LATE_NS = 60 * SECOND_NS  # a heartbeat waits for the disk, and for others before it
_LATE_SHARE = 10  # a tenth of the interval
PERIOD_CODES = ("period_not_covered", "heartbeat_missing", "writer_missing", "writer_behind")

Span = tuple[int, int]


def document(period: Period) -> dict[str, str]:
    """A period as in the JSON of `verify`."""
    return {"from": told(period.first_ns), "to": told(period.end_ns)}


def _clip(period: Period, span: Span) -> Span:
    """The part of a span within the period; it ends before it begins where there is none."""
    return max(span[0], period.first_ns), min(span[1], period.end_ns)


def told(ns: int) -> str:
    """Unix nanoseconds for people: RFC 3339, UTC, whole seconds."""
    return datetime.fromtimestamp(ns // SECOND_NS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def check_period(
    log: LogReport,
    period: Period,
    end: End | None,
) -> None:
    """Check that a log shows the period; `end` is where it ended, if it did.

    Where witnesses gave times, they decide when a checkpoint stood; else the time that its last
    leaf was received, which the holder of the key may have made up.
    """
    life = log.life
    if not life.runs:
        message = "no leaf under a checkpoint is here: nothing is known of the period"
        log.problems.append(Problem("period_not_covered", message))
        return
    begin_ns, last_ns = life.runs[0].from_ns, life.runs[-1].to_ns
    if begin_ns >= period.end_ns:
        return
    _check_beginning(log, period, begin_ns)
    witnessed = life.witnessed_ns
    shown_ns = last_ns if witnessed is None else max(witnessed.values(), default=begin_ns)
    spans = list(life.silences())
    if witnessed is not None and shown_ns > last_ns:
        spans.append((life.size, last_ns, shown_ns))
    if shown_ns < period.end_ns and end is not None:
        why = f"it ended at {told(end.since_ns)}, as leaf {end.index} of {end.by.writer} says"
        _tell(log, period, (last_ns, period.end_ns), why)
    elif shown_ns < period.end_ns:
        message = (
            f"signed until {told(shown_ns)}, the period ends at {told(period.end_ns)}: "
            "what came between may have been cut off"
        )
        log.problems.append(Problem("period_not_covered", message, log_index=life.size - 1))
    for index, from_ns, to_ns in life.holes():
        begin, end_of = _clip(period, (from_ns, to_ns))
        if begin < end_of:
            message = f"the leaves received from {told(begin)} to {told(end_of)} are not here"
            log.problems.append(Problem("period_not_covered", message, log_index=index))
    for index, from_ns, to_ns in spans:
        _check_silence(log, period, index, (from_ns, to_ns))


def _check_beginning(log: LogReport, period: Period, begin_ns: int) -> None:
    """A log that begins within the period says so by its genesis."""
    if begin_ns <= period.first_ns:
        return
    if log.life.runs[0].first == 0:
        message = f"this log begins at {told(begin_ns)}, within the period"
        log.problems.append(Problem("begins_within_period", message, log_index=0))
    else:
        message = f"no leaf of before {told(begin_ns)} is here"
        first = log.life.runs[0].first
        log.problems.append(Problem("period_not_covered", message, log_index=first))


def _check_silence(log: LogReport, period: Period, index: int, silence: Span) -> None:
    """A silence within the period is no longer than was promised, or a leaf explains it."""
    promised_ns = _promised(log.life, index)
    if promised_ns is None:
        return
    begin, end = _clip(period, silence)
    if end - begin <= _allowed(promised_ns):
        return
    if _had_ended(log, index):
        _tell(log, period, silence, "it had ended, and went on later")
        return
    # Where a receiver starts again, it tells before anything else how long it was down.
    restarts = [leaf for leaf in log.life.leaves if leaf.index >= index and _is_restart(leaf)]
    explained = [_span(leaf) for leaf in restarts]
    for part in _without((begin, end), explained):
        promised = next(
            (_interval(leaf) for leaf in restarts if _span(leaf)[1] == part[0]), promised_ns
        )
        if part[1] - part[0] > _allowed(promised or promised_ns):
            message = (
                f"no sign of life from {told(part[0])} to {told(part[1])}: this log promised one "
                f"every {promised_ns // SECOND_NS} seconds, and nothing in it explains the silence"
            )
            log.problems.append(Problem("heartbeat_missing", message, log_index=index))
            return
    words = {str(leaf.detail.get("message", "")) for leaf in restarts if _meets(leaf, silence)}
    _tell(log, period, silence, "; ".join(sorted(words)))


def _tell(log: LogReport, period: Period, silence: Span, why: str) -> None:
    begin, end = _clip(period, silence)
    if begin < end:
        message = f"silent from {told(begin)} to {told(end)}: {why}"
        log.problems.append(Problem("silence_explained", message))


def _promised(life: Life, index: int) -> int | None:
    """How often a sign of life was promised before a leaf; None where it was not."""
    promised = None
    for leaf in life.leaves:
        if leaf.index >= index:
            break
        promised = _interval(leaf) or promised
    return promised


def _interval(leaf: LifeLeaf) -> int | None:
    name = "heartbeat_interval_ms" if leaf.kind == "genesis" else "interval_ms"
    interval = leaf.detail.get(name)
    return interval * (SECOND_NS // 1000) if type(interval) is int and interval > 0 else None


def _allowed(promised_ns: int) -> int:
    return promised_ns + promised_ns // _LATE_SHARE + _LATE_NS


def _is_restart(leaf: LifeLeaf) -> bool:
    return leaf.kind == "gap" and leaf.detail.get("reason") == "restart"


def _had_ended(log: LogReport, index: int) -> bool:
    """Whether the leaf before this one says that the log ends."""
    return any(
        leaf.index == index - 1
        and leaf.kind == "writer-retired"
        and leaf.detail.get("writer") == log.writer
        for leaf in log.life.leaves
    )


def _span(leaf: LifeLeaf) -> Span:
    try:
        return int(leaf.detail["from_ns"]), int(leaf.detail["to_ns"])
    except (KeyError, ValueError, TypeError):
        return 0, 0


def _meets(leaf: LifeLeaf, silence: Span) -> bool:
    begin, end = _span(leaf)
    return begin < silence[1] and silence[0] < end


def _without(span: Span, explained: Iterable[Span]) -> Iterator[Span]:
    """What is left of a span when the explained parts are taken away."""
    at, end = span
    for low, high in sorted(explained):
        if high <= at or low >= end:
            continue
        if low > at:
            yield at, low
        at = max(at, high)
    if at < end:
        yield at, end
