"""What is asked of a store that may be in use: files in `--home`, and the answers beside them.

A receiver holds its store under an exclusive lock. Whoever wants something erased, retained or
held puts a request into `<home>/requests/`; the process that holds the lock does it, or the next
one that opens the store. A request names log indexes only, and nothing of what stands there.
"""

import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from intentproof_schemas import TENANT, WRITER

from .durable import is_aside, make_folder, write_file
from .errors import RequestInvalid
from .ranges import Ranges

ERASURE, RETENTION, HOLD = "erasure", "retention", "hold"
LEAVES = "leaves"
_REQUEST, _ANSWER = ".request", ".answer"
_ANSWER_SECONDS = 86_400
_LIST_BYTES_MAX = 16 << 10  # of a leaf's 32 KiB; what is beside the list is under 8


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be done to one log, and the `detail` that its leaves will have beside indexes.

    `checkpoint` is the log's newest signed note where the request was made: it says which log the
    indexes are of.
    """

    id: str
    tenant: str
    writer: str
    kind: str
    detail: dict[str, Any]
    ranges: Ranges
    checkpoint: str

    @property
    def members(self) -> str:
        """Which half of the events goes."""
        return str(self.detail.get("members", ""))

    @property
    def drops_leaves(self) -> bool:
        """Whether whole segments go, and not a half of their events."""
        return self.detail.get("dropped") == LEAVES

    def details(self) -> list[dict[str, Any]]:
        """The details of its leaves: as many as the list of indexes takes."""
        shared = {**self.detail, "request_id": self.id}
        if not self.ranges:
            return [shared]
        parts = self.ranges.pieces(_LIST_BYTES_MAX)
        return [{**shared, "log_indexes": part.listed()} for part in parts]

    def encode(self) -> bytes:
        """As a file."""
        members = {
            "id": self.id,
            "tenant": self.tenant,
            "writer": self.writer,
            "kind": self.kind,
            "detail": self.detail,
            "log_indexes": self.ranges.listed(),
            "checkpoint": self.checkpoint,
        }
        return orjson.dumps(members)


@dataclass(frozen=True)
class Answer:
    """`done`; `refused`, and nothing was changed; or `failed`, and it will be tried again."""

    outcome: str
    message: str = ""
    rows: int = 0
    segments: int = 0


def new_id(requested_ns: int) -> str:
    """An id that sorts by time."""
    return f"{requested_ns:020d}-{secrets.token_hex(4)}"


def _folder(home: Path) -> Path:
    return home / "requests"


def _make_folder(home: Path) -> None:
    make_folder(_folder(home))
    _folder(home).chmod(0o700)  # who looks over --home asks that nobody else may


def put_request(home: Path, request: Request) -> None:
    """Ask, durably. Blocks on the disk."""
    _make_folder(home)
    write_file(_folder(home) / f"{request.id}{_REQUEST}", request.encode(), mode=0o600)


def waiting_requests(home: Path) -> list[str]:
    """The ids of what was asked and is not done, the oldest first."""
    folder = _folder(home)
    found = folder.glob(f"*{_REQUEST}") if folder.is_dir() else ()
    return sorted(path.name.removesuffix(_REQUEST) for path in found)


def read_request(home: Path, request_id: str) -> Request:
    """What was asked. Raises RequestInvalid and OSError."""
    raw = (_folder(home) / f"{request_id}{_REQUEST}").read_bytes()
    try:
        members = orjson.loads(raw)
        request = Request(
            id=members["id"],
            tenant=members["tenant"],
            writer=members["writer"],
            kind=members["kind"],
            detail=members["detail"],
            ranges=Ranges.read(members["log_indexes"]),
            checkpoint=members["checkpoint"],
        )
        sound = (
            request.id == request_id
            and TENANT.fullmatch(request.tenant)
            and WRITER.fullmatch(request.writer)
            and request.kind in (ERASURE, RETENTION, HOLD)
        )
    except (ValueError, KeyError, TypeError) as error:
        raise RequestInvalid(f"the request {request_id} cannot be read: {error}") from error
    if not sound:
        raise RequestInvalid(f"the request {request_id} is not one that this version makes")
    return request


def drop_request(home: Path, request_id: str) -> None:
    """Take a request back, or away when it is done."""
    (_folder(home) / f"{request_id}{_REQUEST}").unlink(missing_ok=True)


def clear_answers(home: Path) -> None:
    """Delete answers that nobody took for a day, and what a kill left half written.

    Only for whoever holds the store, before it answers anything. Others may be asking meanwhile.
    """
    folder = _folder(home)
    for path in folder.iterdir() if folder.is_dir() else ():
        aside = is_aside(path.name)
        if path.suffix != _ANSWER and not aside:
            continue
        with suppress(FileNotFoundError):  # it was taken, or put in place, at this moment
            old = time.time() - path.stat().st_mtime > _ANSWER_SECONDS
            if old or (aside and f"{_ANSWER}." in path.name):
                path.unlink()


def put_answer(home: Path, request_id: str, answer: Answer) -> None:
    """Tell what became of a request. Blocks on the disk."""
    raw = orjson.dumps(answer)
    _make_folder(home)
    write_file(_folder(home) / f"{request_id}{_ANSWER}", raw, mode=0o600)


def take_answer(home: Path, request_id: str) -> Answer | None:
    """The answer, which is deleted; None where there is none yet."""
    path = _folder(home) / f"{request_id}{_ANSWER}"
    try:
        members = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    path.unlink()
    return Answer(**members)
