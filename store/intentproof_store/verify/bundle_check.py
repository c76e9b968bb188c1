"""`verify` of a bundle, offline, against keys or checkpoints from outside. Pure."""

import base64
import hashlib
from collections.abc import Mapping

from ..bundle.archive import is_packed, read_archive, unpack
from ..bundle.content import read_content
from ..bundle.files import MANIFEST, check_files, manifest
from ..bundle.proof import Log, ProvedBundle, prove
from ..errors import BundleInvalid
from ..layout import parse_anchor, token_name
from .bundle_trust import Trusted, trusted_size
from .notes import SignedSizes
from .report import LogReport, Outcome, Problem, Report, StampedTime, outcome_of
from .stamps import Kept, TokenJudge, judge_kept, require_stamp

_NOTHING = Trusted()


def judge_bundle(raw: bytes, trusted: Trusted = _NOTHING) -> tuple[Report, ProvedBundle | None]:
    """Judge a bundle, and what it proves if it does. Never raises for what the bytes hold.

    1. The archive is whole, and written the one way there is.
    2. Every file is the one that MANIFEST names.
    3. Everything that it says is proved, as `prove` lists it.
    4. It has the files that follow from this and no others, to the byte, README and report too.
    5. Every time stamp holds, as `judge_kept` lists it, and is of a checkpoint that is here.
    6. The caller has reason to trust the checkpoints, as `trusted_size` lists it. What the bundle
       brings is not trusted.
    """
    try:
        files = read_archive(unpack(raw) if is_packed(raw) else raw)  # (1)
        _check_manifest(files)  # (2)
        proved = prove(read_content(files))  # (3)
        check_files(files, proved)  # (4)
    except BundleInvalid as error:
        problem = Problem(error.code, str(error), error.file, error.log_index)
        return Report(Outcome.TAMPERED, "none", [LogReport("", "", problems=[problem])]), None
    logs = [_judged(proved, log, trusted) for log in proved.logs]  # (5), (6)
    outcome = outcome_of(logs)
    anchor = _anchor(trusted) if outcome is Outcome.VERIFIED else "none"
    return Report(outcome, anchor, logs), proved


def _anchor(trusted: Trusted) -> str:
    if trusted.policy is not None:
        return "policy"
    return "own-key" if trusted.keys else "known"


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


def _judged(proved: ProvedBundle, log: Log, trusted: Trusted) -> LogReport:
    newest = log.newest
    report = LogReport(
        proved.content.head.tenant,
        log.writer,
        size=newest.size,
        root=base64.b64encode(newest.root).decode(),
        checkpoint_size=newest.size,
    )
    events = [each for each in proved.events if each.checkpoint.origin == newest.origin]
    stamps = _stamps(proved, log, trusted, report)
    report.anchor_size = trusted_size(log, trusted, events, report, stamps=stamps)
    vouched = [each for each in events if each.checkpoint.size <= report.anchor_size]
    report.anchored = len(vouched) == len(events)
    require_stamp(report)
    if outcome_of([report]) in (Outcome.VERIFIED, Outcome.UNANCHORED):
        report.events_verified = len(events if trusted == Trusted() else vouched)
    return report


def _stamps(
    proved: ProvedBundle, log: Log, trusted: Trusted, report: LogReport
) -> list[StampedTime]:
    """The time stamps that hold; without authorities no time is taken from them."""
    origin = log.newest.origin
    own = [key for key in trusted.keys if key.name == origin] or [
        key for key in proved.content.keys if key.name == origin
    ]
    sizes = SignedSizes(roots={each.size: each.root for each in log.all})
    tokens = TokenJudge(trusted.authorities)
    files, folder, stamps = proved.content.logs[log.writer], f"logs/{log.writer}", []
    for name in sorted(name for name in files if name.startswith("anchor.")):
        size = parse_anchor(name)
        if size is None and name.removesuffix(".tsr") not in files:
            words = "a token without the proof of what it is of"
            report.problems.append(Problem("stamp_invalid", words, f"{folder}/{name}"))
        elif size is not None and size not in sizes.roots:
            words = "no checkpoint of that size is here"
            report.problems.append(Problem("stamp_invalid", words, f"{folder}/{name}"))
        elif size is not None:
            kept = Kept(f"{folder}/{name}", files[name], files.get(token_name(name)))
            stamp = judge_kept(kept, report, own=own, sizes=sizes, tokens=tokens)
            stamps += [] if stamp is None else [stamp]
    if trusted.authorities is None:
        return []
    report.stamps = stamps
    return stamps
