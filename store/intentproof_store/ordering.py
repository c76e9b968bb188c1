"""Putting a request to whoever holds the store, or doing it where nobody does."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .checkpoints import checkpoint_sizes
from .errors import HomeInvalid, LedgerLocked, RequestInvalid
from .identity import read_writer, trusted_keys
from .layout import Layout
from .ledger import Ledger
from .ranges import Ranges
from .requests import Answer, Request, drop_request, new_id, put_request, take_answer
from .settings import LedgerSettings

_POLL_SECONDS = 0.2


def own_writer(home: Path) -> str:
    """The writer of this home. Raises HomeInvalid where it has none: it never wrote a log."""
    writer = read_writer(home)
    if writer is None:
        raise HomeInvalid(f"{home} is no writer's home: give the --home of the receiver")
    return writer


def make_request(
    layout: Layout, tenant: str, writer: str, *, kind: str, detail: dict[str, Any], ranges: Ranges
) -> Request:
    """A request about a log as it stands. Raises RequestInvalid where there is no such log."""
    folder = layout.log(tenant, writer)
    size = max(checkpoint_sizes(folder), default=0)
    if not size:
        raise RequestInvalid(f"{layout.root} has no log of {tenant} that this home writes")
    return Request(
        id=new_id(time.time_ns()),
        tenant=tenant,
        writer=writer,
        kind=kind,
        detail=detail,
        ranges=ranges,
        checkpoint=(folder / f"checkpoint.{size}").read_text(),
    )


def order(
    request: Request,
    *,
    store: Path,
    home: Path,
    hot: Path,
    seconds_max: float,
    waiting: Callable[[], None] = lambda: None,
) -> Answer | None:
    """Have a request carried out; the answer, or None if none came in time. Blocks.

    Where a receiver holds the store, it does it between its other work, or the next one does: this
    process never takes the store from one that is being started anew. Where nobody holds it, this
    process opens it. Without an answer the request stands, and is done as soon as somebody can.
    """
    _check_user(home)
    deadline = time.monotonic() + seconds_max
    put_request(home, request)
    try:
        ledger = Ledger.open(_settings(store, home, hot))
    except LedgerLocked:
        waiting()
        return _await(home, request.id, deadline)
    except BaseException:
        drop_request(home, request.id)  # nobody can do it, and nothing was claimed
        raise
    with ledger:
        return _await(home, request.id, deadline)


def _check_user(home: Path) -> None:
    """What somebody else writes into `--home` and the store, their owner could not read."""
    owner = home.stat().st_uid
    if owner != os.geteuid():
        raise RequestInvalid(f"{home} belongs to user {owner}: run this as that user")


def _await(home: Path, request_id: str, deadline: float) -> Answer | None:
    while True:
        answer = take_answer(home, request_id)
        if answer is not None or time.monotonic() >= deadline:
            return answer
        time.sleep(_POLL_SECONDS)


def _settings(store: Path, home: Path, hot: Path) -> LedgerSettings:
    """As the receiver of this home has them: the log name is that of the keys it signs with."""
    writer = own_writer(home)
    for key in trusted_keys(home):
        if key.name.endswith(f"/{writer}"):
            name = key.name.rsplit("/", 2)[0]
            return LedgerSettings(store=store, home=home, hot=hot, log_name=name)
    raise HomeInvalid(f"{home / 'trusted.vkeys'} has no key of the writer {writer}")
