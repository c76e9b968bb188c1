"""The semantic checks of an ExecutionEvent document: what its JSON Schema cannot say."""

import math
import re
from datetime import UTC, datetime
from typing import Any

from .errors import EventInvalid

DURATION_TOLERANCE_MS = 1  # the public API's tolerance
_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}):(\d{2})(?:\.(\d+))?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
)


def check_event(event: dict[str, Any]) -> None:
    """Check an event that already passed `execution_event.v1.schema.json`.

    1. Both times are RFC 3339; otherwise nothing else can be said of them.
    2. It did not complete before it started.
    3. `durationMs` is finite and within 1 ms of the times.
    4. `correlationId` is not blank.
    5. `ok` has no error.
    6. Attributes are flat.
    7. An error's cause has a name and a message.

    Raises EventInvalid with every issue found. Pure.
    """
    issues = _time_issues(event)
    correlation = event.get("correlationId")
    if isinstance(correlation, str) and not correlation.strip("\t\n\r "):
        issues.append("correlationId: must not be blank")  # (4)
    if event.get("status") == "ok" and "error" in event:
        issues.append("error: an event that is ok has none")  # (5)
    attributes = event.get("attributes")
    for key, value in attributes.items() if isinstance(attributes, dict) else ():
        if isinstance(value, (dict, list)):
            issues.append(f"attributes.{key}: must be a string, number, boolean or null")  # (6)
    error = event.get("error")
    cause = error.get("cause") if isinstance(error, dict) else None
    if isinstance(error, dict) and "cause" in error and not _is_cause(cause):
        issues.append("error.cause: must be an object with a name and a message")  # (7)
    if issues:
        raise EventInvalid(tuple(issues))


def parse_time_us(text: Any) -> int | None:
    """Unix microseconds of an RFC 3339 time, a leap second as :59.999999, None if it is none."""
    match = _RFC3339.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    date, minute, second, fraction, zone = match.groups()
    micro = (fraction or "")[:6].ljust(6, "0")
    if second == "60":
        second, micro = "59", "999999"
    offset = "+00:00" if zone in "Zz" else zone
    try:
        moment = datetime.fromisoformat(f"{date}T{minute}:{second}.{micro}{offset}")
    except ValueError:
        return None
    elapsed = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds


def _time_issues(event: dict[str, Any]) -> list[str]:
    times = {key: parse_time_us(event.get(key)) for key in ("startedAt", "completedAt")}
    issues = [f"{key}: must be an RFC 3339 time" for key, us in times.items() if us is None]
    started, completed = times["startedAt"], times["completedAt"]
    if started is None or completed is None:
        return issues  # (1)
    if completed < started:
        issues.append("completedAt: before startedAt")  # (2)
    duration: Any = event.get("durationMs")
    if not _is_finite(duration):
        issues.append("durationMs: must be a finite number")
    elif abs(duration - max(0, round((completed - started) / 1000))) > DURATION_TOLERANCE_MS:
        issues.append("durationMs: not what startedAt and completedAt say, within 1 ms")  # (3)
    return issues


def _is_cause(cause: Any) -> bool:
    return (
        isinstance(cause, dict)
        and isinstance(cause.get("name"), str)
        and isinstance(cause.get("message"), str)
    )


def _is_finite(value: Any) -> bool:
    try:
        return isinstance(value, (int, float)) and math.isfinite(value)
    except OverflowError:  # an integer beyond a double
        return False
