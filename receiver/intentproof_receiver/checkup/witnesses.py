"""Whether the configured witnesses cosign, as the receiver that runs tells."""

import time
from collections.abc import Iterator

from ..config import Config
from ..witness_metrics import PREFIX
from ..witness_settings import WitnessSetting
from .finding import Finding
from .running import Running

_LATE_SECONDS = 3_600.0


def witness_findings(config: Config, running: Running | None, now: float) -> Iterator[Finding]:
    """One line a witness. Asks no witness itself: that is the receiver's to do."""
    if not config.witnesses:
        yield Finding("witnesses", "none: only whoever holds checkpoints can tell a rewritten log")
    for one in config.witnesses:
        subject = f"witness {one.name} {one.url}"
        if running is None:
            yield Finding(subject, "configured; no receiver runs that asks it")
        else:
            yield _asked(subject, one, running, now)


def _asked(subject: str, one: WitnessSetting, running: Running, now: float) -> Finding:
    if (f"{PREFIX}_cosignatures_total", frozenset({("witness", one.name)})) not in running.samples:
        return Finding(subject, "not known to the receiver that runs", "restart it", urgent=False)
    if running.value(f"{PREFIX}_disagreeing_logs", witness=one.name):
        return Finding(
            subject,
            "saw what this store does not have: it was restored from an older copy, or forked",
            "see `store_restored_or_forked` in the log; bring the missing files back, or start new "
            "logs with serve --new-writer",
        )
    last_s = running.value(f"{PREFIX}_last_timestamp_seconds", witness=one.name)
    waiting = running.value(f"{PREFIX}_waiting_logs", witness=one.name)
    state = "no cosignature yet"
    if last_s:
        last = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(last_s))
        state = f"cosigned last at {last}"
    if not waiting:
        return Finding(subject, state)
    counts = {
        reason: int(running.value(f"{PREFIX}_failures_total", witness=one.name, reason=reason))
        for reason in ("unreachable", "unknown_log", "refused", "invalid", "store")
    }
    told = ", ".join(f"{reason} {count}" for reason, count in counts.items() if count)
    mend = "see `not_cosigned` in the log"
    if counts["unknown_log"]:
        mend = "give its operator the logs' keys (`intentproof-otel log key`), and see "
        mend += "`not_cosigned` in the log"
    state = f"{state}; {waiting:.0f} logs wait for it ({told or 'asked for just now'})"
    since = max(last_s, running.value("process_start_time_seconds"))
    return Finding(subject, state, mend, urgent=now - since > _LATE_SECONDS)
