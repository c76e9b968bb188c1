"""The commands `quarantine list`, `quarantine show` and `quarantine retry`."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from intentproof_store import (
    HomeInvalid,
    LedgerBehind,
    Quarantined,
    Reader,
    TenantInvalid,
    cell,
    lines,
    quarantined,
    shown,
    told_of_event,
)

from .config import Config
from .errors import Unusable
from .quarantine_retry import Fate, Result, endpoint_of, retry
from .reopened import Reopened, State, reopen
from .resend import Endpoint
from .serve import config_of
from .spantext import span_members

OK, REFUSED, BLOCKED = 0, 3, 8  # contract §7
_ID_SHOWN = 12
_PROBLEMS_SHOWN = 20
_WIDE = 60
# What a table shows, and how much of it.
_COLUMNS = {
    "id": _ID_SHOWN,
    **dict.fromkeys(("tenant", "received_at", "reason", "size", "writer", "log_index"), _WIDE),
    **dict.fromkeys(("state", "why"), _WIDE),
}


def register(subparsers: Any) -> None:
    """Add `quarantine` and its three commands to the command line."""
    parser = subparsers.add_parser("quarantine", help="look at what could not be taken; retry it")
    commands = parser.add_subparsers(dest="quarantine_command", required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="what is there, and whether it would be taken now")
    listing.add_argument("--tenant", help="of this tenant only (default: all)")
    listing.add_argument("--json", action="store_true", help="one JSON document")
    show = commands.add_parser("show", help="one span, and why it is refused")
    show.add_argument("id", metavar="ID", help="as `quarantine list` shows it, or how it begins")
    form = show.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON document")
    form.add_argument("--raw", action="store_true", help="the bytes that are kept")
    again = commands.add_parser("retry", help="take into the log what can be taken now")
    again.add_argument("ids", metavar="ID", nargs="*", help="which ones")
    again.add_argument("--all", action="store_true", help="all of the tenant")
    again.add_argument("--endpoint", metavar="URL", help="of the receiver that runs on this store")
    again.add_argument("--key-file", metavar="FILE", help="an API key of the tenant, for it")
    again.add_argument("--ca-file", metavar="FILE", help="trust this authority (TLS)")
    again.add_argument("--certificate", metavar="FILE", help="of this client (mutual TLS)")
    again.add_argument("--key", metavar="FILE", help="of the certificate, where it is apart")
    again.add_argument("--json", action="store_true", help="one JSON document")
    for command in (show, again):
        command.add_argument("--tenant", required=True, help="whose span")
    for command, run in ((listing, run_list), (show, run_show), (again, run_retry)):
        command.add_argument("--config", metavar="FILE", help="the receiver's settings")
        command.set_defaults(run=_answering(run))


Run = Callable[[argparse.Namespace], int]


def _answering(run: Run) -> Run:
    """The command, with the exit codes of what the store may raise."""

    def answer(args: argparse.Namespace) -> int:
        try:
            return run(args)
        except (TenantInvalid, HomeInvalid) as error:
            raise Unusable(shown(str(error))) from error
        except LedgerBehind as error:
            sys.stderr.write(f"{shown(str(error))}\n")
            return BLOCKED

    return answer


def run_list(args: argparse.Namespace) -> int:
    """List what is in quarantine."""
    config = config_of(args)
    with _reader(config, args.tenant) as reader:
        items = quarantined(reader, args.tenant)
        found = [_members(_reopen(reader, config, item)) for item in items]
    if args.json:
        _write(json.dumps({"quarantine": found}) + "\n")
    elif not found:
        sys.stderr.write("nothing is in quarantine\n")
    else:
        rows = [
            tuple(cell(_word(one[name]))[:width] for name, width in _COLUMNS.items())
            for one in found
        ]
        _write("".join(line + "\n" for line in lines([tuple(map(_head, _COLUMNS)), *rows])))
    return OK


def _word(value: Any) -> str:
    return "" if value is None else str(value)


def _head(name: str) -> str:
    return name.replace("_", " ").upper()


def run_show(args: argparse.Namespace) -> int:
    """Show one span in quarantine."""
    config = config_of(args)
    with _reader(config, args.tenant) as reader:
        (item,) = _chosen(quarantined(reader, args.tenant), [args.id])
        one = _reopen(reader, config, item)
    if args.raw:
        if one.state is State.DAMAGED:
            raise Unusable(shown(one.why))
        sys.stdout.buffer.write(one.kept)
        return OK
    members = _members(one) | {"span": span_members(one.span)}
    if args.json:
        _write(json.dumps(members) + "\n")
        return OK
    span = members.pop("span")
    for name, value in (members | (span or {})).items():
        _write(f"{name}: {shown(value if isinstance(value, str) else json.dumps(value))}\n")
    return OK


def run_retry(args: argparse.Namespace) -> int:
    """Take what can be taken; REFUSED where something still cannot."""
    config = config_of(args)
    if bool(args.ids) == args.all:
        raise Unusable("name the ones to retry, or all of them with --all")
    with _reader(config, args.tenant) as reader:
        items = quarantined(reader, args.tenant)
        if not args.all:
            items = _chosen(items, args.ids)
        results = retry(
            items,
            partial(_reopen, reader, config),
            config,
            tenant=args.tenant,
            endpoint=_endpoint(args, config),
        )
    _tell(results, as_json=args.json)
    return OK if all(result.fate is not Fate.REFUSED for result in results) else REFUSED


def _endpoint(args: argparse.Namespace, config: Config) -> Endpoint | None:
    if args.endpoint is None:
        return None
    files = {name: getattr(args, name) for name in ("key_file", "ca_file", "certificate", "key")}
    paths = {name: Path(file) if file else None for name, file in files.items()}
    key_file = paths.pop("key_file")
    return endpoint_of(config, args.endpoint, tenant=args.tenant, key_file=key_file, tls=paths)


def _tell(results: Sequence[Result], *, as_json: bool) -> None:
    if as_json:
        told = [
            {"id": one.item.id, "result": one.fate.value, "event_id": one.event_id, "why": one.why}
            for one in results
        ]
        _write(json.dumps({"retried": told}) + "\n")
        return
    for one in results:
        why = f": {shown(one.why)}" if one.why else ""
        _write(f"{one.item.id[:_ID_SHOWN]}  {one.fate.value}{why}\n")


@contextmanager
def _reader(config: Config, tenant: str | None) -> Iterator[Reader]:
    with Reader(config.store, hot=config.hot_folder, home=config.home, tenant=tenant) as reader:
        for problem in reader.problems[:_PROBLEMS_SHOWN]:
            words = f"left out: {problem.path}: {problem.message} ({problem.code})"
            sys.stderr.write(f"{shown(words)}\n")
        yield reader


def _reopen(reader: Reader, config: Config, item: Quarantined) -> Reopened:
    return reopen(
        item,
        config.store,
        event_bytes_max=config.event_bytes_max,
        known=lambda event_id: told_of_event(reader, item.tenant, event_id),
    )


def _chosen(items: Sequence[Quarantined], ids: Sequence[str]) -> list[Quarantined]:
    """The items that are named, each once. Raises Unusable where a name is not of exactly one."""
    chosen: dict[str, Quarantined] = {}
    for given in ids:
        wanted = given.strip().lower().removeprefix("sha256:")
        found = [item for item in items if item.id.startswith(wanted)]
        if not wanted or not found:
            raise Unusable(f"nothing in quarantine is called {shown(given)!r}")
        if len({item.id for item in found}) > 1:
            raise Unusable(
                f"{len(found)} in quarantine begin with {shown(given)!r}: say more of it"
            )
        chosen[found[0].id] = found[0]
    return list(chosen.values())


def _members(one: Reopened) -> dict[str, Any]:
    item = one.item
    return {
        "id": item.id,
        "tenant": item.tenant,
        "received_at": item.received_at,
        "reason": item.reason,
        "size": item.size,
        "writer": item.writer,
        "log_index": item.log_index,
        "encoding": one.encoding.value if one.body else None,
        "state": one.state.value,
        "why": one.why or None,
        "event_id": one.event.event_id if one.event else None,
    }


def _write(text: str) -> None:
    # A lone surrogate is text in JSON, and none on a terminal.
    sys.stdout.write(text.encode(errors="backslashreplace").decode())
