"""`verify` of a bundle, offline, against keys or checkpoints from outside. Pure."""

import base64
import hashlib
from collections.abc import Mapping, Sequence

from ..bundle.archive import is_packed, read_archive, unpack
from ..bundle.content import check_names, read_content
from ..bundle.files import MANIFEST, check_files, manifest
from ..bundle.proof import Log, ProvedBundle, prove
from ..errors import BundleInvalid, NoteInvalid
from ..note import Checkpoint, VerifierKey, open_checkpoint
from .report import LogReport, Outcome, Problem, Report, outcome_of


def judge_bundle(
    raw: bytes, *, keys: Sequence[VerifierKey] = (), known: Sequence[Checkpoint] = ()
) -> tuple[Report, ProvedBundle | None]:
    """Judge a bundle, and what it proves if it does. Never raises for what the bytes hold.

    1. The archive is whole, and written the one way there is.
    2. It has the files of a bundle, no others, and each is the one that MANIFEST names.
    3. Everything that it says is proved, as `prove` lists it.
    4. Every byte of every file follows from what is proved, README and report included.
    5. Each checkpoint is one that the caller holds, or is proved to be a part of it, or is signed
       by a key that the caller brought. What the bundle brings is not trusted.
    """
    try:
        files = read_archive(unpack(raw) if is_packed(raw) else raw)  # (1)
        check_names(files)  # (2)
        _check_manifest(files)
        proved = prove(read_content(files))  # (3)
        check_files(files, proved)  # (4)
    except BundleInvalid as error:
        problem = Problem(error.code, str(error), error.file, error.log_index)
        return Report(Outcome.TAMPERED, "none", [LogReport("", "", problems=[problem])]), None
    logs = [_judged(proved, log, keys, known) for log in proved.logs]  # (5)
    outcome = outcome_of(logs)
    anchor = "none" if outcome is not Outcome.VERIFIED else "own-key" if keys else "known"
    return Report(outcome, anchor, logs), proved


def _check_manifest(files: Mapping[str, bytes]) -> None:
    told = files.get(MANIFEST, b"")
    if told == manifest(files):
        return
    lines = set(told.splitlines())
    for name in sorted(files.keys() - {MANIFEST}):
        line = f"{hashlib.sha256(files[name]).hexdigest()}  {name}".encode()
        if line not in lines:
            raise BundleInvalid("manifest_differs", "not the file that MANIFEST names", name)
    raise BundleInvalid("manifest_differs", "it names files that are not here", MANIFEST)


def _judged(
    proved: ProvedBundle,
    log: Log,
    keys: Sequence[VerifierKey],
    known: Sequence[Checkpoint],
) -> LogReport:
    newest = log.newest
    report = LogReport(
        proved.content.head.tenant,
        log.writer,
        size=newest.size,
        root=base64.b64encode(newest.root).decode(),
        checkpoint_size=newest.size,
    )
    held = [each for each in known if each.origin == newest.origin]
    trusted = set()
    for checkpoint, raw in log.checkpoints:
        file = f"logs/{log.writer}/checkpoint.{checkpoint.size}"
        try:
            if _is_vouched_for(log, checkpoint, raw, keys, held):
                trusted.add(checkpoint)
        except NoteInvalid as error:
            report.problems.append(Problem("checkpoint_invalid", str(error), file))
    if keys and all(key.name != newest.origin for key in keys):
        words = f"no key that you gave is of the log {newest.origin}"
        report.problems.append(Problem("key_missing", words))
    report.problems += _contradictions(log, held, signed=log.newest in trusted)
    events = [each for each in proved.events if each.checkpoint.origin == newest.origin]
    vouched = [each for each in events if each.checkpoint in trusted]
    report.anchored = len(vouched) == len(events)
    if outcome_of([report]) in (Outcome.VERIFIED, Outcome.UNANCHORED):
        report.events_verified = len(vouched if keys or known else events)
    return report


def _is_vouched_for(
    log: Log,
    checkpoint: Checkpoint,
    raw: bytes,
    keys: Sequence[VerifierKey],
    held: Sequence[Checkpoint],
) -> bool:
    """Whether the caller has reason to trust a checkpoint; NoteInvalid where a key says no.

    The checkpoints of a log were proved to extend each other, so that one that the caller holds
    vouches for the smaller ones, and for nothing above it.
    """
    here = {each for each, _ in log.checkpoints}
    if any(each in here and checkpoint.size <= each.size for each in held):
        return True
    own = [key for key in keys if key.name == checkpoint.origin]
    if not own:
        return False
    open_checkpoint(raw, keys=own)
    return True


def _contradictions(log: Log, held: Sequence[Checkpoint], *, signed: bool) -> list[Problem]:
    """What the bundle says against checkpoints that the caller holds, or leaves open."""
    problems = []
    for mine in held:
        same_size = [each for each, _ in log.checkpoints if each.size == mine.size]
        if not same_size:
            words = (
                f"your checkpoint over {mine.size} leaves is not in this bundle: to link it, ask "
                f"for `log consistency` between {mine.size} and {log.newest.size}"
            )
            problems.append(Problem("known_unlinked", words))
        elif same_size[0] != mine:
            words = f"another root over {mine.size} leaves than in the checkpoint that you hold"
            file = f"logs/{log.writer}/checkpoint.{mine.size}"
            problems.append(Problem("fork" if signed else "checkpoint_invalid", words, file))
    return problems
