"""What the tests of erasing, retaining and holding share: the commands, and a look at the disk."""

import argparse
import contextlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from intentproof_store import frames
from intentproof_store.commands import register as register_commands
from intentproof_store.erase_commands import register as register_erase
from intentproof_store.hold_commands import register as register_hold
from intentproof_store.proof_commands import register as register_receipt
from intentproof_store.requests import waiting_requests
from intentproof_store.retain_commands import register as register_retain
from intentproof_store.verify import Report, VerifyRequest, verify_store
from intentproof_store.verify.command import register as register_verify

from tests.store.support import Place, read_log, until

_ROOMS = (
    *(register_erase, register_hold, register_retain),
    *(register_receipt, register_verify, register_commands),
)
REASON = ("--reason", "request 17")


def commands() -> argparse.ArgumentParser:
    """The command line, as far as the store's own commands go."""
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers(required=True)
    for register in _ROOMS:
        register(subparsers)
    return parser


def run(where: Place, *argv: object) -> tuple[int, str, str]:
    """A command's exit code, stdout and stderr; nobody is at the terminal."""
    places = argparse.Namespace(store=where.layout.root, home=where.home, hot=where.hot)
    args = commands().parse_args([str(each) for each in argv], places)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = args.run(args)
    return code, out.getvalue(), err.getvalue()


def erase(where: Place, *argv: object) -> str:
    """Erase, which must be done; what it said."""
    code, _, err = run(where, "erase", "--tenant", "acme", *REASON, "--yes", *argv)
    assert code == 0, err
    return err


@contextlib.contextmanager
def plain_disk() -> Iterator[None]:
    """Whatever is written meanwhile is not compressed, so that its bytes can be looked for."""
    real: Callable[..., Any] = pq.ParquetWriter

    def writer(*args: Any, **options: Any) -> Any:
        del options["compression_level"]
        return real(*args, **(options | {"compression": "none"}))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pq, "ParquetWriter", writer)
        patched.setattr(frames, "_OPTIONS", pa.ipc.IpcWriteOptions(use_threads=False))
        yield


def holding(where: Place, *needles: bytes) -> list[str]:
    """The files below the store, its home and its hot folder that hold any of these bytes."""
    found = []
    for path in sorted(where.root.rglob("*")):
        if path.is_file():
            raw = path.read_bytes()
            if any(needle in raw for needle in needles):
                found.append(str(path.relative_to(where.root)))
    return found


def salts(where: Place, event_id: str) -> list[bytes]:
    """Both salts of every sealed row with that id."""
    columns = ["event_id", "context_salt", "payload_salt"]
    return [
        salt
        for segment in read_log(where).segments
        for row in pq.read_table(segment.path, columns=columns, partitioning=None).to_pylist()
        if row["event_id"] == event_id
        for salt in (row["context_salt"], row["payload_salt"])
        if salt is not None
    ]


def judged(where: Place, **changes: Any) -> Report:
    request = VerifyRequest(store=where.layout.root, hot=where.hot, home=where.home, **changes)
    return verify_store(request)


def codes(report: Report) -> set[str]:
    return {problem.code for log in report.logs for problem in log.problems}


def claims(where: Place, kind: str = "erasure") -> list[dict[str, Any]]:
    """The details of the leaves of a kind, sealed or hot."""
    return [json.loads(detail) for detail in read_log(where).details(kind)]


def finish(where: Place) -> None:
    """Open the store as the next start does, until nothing is asked of it any more."""
    with where.ledger():
        until(lambda: not waiting_requests(where.home))


def segments_of(where: Place) -> list[Path]:
    return [segment.path for segment in read_log(where).segments]
