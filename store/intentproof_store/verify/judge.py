"""`verify` over a whole store: reads, checks, judges; never writes, never makes a key.

Order of reading, so that a store in use is judged by what it held at one moment: checkpoints
first, then hot frames, then segments. Leaves may be added meanwhile, none can be missed.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

from intentproof_schemas import TENANT, WRITER

from ..errors import FrameInvalid, NoteInvalid
from ..frames import Damage, Frame
from ..hotlog import hot_writers, read_hot
from ..layout import Layout, check_tenant, parse_segment_file
from ..rowcheck import check_batch
from ..segments import Segment, SegmentProblem, file_sha256, find_segments, read_segment_note
from .event_ids import Marker
from .leaves import LeavesReport
from .log_check import Gathered, LogFolders, check_log
from .moment import at_one_moment
from .notes import SignedSizes, check_segment_notes, read_checkpoints
from .period import document
from .report import LogReport, Outcome, Problem, Report, outcome_of
from .rotations import candidate_keys
from .segment_check import SegmentTask, check_segment
from .spill import Spill
from .stamps import read_stamps, require_stamp
from .superseded import check_superseded
from .tenant_check import check_tenant_logs
from .trust import Trust, VerifyRequest, trust_of
from .windows import Windows, check_windows, windows_of
from .witnessed import judge_log, tell_witnessed

_PARALLEL_ROWS_MIN = 200_000  # below, starting processes costs more than it saves
Progress = Callable[[int, int], None]


@at_one_moment
def verify_store(request: VerifyRequest, progress: Progress | None = None) -> Report:
    """Judge a store. Reads it once, in the memory of some segments, however large it is.

    What it must keep of each leaf, some 90 bytes, goes into a file for temporary files without a
    name once that is over 32 MiB a log. Raises OSError where that disk refuses.

    Raises HomeInvalid, NoteInvalid, PolicyInvalid and AuthoritiesInvalid for what the caller brings
    along and cannot be read, TenantInvalid for a tenant that is none. What is wrong with the store
    is in the report.
    """
    pinned = trust_of(request)
    layout = Layout(request.store)
    trust = replace(pinned, keys=(*pinned.keys, *candidate_keys(layout, request.hot, pinned.keys)))
    tenants = [check_tenant(request.tenant)] if request.tenant else _tenants(layout, trust)
    logs: list[LogReport] = []
    work: list[tuple[LogReport, SignedSizes, list[LeavesReport], list[SegmentTask]]] = []
    for tenant in tenants:
        logs_of_tenant = _logs_of(layout, request, trust, tenant)
        signed = {log.writer: _signed(layout, log, trust, request) for log in logs_of_tenant}
        windows = {
            log.writer: windows_of(signed[log.writer].judgements or {}, log.stamps or ())
            for log in logs_of_tenant
        }
        hot = {log.writer: _hot(request, log, trust, windows[log.writer]) for log in logs_of_tenant}
        tasks = _tasks(layout, tenant, trust, logs_of_tenant)
        for log in logs_of_tenant:
            logs.append(log)
            found = (
                replace(task, windows=windows.get(log.writer), timed=request.period is not None)
                for task in tasks.get(log.writer, [])
            )
            mine = sorted(found, key=lambda task: task.name.first)
            log_signed = signed.get(log.writer, SignedSizes())  # none for a stranger's file
            work.append((log, log_signed, hot.get(log.writer, []), mine))
    _check_all(work, layout, request, progress)
    for tenant in tenants:
        check_tenant_logs(
            [log for log in logs if log.tenant == tenant],
            pinned.keys,
            request.period,
            sealed_only=request.sealed,
        )
    for log in logs:
        require_stamp(log)
    if request.tenant is None:
        _strangers(layout, logs)
    if not logs:
        code = "unknown_tenant" if request.tenant else "empty_store"
        message = f"nothing of {request.tenant}" if request.tenant else "no log is in this store"
        logs.append(LogReport(request.tenant or "", "", problems=[Problem(code, message)]))
    period = document(request.period) if request.period else None
    return Report(_outcome(logs, trust), _anchor(trust, logs), logs, period)


def _tenants(layout: Layout, trust: Trust) -> list[str]:
    """Tenants that the store has, and those of whose logs a key or a checkpoint is at hand."""
    origins = [key.name for key in trust.keys]
    origins += [checkpoint.origin for checkpoint in (*trust.known, *trust.remembered)]
    named = {parts[1] for origin in origins if len(parts := origin.rsplit("/", 2)) == 3}
    return sorted({*layout.tenants(), *(name for name in named if TENANT.fullmatch(name))})


def _logs_of(layout: Layout, request: VerifyRequest, trust: Trust, tenant: str) -> list[LogReport]:
    """The tenant's logs: those that have a folder, a file, a hot frame, or that are known of."""
    writers = set(layout.writers(tenant))
    for path in layout.tenant_events(tenant).rglob("*.parquet"):
        name = parse_segment_file(path.name)
        if name is not None:
            writers.add(name.writer)
    if not request.sealed:
        writers.update(w for w in hot_writers(request.hot) if _has_hot(request, w, tenant))
    reports = {writer: LogReport(tenant, writer) for writer in sorted(writers)}
    expected = [key.name for key in trust.keys]
    expected += [checkpoint.origin for checkpoint in (*trust.known, *trust.remembered)]
    for origin in expected:
        parts = origin.rsplit("/", 2)
        if len(parts) == 3 and parts[1] == tenant and parts[2] not in reports:
            message = f"the log {origin} is known here, and nothing of it is in the store"
            reports[parts[2]] = LogReport(
                tenant, parts[2], problems=[Problem("log_missing", message)]
            )
    return list(reports.values())


def _has_hot(request: VerifyRequest, writer: str, tenant: str) -> bool:
    return WRITER.fullmatch(writer) is not None and any(
        isinstance(found, Frame) and found.tenant == tenant
        for _, found in read_hot(request.hot, writer)
    )


def _signed(layout: Layout, log: LogReport, trust: Trust, request: VerifyRequest) -> SignedSizes:
    folder = layout.log(log.tenant, log.writer)
    remembered = () if request.sealed else trust.remembered
    known = (*trust.known, *remembered)
    signed = read_checkpoints(folder, log, keys=trust.keys, known=known)
    suffix = f"/{log.tenant}/{log.writer}"
    known_sizes = [known.size for known in trust.known if known.origin.endswith(suffix)]
    if known_sizes and not signed.trusted:
        signed.trusted = True
        signed.vouched = max(known_sizes)
    elif trust.keys and not signed.trusted:
        signed.roots.clear()
        message = "no key that you trust is of this log"
        log.problems.append(Problem("no_checkpoint", message))
        return signed
    own = trust.of_log(log.tenant, log.writer)
    read_stamps(folder, log, own=own, sizes=signed, tokens=trust.tokens)
    if trust.policy is not None:
        signed.judgements = judge_log(folder, log, signed, trust.policy, trust.keys)
    return signed


def _hot(
    request: VerifyRequest, log: LogReport, trust: Trust, windows: Windows | None
) -> list[LeavesReport]:
    found: list[LeavesReport] = []
    if request.sealed:
        return found
    marker = Marker(trust.seed)
    for path, frame in read_hot(request.hot, log.writer):
        if isinstance(frame, Damage):
            if not frame.torn:
                log.problems.append(Problem("frame_damaged", frame.message, path.name))
            continue
        try:
            # First, because whose a forged frame is nobody knows: it may be one of this log, with
            # the name of another tenant written over its own.
            if trust.hot_key is not None:
                frame.authenticate(trust.hot_key, log.writer)
            if frame.tenant != log.tenant:
                continue
            rows = frame.rows()
        except FrameInvalid as error:
            log.problems.append(Problem("frame_forged", str(error), path.name))
            continue
        first = rows.column("log_index")[0].as_py() if rows.num_rows else 0
        leaves = LeavesReport.of(first, rows.num_rows)
        checked = check_batch(rows, tenant=log.tenant, writer=log.writer)
        leaves.add(rows, checked, path.name, marker=marker)
        check_windows(leaves, windows, rows, path.name)
        leaves.add_times(rows)
        leaves.settle_times()
        found.append(leaves)
    return sorted(found, key=lambda leaves: leaves.first)


def _tasks(
    layout: Layout, tenant: str, trust: Trust, logs: list[LogReport]
) -> dict[str, list[SegmentTask]]:
    """The segments to check, by writer; files that do not count are problems of their log."""
    reports = {log.writer: log for log in logs}
    for log in logs:
        check_segment_notes(layout.log(tenant, log.writer), log, trust.of_log(tenant, log.writer))
    superseded: list[Segment] = []
    segments, problems = find_segments(layout, tenant, keys=trust.keys, superseded=superseded)
    for problem in problems:
        name = parse_segment_file(problem.path.name)
        writer = name.writer if name is not None else ""
        if writer not in reports:
            reports[writer] = LogReport(tenant, writer)
            logs.append(reports[writer])
        reports[writer].problems.append(_file_problem(layout, tenant, problem))
    for writer, told in check_superseded(superseded, segments):
        reports[writer].problems.append(told)
    tasks: dict[str, list[SegmentTask]] = {}
    for segment in segments:
        task = SegmentTask(
            segment.path, tenant, segment.name, segment.day, segment.note.sha256, trust.seed
        )
        tasks.setdefault(segment.name.writer, []).append(task)
    return tasks


def _file_problem(layout: Layout, tenant: str, problem: SegmentProblem) -> Problem:
    """A file that does not count; one that differs from its signed note is tampered above all."""
    name = parse_segment_file(problem.path.name)
    if name is not None and problem.code in ("wrong_rows", "not_parquet"):
        try:
            raw = (layout.log(tenant, name.writer) / name.note()).read_bytes()
            if read_segment_note(raw, ()).sha256 != file_sha256(problem.path):
                message = "the file's bytes are not what was signed"
                return Problem("sha256_differs", message, problem.path.name)
        except (OSError, NoteInvalid):
            pass  # what is wrong with the note is told on its own
    return Problem(problem.code, problem.message, problem.path.name)


def _check_all(
    work: list[tuple[LogReport, SignedSizes, list[LeavesReport], list[SegmentTask]]],
    layout: Layout,
    request: VerifyRequest,
    progress: Progress | None,
) -> None:
    tasks = [task for *_, mine in work for task in mine]
    checked = _run(tasks, request.processes)
    done = 0
    for log, signed, hot, mine in work:
        spill, sealed = Spill(), []
        for _ in mine:
            leaves = next(checked)
            leaves.keep(spill)
            sealed.append(leaves)
            done += 1
            if progress is not None:
                progress(done, len(tasks))
        if any(problem.code == "log_missing" for problem in log.problems):
            continue
        if not log.writer or not (sealed or hot or signed.roots or log.problems):
            continue
        check_log(
            log,
            Gathered(sealed, hot),
            signed,
            LogFolders(layout.log(log.tenant, log.writer), layout.quarantine(log.tenant)),
            sealed_only=request.sealed,
        )
        tell_witnessed(log, signed)


def _run(tasks: Sequence[SegmentTask], processes: int) -> Iterator[LeavesReport]:
    rows = sum(task.name.rows for task in tasks)
    if processes < 2 or len(tasks) < 2 or rows < _PARALLEL_ROWS_MIN:
        yield from map(check_segment, tasks)
        return
    # Spawned, not forked: this process has threads of Arrow.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(check_segment, tasks)


def _strangers(layout: Layout, logs: list[LogReport]) -> None:
    """Files and folders directly under `events/` that belong to no tenant."""
    known = {f"tenant={tenant}" for tenant in layout.tenants()}
    for path in sorted(layout.events.iterdir()) if layout.events.is_dir() else ():
        if path.name not in known or not path.is_dir():
            problem = Problem("not_a_segment", "not a tenant's folder", path.name)
            logs.append(LogReport("", "", problems=[problem]))


def _outcome(logs: list[LogReport], trust: Trust) -> Outcome:
    real = [log for log in logs if log.writer or log.problems]
    outcome = outcome_of(real)
    if outcome is Outcome.VERIFIED and not (trust.keys or trust.known):
        return Outcome.UNANCHORED
    return outcome


def _anchor(trust: Trust, logs: list[LogReport]) -> str:
    if trust.policy is not None:
        return "policy" if any(log.anchored for log in logs) else "none"
    if trust.known and any(log.anchored for log in logs):
        return "known"
    return "own-key" if trust.keys else "none"
