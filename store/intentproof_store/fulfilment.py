"""Doing what was asked of a store: erasing, retaining, holding, while it goes on taking events.

Steps, on the writer's thread (w) or the clerk's (c), and what a crash after each leaves behind:

1. c  the request is examined: which log, what is held         the request; nothing is claimed
2. w  its leaves are appended and fsynced                      a claim: what it names is still there
3. w  every log is cut, so that no hot file holds it for long  as above
4. c  all is sealed, with a checkpoint over the claim          as above
5. c  segment by segment, the next revision is put in place,   two revisions, of which readers take
      or the tiles are proved                                  the later
6. w  earlier revisions, quarantined bytes and hot files go    less than was to go
7. w  the answer is written, then the request deleted          the answer

The next process that opens the store for writing begins at (1) again with what it finds: the
request stays until all is done, the claim is made once, and each later step does what is left.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from intentproof_schemas import LeafInvalid

from .clerk import Errand, Job
from .dropping import check_tiles
from .durable import sync_folder
from .errors import Held, RequestInvalid
from .examination import Examined, examine
from .hotlog import HotLog, NewFrame, hot_files, set_aside_files
from .identity import Identity
from .layout import Layout, date_of
from .logfactory import LogFactory
from .requests import (
    HOLD,
    Answer,
    Request,
    clear_answers,
    drop_request,
    put_answer,
    read_request,
    waiting_requests,
)
from .revision import erase_in, quarantined_in, read_signed, superseded_by
from .rows import RowMaker
from .segments import Segment, find_segments
from .settings import LedgerSettings
from .tenantlog import TenantLog

_log = logging.getLogger("intentproof.store")
_LOOK_SECONDS = 0.5
_RETRY_SECONDS = 60.0

Then = Callable[[], None]


@dataclass
class _Work:
    """A request whose claim is durable, and what is left to do of it."""

    request: Request
    old_hot: list[Path]
    segments: list[Segment] = field(default_factory=list)
    rows: int = 0
    done: int = 0


@dataclass(frozen=True)
class Hands:
    """What of the writer its fulfilment uses."""

    hot: HotLog
    factory: LogFactory
    logs: dict[str, TenantLog]
    submit: Callable[[Job], None]
    cut: Callable[[TenantLog, str], None]
    clock_ns: Callable[[], int]
    rest: Callable[[], None]


class Fulfilment:
    """Does requests one by one. `poll` and what it returns to run on the writer's thread only."""

    def __init__(
        self, settings: LedgerSettings, layout: Layout, identity: Identity, hands: Hands
    ) -> None:
        self._settings = settings
        self._layout = layout
        self._identity = identity
        self._hands = hands
        self._busy = self._closed = False
        self._look_due = 0.0
        self._later: dict[str, float] = {}
        clear_answers(identity.home)

    def poll(self) -> None:
        """Begin with the oldest request, if none is being done. Reads a folder's names."""
        now = time.monotonic()
        if self._busy or self._closed or now < self._look_due:
            return
        self._look_due = now + _LOOK_SECONDS
        try:
            waiting = waiting_requests(self._identity.home)
        except OSError as error:
            _log.warning("requests cannot be read", extra={"fields": {"reason": str(error)}})
            return
        for request_id in waiting:
            if self._later.get(request_id, 0.0) <= now:
                self._start(request_id)
                return

    def close(self) -> None:
        """Begin nothing more: what is left is done when the store is next opened."""
        self._closed = True

    def _start(self, request_id: str) -> None:
        self._busy = True
        try:
            request = read_request(self._identity.home, request_id)
            log = self._hands.logs.get(request.tenant)
            if log is None or request.writer != self._identity.writer:
                raise RequestInvalid(f"no log of {request.tenant}/{request.writer} is written here")
            if request.ranges and request.ranges.pairs[-1][1] >= log.size:
                raise RequestInvalid(f"the log of {request.tenant} has {log.size} leaves only")
        except Exception as error:  # noqa: BLE001 - a bad file must not stop the writer
            self._failed(request_id, error)
            return
        self._run(request, partial(self._examine, request))

    def _run(self, request: Request, work: Callable[[], Then]) -> None:
        """Have the clerk do a piece of work, and the writer what it returns."""

        def errand() -> Then:
            try:
                then = work()
            except Exception as error:  # noqa: BLE001 - the clerk must go on sealing
                return partial(self._failed, request.id, error)
            return partial(self._step, request, then)

        self._hands.submit(Errand(request.tenant, errand))

    def _step(self, request: Request, then: Then) -> None:
        try:
            then()
        except Exception as error:  # noqa: BLE001 - the writer must go on taking events
            self._failed(request.id, error)

    def _examine(self, request: Request) -> Then:
        settings = self._settings  # (1)
        found = examine(request, store=settings.store, home=settings.home, hot=settings.hot)
        return partial(self._claim, request, found)

    def _claim(self, request: Request, found: Examined) -> None:
        if self._closed:
            return
        log = self._hands.logs[request.tenant]
        if not found.claimed:
            self._append(log, request)  # (2)
        if request.kind == HOLD:
            self._answer(request, Answer("done", rows=len(request.ranges)))
            return
        for each in self._hands.logs.values():
            self._hands.cut(each, each.day)  # (3)
        self._hands.hot.rotate()
        # After the cut, so that it is known until the segments without it are in place.
        log.sameness.forget(found.ids)
        work = _Work(request, hot_files(self._settings.hot, self._identity.writer))
        self._run(request, partial(self._find, work))

    def _append(self, log: TenantLog, request: Request) -> None:
        """THE CLAIM: durable when this returns, before anything of what it names goes."""
        received_ns = self._hands.clock_ns()
        today = date_of(received_ns)
        if log.day != today:
            self._hands.cut(log, today)
        maker = RowMaker(log.tenant, self._identity.writer, received_ns)
        for detail in request.details():
            maker.add_detail(request.kind, detail)
        refs = self._hands.hot.append([NewFrame(log.tenant, maker.batch(log.size), today)])
        log.took(refs)
        log.last_received_ns = max(log.last_received_ns, received_ns)  # a step back is told next
        log.hot_since = log.hot_since or time.monotonic()

    def _find(self, work: _Work) -> Then:
        request = work.request  # (4): the jobs before this one sealed and signed the claim
        keys = self._identity.verifier_keys(request.tenant)
        segments, _ = find_segments(self._layout, request.tenant, keys=keys)
        work.segments = [
            each
            for each in segments
            if each.name.writer == self._identity.writer
            and request.ranges.meets(each.name.first, each.name.last)
            and (not request.drops_leaves or request.ranges.covers(each.name.first, each.name.last))
        ]
        return partial(self._next, work)

    def _next(self, work: _Work) -> None:
        if self._closed:
            return
        if not work.segments:
            self._settle(work)
            return
        segment = work.segments.pop(0)
        step = self._drop if work.request.drops_leaves else self._revise
        self._run(work.request, partial(step, work, segment))  # (5)

    def _revise(self, work: _Work, segment: Segment) -> Then:
        request = work.request
        made = erase_in(
            self._layout,
            self._identity,
            request.tenant,
            segment,
            request.ranges,
            request.members,
            rest=self._hands.rest,
        )
        work.rows += made.rows

        def then() -> None:
            if made.path != segment.path:
                sameness = self._hands.logs[request.tenant].sameness
                sameness.replace_segment(segment.day, segment.path, made.path)
            self._delete(request.tenant, superseded_by(made.path), made.quarantine_files)
            work.done += made.path != segment.path
            self._next(work)

        return then

    def _drop(self, work: _Work, segment: Segment) -> Then:
        tenant = work.request.tenant
        signed_root = partial(self._hands.factory.signed_root, tenant)
        check_tiles(self._layout.log(tenant, self._identity.writer), segment, signed_root)
        names = quarantined_in(read_signed(segment), work.request.ranges)

        def then() -> None:
            log = self._hands.logs[tenant]
            log.sameness.replace_segment(segment.day, segment.path, None)
            log.sealed_rows -= segment.name.rows
            self._delete(tenant, [*superseded_by(segment.path), segment.path], names)
            with suppress(OSError):  # other segments of the day stand there
                segment.path.parent.rmdir()
            work.rows += segment.name.rows
            work.done += 1
            self._next(work)

        return then

    def _delete(self, tenant: str, files: list[Path], quarantined: tuple[str, ...]) -> None:
        folder = self._layout.quarantine(tenant)  # (6)
        gone = [*files, *(folder / name for name in quarantined)]
        for path in gone:
            path.unlink(missing_ok=True)
        for parent in {path.parent for path in gone if path.parent.is_dir()}:
            sync_folder(parent)

    def _settle(self, work: _Work) -> None:
        left = [path.name for path in work.old_hot if path.exists()]
        if left:
            raise OSError(f"hot files still hold what was to go: {', '.join(left)}")
        aside = set_aside_files(self._settings.hot, self._identity.writer)
        for path in aside:  # damaged bytes, of which nobody can say what is in them
            path.unlink()
        if aside:
            sync_folder(aside[0].parent)
        self._answer(work.request, Answer("done", rows=work.rows, segments=work.done))

    def _answer(self, request: Request, answer: Answer) -> None:
        put_answer(self._identity.home, request.id, answer)  # (7)
        drop_request(self._identity.home, request.id)
        self._busy = False
        self._look_due = 0.0

    def _failed(self, request_id: str, error: Exception) -> None:
        """Tell why. What cannot be done as it is asked is not asked again; all else is."""
        final = isinstance(error, Held | RequestInvalid | LeafInvalid)
        _log.error(
            "a request could not be carried out",
            extra={"fields": {"request": request_id, "reason": str(error), "again": not final}},
        )
        self._busy = False
        self._later[request_id] = time.monotonic() + _RETRY_SECONDS
        try:
            outcome = "refused" if final else "failed"
            put_answer(self._identity.home, request_id, Answer(outcome, str(error)))
            if final:
                drop_request(self._identity.home, request_id)
        except OSError:
            _log.exception("an answer could not be written")
