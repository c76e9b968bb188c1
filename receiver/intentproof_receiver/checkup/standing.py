"""Whether `serve` would go on as the writer of --home."""

from collections.abc import Iterator
from pathlib import Path

from intentproof_store import HomeInvalid, LedgerBehind, LogNameChanged, check_standing

from .finding import Finding


def standing_findings(store: Path, home: Path, log_name: str) -> Iterator[Finding]:
    """Nothing where there is no writer yet."""
    if not (home / "writer").is_file():
        return
    try:
        check_standing(store, home, log_name)
    except LogNameChanged as error:
        yield Finding("log_name", "not that of the logs", str(error))
    except LedgerBehind as error:
        yield Finding(f"store {store}", "older than what was signed", str(error))
    except (HomeInvalid, OSError) as error:
        yield Finding(f"home {home}", "cannot be read", str(error))
    else:
        yield Finding("log", "goes on as the writer of --home")
