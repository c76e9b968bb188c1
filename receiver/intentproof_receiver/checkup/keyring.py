"""The file of API keys."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from ..errors import ReceiverError
from ..keys import FILE_NAME, ApiKey, read_keys
from .finding import Finding

EXPIRES_SOON_S = 14 * 86_400


def key_findings(
    home: Path, now: float, *, certificates_may_send: bool = False
) -> Iterator[Finding]:
    """Whether somebody may send, and whether some tenant soon may not."""
    path = home / FILE_NAME
    create = f"intentproof-otel keys create --home {home} --tenant"
    subject = f"keys {path}"
    if certificates_may_send and not path.exists():
        yield Finding("keys", "none, and none needed: client certificates are mapped")
        return
    try:
        keys = list(read_keys(path).values())
    except ReceiverError as error:
        mend = f"{create} NAME" if not path.exists() else str(error)
        yield Finding(subject, "no usable file of keys", mend)
        return
    senders = [key for key in keys if "ingest" in key.roles and not key.revoked]
    live = [key for key in senders if _end(key) > now]
    if not live:
        yield Finding(subject, "no key that may send", f"{create} NAME")
        return
    yield Finding(subject, f"{len(live)} of {len(keys)} may send")
    for tenant in sorted({key.tenant for key in senders}):
        last = max((key for key in senders if key.tenant == tenant), key=_end)
        if _end(last) <= now + EXPIRES_SOON_S:
            state = "expired" if _end(last) <= now else "expires"
            yield Finding(
                f"key {last.id} of {tenant}",
                f"{state} on {last.expires[:10]}, and no other key of this tenant lasts longer",
                f"{create} {tenant}, give it to every sender, then: "
                f"intentproof-otel keys revoke --home {home} {last.id}",
            )


def _end(key: ApiKey) -> float:
    return datetime.fromisoformat(key.expires).timestamp() if key.expires else float("inf")
