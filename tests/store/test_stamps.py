"""Time stamps of a store by a real authority: made, kept, judged, and what an attacker may try."""

import argparse
import json
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from intentproof_store.anchors import anchor_name, anchor_origin, make_anchor
from intentproof_store.errors import HomeInvalid, StampInvalid, StampUntrusted
from intentproof_store.identity import load_identity, trusted_keys
from intentproof_store.layout import parse_anchor, token_name
from intentproof_store.note import Checkpoint, read_checkpoint, sign_note
from intentproof_store.stamping import Kept, Stamping, Unstamped, last_stamp
from intentproof_store.tokens import (
    check_token,
    read_authorities,
    request_token,
    verify_token,
)
from intentproof_store.verify import Outcome, Report, VerifyRequest, verify_store
from intentproof_store.verify.command import register as register_verify
from intentproof_store.verify.notes import SignedSizes
from intentproof_store.verify.report import LogReport
from intentproof_store.verify.stamps import TokenJudge, read_stamps

from tests.examples import THOROUGH, examples
from tests.store.support import REPOSITORY, TENANT, Place, append, events, place
from tests.tsa import Authority, authority, needs_openssl, note_in

pytestmark = needs_openssl
LOG_NAME = "intentproof.local"
HOUR_NS = 3_600 * 10**9


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tsa") / "rsa", kind="rsa")


@pytest.fixture
def here(tmp_path: Path) -> Place:
    """A store of two tenants with sealed events, closed."""
    where = place(tmp_path)
    with where.ledger(time.time_ns) as ledger:
        append(ledger, events(0, 20))
        append(ledger, events(0, 5), tenant="globex")
    return where


def stamping(where: Place, tsa: Authority | None) -> Stamping:
    authorities = None if tsa is None else read_authorities(tsa.roots.read_bytes())
    return Stamping(
        store=where.layout.root, home=where.home, log_name=LOG_NAME, authorities=authorities
    )


def waiting(where: Place, tsa: Authority | None = None) -> Unstamped:
    found = stamping(where, tsa).unstamped()
    assert found is not None
    return found


def stamp(where: Place, tsa: Authority) -> Kept:
    maker = stamping(where, tsa)
    wanted = maker.unstamped()
    assert wanted is not None
    return maker.keep(wanted, tsa.answer(wanted.request.query))


def verify(where: Place, tsa: Authority | None = None, **changes: Any) -> Report:
    roots = None if tsa is None else tsa.roots
    request = VerifyRequest(store=where.layout.root, hot=where.hot, home=where.home, tsa=roots)
    return verify_store(replace(request, **changes))


def codes(report: Report) -> set[str]:
    return {problem.code for log in report.logs for problem in log.problems}


def files(where: Place, tenant: str = TENANT) -> list[Path]:
    """The proofs of a log's stamps, each of which has its token beside it."""
    found = [path for path in where.log(tenant).iterdir() if parse_anchor(path.name) is not None]
    return sorted(found)


def token_of(path: Path) -> Path:
    return path.with_name(token_name(path.name))


def test_a_store_is_stamped(here: Place, tsa: Authority) -> None:
    """Each log has a stamp over its newest checkpoint, and the judge tells before when it stood."""
    before = int(time.time())
    kept = stamp(here, tsa)
    assert kept.logs == 2
    assert before < kept.seconds <= time.time() + 3  # a second for the fraction, one of accuracy
    report = verify(here, tsa)
    assert report.outcome is Outcome.VERIFIED
    for log in report.logs:
        assert log.stamped_size == log.size == log.checkpoint_size
        assert log.stamped_times(log.size) == [kept.seconds]
        assert log.stamped_times(log.size - 1) == []
        told = {"count": 1, "size": log.size, "before_s": kept.seconds}
        assert log.document()["stamps"] == told
    assert "stamps" not in verify(here).logs[0].document()


def test_one_token_serves_all_logs(here: Place, tsa: Authority) -> None:
    """The same token stands in each log's folder, and no folder has a word of another tenant."""
    stamp(here, tsa)
    ((mine,), (other,)) = files(here), files(here, "globex")
    assert token_of(mine).read_bytes() == token_of(other).read_bytes()
    assert note_in(mine.read_bytes()) == note_in(other.read_bytes())
    for path in (mine, token_of(mine)):
        assert b"globex" not in path.read_bytes()


def test_what_is_stamped_is_not_stamped_again(here: Place, tsa: Authority) -> None:
    """Only checkpoints that are newer than the last stamp wait for one, also after a restart."""
    first = stamp(here, tsa)
    assert stamping(here, tsa).unstamped() is None
    assert last_stamp(here.home).seconds == first.seconds
    with here.ledger(time.time_ns) as ledger:
        append(ledger, events(20, 30))
    found = waiting(here)
    assert [checkpoint.origin.split("/")[1] for checkpoint, _ in found.logs] == [TENANT]
    stamp(here, tsa)
    (log, _) = verify(here, tsa).logs
    assert [each.size for each in log.stamps or ()] == [21, 31]
    assert len(log.stamped_times(21)) == len(log.stamped_times(31)) == 1


def test_a_memory_that_is_lost_costs_a_stamp(here: Place, tsa: Authority) -> None:
    """Without what `--home` remembers, the same checkpoints are stamped once more; both hold."""
    stamp(here, tsa)
    (here.home / "last-stamp").unlink()
    stamp(here, tsa)
    report = verify(here, tsa)
    assert report.outcome is Outcome.VERIFIED
    assert len(report.logs[0].stamped_times(21)) == 2
    (here.home / "last-stamp").write_text('{"seconds": 5}')
    with pytest.raises(HomeInvalid, match="may be deleted"):
        stamping(here, tsa).unstamped()


def test_a_former_writer_is_stamped(here: Place, tsa: Authority) -> None:
    """The logs that the same home signed as another writer get a stamp, too."""
    former = here.writer
    with here.ledger(time.time_ns, new_writer=True) as ledger:
        append(ledger, events(0, 3))
    found = {checkpoint.origin.split("/", 1)[1] for checkpoint, _ in waiting(here).logs}
    assert found == {f"acme/{former}", f"globex/{former}", f"acme/{here.writer}"}
    stamp(here, tsa)
    assert verify(here, tsa).outcome is Outcome.VERIFIED


def test_a_log_that_is_not_in_the_store_waits(here: Place, tsa: Authority) -> None:
    """A log of which the store has no checkpoint keeps no other log from its stamp."""
    shutil.rmtree(here.log("globex"))
    kept = stamp(here, tsa)
    assert kept.logs == 1
    assert not here.log("globex").exists()


def test_an_auditor_needs_no_software_of_ours(here: Place, tsa: Authority, tmp_path: Path) -> None:
    """`openssl ts -verify` accepts the token over the anchor that `sed` takes out of the file."""
    stamp(here, tsa)
    (path,) = files(here)
    size = parse_anchor(path.name)
    script = f"""
    set -eu
    sed '1,/^$/d' {path} > anchor.note
    openssl ts -verify -data anchor.note -in {path}.tsr -CAfile {tsa.roots}
    openssl ts -reply -in {path}.tsr -text | grep 'Time stamp:'
    sed -n 's/^extra //p' {path} | base64 -d | tail -c +33 | cmp - {path.parent}/checkpoint.{size}
    {{ printf '\\0'; sed -n 's/^extra //p' {path} | base64 -d; }} | openssl dgst -sha256 -binary \
        > leaf
    sed -n '/^index /,/^$/p' {path} | sed '1d;$d' | base64 -d > other
    index=$(sed -n 's/^index //p' {path})
    if [ $index = 0 ]; then set leaf other; else set other leaf; fi
    {{ printf '\\1'; cat $1 $2; }} | openssl dgst -sha256 -binary | base64 > root
    sed -n 3p anchor.note | cmp - root
    """
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "Verification: OK" in done.stdout


def test_a_refusal_is_told(here: Place, tsa: Authority) -> None:
    """What an authority refuses, in its own words, is no stamp, and nothing is kept."""
    maker = stamping(here, tsa)
    wanted = waiting(here)
    refusal = tsa.answer(b"no request")
    with pytest.raises(StampInvalid, match="refused: status 2"):
        maker.keep(wanted, refusal)
    with pytest.raises(StampInvalid, match=r"cannot be read|DER|cut off"):
        maker.keep(wanted, b"<html>moved</html>")
    with pytest.raises(StampInvalid, match="limit"):
        maker.keep(wanted, bytes(1 << 21))
    assert files(here) == []


def test_an_answer_to_another_request_is_refused(here: Place, tsa: Authority) -> None:
    """A token of the same anchor with another nonce, or of another anchor, is not kept."""
    maker = stamping(here, tsa)
    wanted, other = waiting(here), waiting(here)
    replayed = replace(wanted, request=replace(wanted.request, nonce=wanted.request.nonce ^ 1))
    with pytest.raises(StampInvalid, match="answers another request"):
        maker.keep(replayed, tsa.answer(wanted.request.query))
    with pytest.raises(StampInvalid, match="of something else"):
        maker.keep(wanted, tsa.answer(other.request.query))
    assert files(here) == []
    assert last_stamp(here.home).seconds == 0


def days(first: int, last: int) -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    return now + timedelta(days=first), now + timedelta(days=last)


def test_a_strange_authority(here: Place, tsa: Authority, tmp_path: Path) -> None:
    """A token of an authority that is not trusted is a remark, and the log then has no stamp."""
    other = authority(tmp_path / "other", name="Other")
    wanted = waiting(here)
    token = other.answer(wanted.request.query)
    with pytest.raises(StampUntrusted, match="do not trust"):
        stamping(here, tsa).keep(wanted, token)
    assert files(here) == []
    stamping(here, None).keep(wanted, token)  # as one does who has no roots
    report = verify(here, tsa)
    assert codes(report) == {"stamp_untrusted", "not_stamped"}
    assert report.outcome is Outcome.INCOMPLETE
    assert verify(here, other).outcome is Outcome.VERIFIED
    (here.home / "last-stamp").unlink()
    stamp(here, tsa)
    report = verify(here, tsa)
    assert codes(report) == {"stamp_untrusted"}
    assert report.outcome is Outcome.VERIFIED
    assert report.events_verified == 25


@pytest.mark.parametrize(
    ("valid", "message"),
    [
        (days(-20, -10), "certificate has expired"),
        (days(10, 20), "not yet valid"),
        (None, "signature failure"),
    ],
    ids=["expired", "not yet valid", "of the same names"],
)
def test_a_false_authority(
    here: Place,
    tsa: Authority,
    tmp_path: Path,
    valid: tuple[datetime, datetime] | None,
    message: str,
) -> None:
    """Who claims to be of a trusted root must be: certified by it, and valid at that time."""
    other = authority(tmp_path / "other", valid=valid)
    trusted = other if valid else tsa
    wanted = waiting(here)
    token = other.answer(wanted.request.query)
    with pytest.raises(StampInvalid, match=message):
        stamping(here, trusted).keep(wanted, token)
    assert files(here) == []
    stamping(here, None).keep(wanted, token)
    report = verify(here, trusted)
    assert codes(report) == {"stamp_invalid", "not_stamped"}
    assert report.outcome is Outcome.TAMPERED


def test_a_certificate_that_expired_since(here: Place, tmp_path: Path) -> None:
    """A stamp outlives the certificate of who made it: what counts is the time of the stamp."""
    now = datetime.now(UTC).replace(microsecond=0)
    end = now + timedelta(seconds=3)
    short = authority(tmp_path / "short", valid=(now - timedelta(days=1), end))
    wanted = waiting(here)
    token = short.answer(wanted.request.query)
    stamping(here, short).keep(wanted, token)
    while datetime.now(UTC) <= end:
        time.sleep(0.05)  # until the certificate has expired
    (path,) = files(here)
    (tmp_path / "note").write_bytes(note_in(path.read_bytes()))
    words = ["-verify", "-data", str(tmp_path / "note"), "-in", str(token_of(path))]
    with pytest.raises(AssertionError, match="expired"):
        short.openssl(*words, "-CAfile", str(short.roots))
    at = str(check_token(token, digest=wanted.request.digest) - 2)
    assert "OK" in short.openssl(*words, "-CAfile", str(short.roots), "-attime", at)
    assert verify(here, short).outcome is Outcome.VERIFIED


@pytest.mark.parametrize("usage", [True, False])
def test_a_certificate_for_something_else(
    here: Place, tsa: Authority, tmp_path: Path, *, usage: bool
) -> None:
    """Of a trusted root, only a certificate that may be used for time stamps makes some."""
    other = authority(tmp_path / "other", name="Other", usage=usage)
    wanted = waiting(here)
    token = other.signed_over(tsa.answer(wanted.request.query))
    if usage:
        stamping(here, other).keep(wanted, token)
        return
    with pytest.raises(StampInvalid, match="unsuitable certificate purpose"):
        stamping(here, other).keep(wanted, token)
    assert files(here) == []


def test_every_kind_of_key(here: Place, tmp_path: Path) -> None:
    """A token that is signed with an elliptic curve holds as one with RSA does."""
    stamp(here, authority(tmp_path / "ec", kind="ec"))
    assert verify(here, Authority(tmp_path / "ec")).outcome is Outcome.VERIFIED


Judged = Callable[[Authority | None], LogReport]


@pytest.fixture
def judged(here: Place) -> Judged:
    """What `verify` finds of the stamps in a log's folder, and nothing else."""
    writer, folder = here.writer, here.log()
    own = [key for key in trusted_keys(here.home) if f"/{TENANT}/" in key.name]

    def judge(tsa: Authority | None) -> LogReport:
        report = LogReport(TENANT, writer)
        authorities = None if tsa is None else read_authorities(tsa.roots.read_bytes())
        tokens = TokenJudge(authorities)
        read_stamps(folder, report, own=own, sizes=SignedSizes(), tokens=tokens)
        return report

    return judge


def flipped(raw: bytes) -> "list[bytes]":
    """The bytes with single bits turned over (one in three, at night each), or cut off anywhere."""
    made = []
    for bit in range(0, len(raw) * 8, 1 if THOROUGH else 3):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        made.append(bytes(changed))
    return made + [raw[:end] for end in range(len(raw))]


def test_every_bit_counts(here: Place, tsa: Authority, judged: Judged) -> None:
    """No bit of a proof or a token may turn, and no byte be cut off: 0 are accepted."""
    stamp(here, tsa)
    (path,) = files(here)
    assert len(judged(tsa).stamps or ()) == 1
    for file in (path, token_of(path)):
        raw = file.read_bytes()
        accepted = 0
        for changed in flipped(raw):
            file.write_bytes(changed)
            report = judged(None)  # without authorities, too
            found = {problem.code for problem in report.problems}
            accepted += found != {"stamp_invalid"}
        file.write_bytes(raw)
        assert accepted == 0, file.name
    assert len(judged(tsa).stamps or ()) == 1


def test_a_token_that_was_renamed_says_nothing_else(here: Place, tsa: Authority) -> None:
    """With the name made to fit, a changed token says the same as before or is refused."""
    wanted = waiting(here)
    token = tsa.answer(wanted.request.query)
    digest = wanted.request.digest
    authorities = read_authorities(tsa.roots.read_bytes())
    true = verify_token(token, digest=digest, authorities=authorities)
    said = set()
    every = 5 // examples(5)  # while one waits, each fifth
    for changed in flipped(token)[::every]:
        try:
            said.add(verify_token(changed, digest=digest, authorities=authorities))
        except StampInvalid:
            continue
    assert said == {true}


def test_a_kill_between_token_and_proof(here: Place, tsa: Authority) -> None:
    """Killed at any step, the store verifies, and the next stamp is made as if nothing was."""
    wanted = waiting(here)
    token = tsa.answer(wanted.request.query)
    program = f"""
import os, pickle, signal, sys
from intentproof_store import stamping
wanted, token = pickle.load(sys.stdin.buffer)
maker = stamping.Stamping(
    store=stamping.Path({str(here.layout.root)!r}), home=stamping.Path({str(here.home)!r}),
    log_name={LOG_NAME!r}, authorities=None,
)
real, left = stamping.create_file, [int(sys.argv[1])]
def create(*arguments, **more):
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    return real(*arguments, **more)
stamping.create_file = stamping.write_file = create
maker.keep(wanted, token)
"""
    for steps in range(5):  # two files of each of two logs, then the memory
        done = subprocess.run(
            [sys.executable, "-c", program, str(steps)],
            input=pickle.dumps((wanted, token)),
            cwd=REPOSITORY,
            check=False,
            timeout=60,
        )
        assert done.returncode == -signal.SIGKILL
        assert len(files(here)) == (steps >= 2)
        assert len(files(here, "globex")) == (steps >= 4)
        assert verify(here).outcome is Outcome.VERIFIED
        assert last_stamp(here.home).seconds == 0
    stamp(here, tsa)
    report = verify(here, tsa)
    assert report.outcome is Outcome.VERIFIED
    assert len(report.logs[0].stamps or ()) == 2


# An attacker who holds the disk, and the log's key where a test says so.


def test_stamps_that_are_gone_are_missed(here: Place, tsa: Authority) -> None:
    """Who asks for time stamps is told where a log has none, or a proof without its token."""
    stamp(here, tsa)
    (path,) = files(here)
    token_of(path).unlink()
    report = verify(here, tsa)
    assert codes(report) == {"stamp_missing", "not_stamped"}
    assert report.outcome is Outcome.INCOMPLETE
    path.unlink()
    report = verify(here, tsa)
    assert codes(report) == {"not_stamped"}
    assert report.outcome is Outcome.INCOMPLETE
    assert verify(here, tsa, tenant="globex").outcome is Outcome.VERIFIED


def test_a_past_that_was_stamped_cannot_be_written_again(here: Place, tsa: Authority) -> None:
    """With the log's key, another checkpoint of a stamped size is a fork: both are signed."""
    stamp(here, tsa)
    identity = load_identity(here.home, LOG_NAME)
    origin = identity.origin(TENANT)
    forged = Checkpoint(origin, 21, bytes(32))
    raw = sign_note(forged.text(), name=origin, key=identity.signing_key)
    for name in ("checkpoint", "checkpoint.21"):
        (here.log() / name).write_bytes(raw)
    assert verify(here).outcome is Outcome.FORK


def test_a_tail_that_was_stamped_cannot_be_cut(here: Place, tsa: Authority) -> None:
    """With all newer checkpoints gone, the stamped one still tells how long the log was."""
    with here.ledger(time.time_ns) as ledger:
        append(ledger, events(20, 30))
    stamp(here, tsa)
    log = here.log()
    for path in log.glob("checkpoint.31"):
        path.unlink()
    shutil.copy(log / "checkpoint.21", log / "checkpoint")
    (here.home / "last-checkpoint").unlink()
    assert verify(here).outcome is Outcome.VERIFIED
    for path in [*log.glob("segment.*21-*"), *here.layout.tenant_events(TENANT).rglob("*21-*")]:
        path.unlink()
    shutil.rmtree(log / "tile")
    report = verify(here)
    assert report.outcome is Outcome.INCOMPLETE
    assert "leaves_missing" in codes(report)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.rename(path.with_name(path.name.replace("21", "20"))), "does not say"),
        (lambda path: path.rename(path.with_name(path.name[:-1] + "x")), ""),
        (lambda path: path.write_bytes(b""), "first line"),
    ],
    ids=["another size", "no such name", "empty"],
)
def test_files_that_were_moved(
    here: Place, tsa: Authority, change: Callable[[Path], object], message: str
) -> None:
    """A file under another name, or with nothing in it, is no stamp."""
    stamp(here, tsa)
    (path,) = files(here)
    change(path)
    report = verify(here, tsa)
    told = [problem for log in report.logs for problem in log.problems]
    if message:
        (problem,) = [each for each in told if each.code == "stamp_invalid"]
        assert message in problem.message
    assert "not_stamped" in codes(report)


def test_a_stamp_of_another_log(here: Place, tsa: Authority) -> None:
    """The stamp of one tenant's log is none of another's."""
    stamp(here, tsa)
    ((mine,), (other,)) = files(here), files(here, "globex")
    shutil.copy(other, here.log())
    shutil.copy(token_of(other), here.log())
    assert mine.name != other.name
    report = verify(here, tsa)
    (problem,) = [problem for log in report.logs for problem in log.problems]
    assert (problem.code, problem.file) == ("stamp_invalid", other.name)
    assert report.outcome is Outcome.TAMPERED


def test_a_checkpoint_that_nobody_signed(here: Place, tsa: Authority) -> None:
    """What a stamp is over counts only where the log's key signed it."""
    maker = stamping(here, tsa)
    wanted = waiting(here)
    stranger = load_identity(here.root / "stranger", LOG_NAME).signing_key
    logs = []
    for checkpoint, anchored in wanted.logs:
        text = checkpoint.text()
        note = sign_note(text, name=checkpoint.origin, key=stranger)
        logs.append((checkpoint, replace(anchored, note=note)))
    maker.keep(replace(wanted, logs=tuple(logs)), tsa.answer(wanted.request.query))
    report = verify(here, tsa)
    assert codes(report) == {"stamp_invalid", "not_stamped"}


def test_a_time_names_no_key(here: Place, tsa: Authority) -> None:
    """Without a key or checkpoint from outside, a stamped store is unanchored, and says why."""
    stamp(here, tsa)
    report = verify(here, tsa, home=None)
    assert report.outcome is Outcome.UNANCHORED
    assert report.anchor == "none"
    assert [log.stamped_size for log in report.logs] == [21, 6]


def test_sealed_leaves_only(here: Place, tsa: Authority) -> None:
    """`--sealed` counts no stamp over leaves that are not sealed."""
    with here.ledger(time.time_ns, checkpoint_seconds=0.01) as ledger:
        append(ledger, events(20, 25))
        latest = here.log() / "checkpoint"
        while read_checkpoint(latest.read_bytes()).size < 26:
            time.sleep(0.01)
        stamp(here, tsa)
        image = here.crash_image()
    (log,) = verify(image, tsa, tenant=TENANT).logs
    assert log.stamped_size == 26
    report = verify(image, tsa, tenant=TENANT, sealed=True)
    assert report.logs[0].stamps == []
    assert codes(report) == {"not_stamped"}


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(here: Place, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*argv: object) -> tuple[int, str, str]:
        parser = argparse.ArgumentParser()
        register_verify(parser.add_subparsers(required=True))
        places = argparse.Namespace(store=here.layout.root, home=here.home, hot=here.hot)
        args = parser.parse_args(["verify", *map(str, argv)], places)
        code = args.run(args)
        return code, *capsys.readouterr()

    return command


def test_the_command_says_what_a_stamp_shows(here: Place, tsa: Authority, run: Run) -> None:
    """`verify --tsa` names the time and the leaves, and says that a time names no key."""
    kept = stamp(here, tsa)
    with here.ledger(time.time_ns) as ledger:
        append(ledger, events(20, 22))
    moment = datetime.fromtimestamp(kept.seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    code, out, _ = run("--tsa", tsa.roots)
    assert code == 0
    assert f"the first 21 leaves existed before {moment}.000000Z: 1 time stamps hold" in out
    assert "leaves from 21 on have no time stamp yet" in out
    assert "not whose it is" not in out


def test_the_command_speaks_json(here: Place, tsa: Authority, run: Run) -> None:
    """`verify --tsa --json` has the stamps of each log."""
    stamp(here, tsa)
    code, out, _ = run("--tsa", tsa.roots, "--json")
    assert code == 0
    assert [log["stamps"]["size"] for log in json.loads(out)["logs"]] == [21, 6]


@pytest.mark.parametrize("content", [b"", b"no certificate", None])
def test_roots_that_cannot_be_read(
    here: Place, tmp_path: Path, run: Run, content: bytes | None
) -> None:
    """A file without a root certificate is a wrong command line, and is named."""
    roots = tmp_path / "roots.pem"
    if content is not None:
        roots.write_bytes(content)
    code, _, err = run("--tsa", roots)
    assert code == 6
    assert str(roots) in err


def test_an_issuer_alone_is_no_root(tsa: Authority, here: Place, run: Run) -> None:
    """A certificate that another one issued is not trusted for itself."""
    code, _, err = run("--tsa", tsa.folder / "tsa.pem")
    assert code == 6
    assert "no root certificate" in err


def test_no_name_is_given_twice(here: Place, tsa: Authority) -> None:
    """Two stamps of one checkpoint have two names, and neither replaces the other."""
    wanted = waiting(here)
    first, second = (tsa.answer(wanted.request.query) for _ in range(2))
    assert anchor_name(21, first) != anchor_name(21, second)
    for token in (first, second, first):
        stamping(here, tsa).keep(wanted, token)
    assert len(files(here)) == 2


def test_one_stamp_is_verified_alone(here: Place, tsa: Authority, run: Run, tmp_path: Path) -> None:
    """A proof and its token, taken away, are checked without the store and without its home."""
    stamp(here, tsa)
    (path,) = files(here)
    for file in (path, token_of(path)):
        shutil.copy(file, tmp_path)
    keys, known = here.home / "trusted.vkeys", here.log() / "checkpoint.21"
    taken = tmp_path / path.name
    for trust in (("--key", keys), ("--known", known)):
        code, out, _ = run(taken, "--tsa", tsa.roots, *trust)
        assert code == 0
        assert "VERIFIED: this checkpoint of the log existed then" in out
        assert "the first 21 leaves existed before" in out
    code, out, _ = run(taken, "--tsa", tsa.roots)
    assert code == 3
    assert "not whose it is" in out
    other = here.log("globex") / "checkpoint"
    assert run(taken, "--tsa", tsa.roots, "--known", other)[0] == 3
    (tmp_path / "keys").write_text(
        "".join(line for line in keys.read_text().splitlines(keepends=True) if "globex" in line)
    )
    code, out, _ = run(taken, "--tsa", tsa.roots, "--key", tmp_path / "keys", "--json")
    assert code == 2
    (log,) = json.loads(out)["logs"]
    assert [problem["code"] for problem in log["problems"]] == ["checkpoint_invalid"]
    assert log["stamps"]["size"] == 21
    strange = authority(tmp_path / "strange", name="Strange")
    assert run(taken, "--tsa", strange.roots, "--key", keys)[0] == 2
    token_of(taken).unlink()
    code, out, _ = run(taken, "--tsa", tsa.roots, "--key", keys)
    assert code == 2
    assert "INCOMPLETE: no time is proved" in out


def test_a_stamp_that_cannot_be_judged(here: Place, tsa: Authority, run: Run) -> None:
    """Without authorities, or with bytes that are no proof, nothing is judged; exit 6."""
    stamp(here, tsa)
    (path,) = files(here)
    code, _, err = run(path)
    assert code == 6
    assert "needs --tsa" in err
    path.write_bytes(b"x")
    code, _, err = run(path, "--tsa", tsa.roots)
    assert code == 6
    assert "first line" in err
    code, _, err = run(path, "--tsa", tsa.roots, "--policy", path)
    assert code == 6
    assert "--policy is for" in err
    code, _, err = run(here.log() / "checkpoint", "--tsa", tsa.roots)
    assert code == 6
    assert "--tsa goes with a store" in err


def test_an_event_that_claims_to_be_older_than_a_stamp_before_it(
    here: Place, tsa: Authority, run: Run
) -> None:
    """What stands above a stamped checkpoint came later, whoever holds the log's key."""
    stamp(here, tsa)
    with here.ledger(lambda: time.time_ns() - 2 * HOUR_NS) as ledger:
        append(ledger, events(20, 21))
    assert verify(here).outcome is Outcome.VERIFIED
    report = verify(here, tsa)
    assert (report.outcome, codes(report)) == (Outcome.TAMPERED, {"outside_window"})
    indexes = {each.log_index for each in report.logs[0].problems}
    assert indexes == {21, 22}, "the leaf that tells of the clock, and the event"
    _, out, _ = run("--tsa", tsa.roots)
    assert "by the times that others gave it was not before" in out


def test_an_event_that_claims_to_be_younger_than_its_stamp(tmp_path: Path, tsa: Authority) -> None:
    """What was stamped was there before."""
    where = place(tmp_path)
    with where.ledger(lambda: time.time_ns() + HOUR_NS) as ledger:
        append(ledger, events(0, 2))
    stamp(where, tsa)
    assert verify(where).outcome is Outcome.VERIFIED
    assert codes(verify(where, tsa)) == {"outside_window"}


def test_stamps_an_hour_apart_leave_room_for_clocks(tmp_path: Path, tsa: Authority) -> None:
    """Half an hour before the stamp is not told: what is stamped may be as old as it is allowed."""
    where = place(tmp_path)
    with where.ledger(time.time_ns) as ledger:
        append(ledger, events(0, 2))
    stamp(where, tsa)
    with where.ledger(lambda: time.time_ns() - HOUR_NS // 2) as ledger:
        append(ledger, events(2, 4))
    assert verify(where, tsa).outcome is Outcome.VERIFIED


def test_an_old_checkpoint_that_a_thief_had_stamped_accuses_nobody(
    here: Place, tsa: Authority
) -> None:
    """Without the log's key a stamp can be made of any checkpoint, and later leaves are not old."""
    old = (here.log() / "checkpoint").read_bytes()
    with here.ledger(lambda: time.time_ns() - 2 * HOUR_NS) as ledger:
        append(ledger, events(20, 22))
    key = Ed25519PrivateKey.generate()
    origin = anchor_origin(LOG_NAME, here.writer, bytes(8))
    (anchored,) = make_anchor([old], [bytes(32)], origin=origin, key=key)
    token = tsa.answer(request_token(anchored.anchor).query)
    path = here.log() / anchor_name(read_checkpoint(old).size, token)
    path.write_bytes(anchored.encode())
    token_of(path).write_bytes(token)
    stamp(here, tsa)
    report = verify(here, tsa)
    assert len(report.logs[0].stamps or ()) == 2
    assert (report.outcome, codes(report)) == (Outcome.VERIFIED, set())
