"""Taking spans out of quarantine into the log: into the ledger, or by way of a running receiver."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TypeAlias

from intentproof_schemas import event_hash
from intentproof_store import Appended, Ledger, LedgerLocked, LedgerSettings, Quarantined

from .config import Config
from .errors import ReceiverError, Unusable
from .keys import KeyStore
from .reopened import Reopened, State
from .resend import Endpoint

Reopen: TypeAlias = Callable[[Quarantined], Reopened]


class Fate(Enum):
    """What became of an item."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REFUSED = "refused"


@dataclass(frozen=True)
class Result:
    """What became of an item, and why it was refused."""

    item: Quarantined
    fate: Fate
    event_id: str | None = None
    why: str = ""


def retry(
    items: Sequence[Quarantined],
    reopened: Reopen,
    config: Config,
    *,
    tenant: str,
    endpoint: Endpoint | None,
) -> list[Result]:
    """Take what can be taken; what became of each, in order. Blocks.

    With an endpoint (`endpoint_of`) it is sent there, else the ledger is opened here. `reopened` is
    called for one item at a time, so that one is in memory. Raises Unusable where a receiver holds
    the ledger and no endpoint is given, or the endpoint does not take it.
    """
    if endpoint is not None:
        return _sent(map(reopened, items), endpoint)
    refused = [_refused(one) for one in map(reopened, items) if one.event is None]
    if len(refused) == len(items):
        return refused
    return _appended(map(reopened, items), config, tenant)


def _refused(one: Reopened) -> Result:
    return Result(one.item, Fate.REFUSED, None, one.why)


def _appended(found: Iterator[Reopened], config: Config, tenant: str) -> list[Result]:
    if not (config.home / "signing.key").is_file():
        raise Unusable(f"--home {config.home}: no receiver has written with it")
    settings = LedgerSettings(
        store=config.store, home=config.home, hot=config.hot_folder, log_name=config.log_name
    )
    try:
        ledger = Ledger.open(settings)
    except LedgerLocked as error:
        raise Unusable(
            f"{error}: to send it there, give --endpoint URL of its HTTP port and --key-file FILE "
            "with an API key of the tenant, or stop it first"
        ) from error
    with ledger:
        return [
            _result(one, ledger.append(tenant, [one.event]).result())
            if one.event
            else _refused(one)
            for one in found
        ]


def _result(one: Reopened, appended: Appended) -> Result:
    fate = Fate.STORED if appended.stored else Fate.DUPLICATE
    return _taken(one, Fate.CONFLICT if appended.conflicts else fate)


def _taken(one: Reopened, fate: Fate) -> Result:
    return Result(one.item, fate, one.event.event_id if one.event else None, one.why)


def endpoint_of(
    config: Config,
    url: str,
    *,
    tenant: str,
    key_file: Path | None,
    tls: Mapping[str, Path | None],
) -> Endpoint:
    """A running receiver, with a key that is certainly of the tenant. Raises Unusable.

    `tls` has `ca_file`, `certificate` and `key`.
    """
    if key_file is None:
        raise Unusable("--endpoint needs --key-file FILE, which holds an API key of the tenant")
    try:
        api_key = key_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"--key-file {key_file}: cannot be read") from error
    try:
        principal = KeyStore(config.home).authenticate(api_key)
        principal.require("ingest")
    except ReceiverError as error:
        raise Unusable(f"--key-file {key_file}: {error}") from error
    if principal.tenant != tenant:
        # It would be taken, as an event of somebody else.
        raise Unusable(f"--key-file {key_file}: a key of {principal.tenant}, not of {tenant}")
    return Endpoint(url, api_key, **tls)


def _sent(found: Iterator[Reopened], receiver: Endpoint) -> list[Result]:
    """One by one, so that each has its answer, which does not tell what became of a span.

    That follows from what was known before of its id, and from what was sent since.
    """
    sent: dict[str, str] = {}
    results = []
    for one in found:
        if one.event is None:
            results.append(_refused(one))
            continue
        hashed = event_hash(one.event)
        before = sent.get(one.event.event_id)
        fate = _FATES[one.state]
        if before is not None and fate is Fate.STORED:
            fate = Fate.DUPLICATE if before == hashed else Fate.CONFLICT
        sent.setdefault(one.event.event_id, hashed)
        why = receiver.send(one.body, one.encoding)
        results.append(_refused(replace(one, why=why)) if why else _taken(one, fate))
    return results


_FATES = {
    State.READY: Fate.STORED,
    State.IN_LOG: Fate.DUPLICATE,
    State.CONFLICT: Fate.CONFLICT,
}
