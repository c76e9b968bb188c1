"""The key that signs is changed: the log says so, signed by both, and nobody else can say it."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from intentproof_schemas import schema
from intentproof_store.checkpoints import checkpoint_sizes
from intentproof_store.identity import NEXT_KEY, load_identity, trusted_keys
from intentproof_store.note import (
    VerifierKey,
    open_note,
    parse_checkpoint_text,
    sign_note,
)
from intentproof_store.rotation import begin_rotation, is_rotating
from intentproof_store.verify import Outcome, Report, VerifyRequest, verify_store
from jsonschema import Draft202012Validator
from orjson import loads

from tests.store.support import (
    REPOSITORY,
    TENANT,
    Place,
    append,
    check_sealed,
    event,
    events,
    place,
    read_log,
    verified,
)
from tests.store.test_crash import leftovers, shutter

PROGRAM = str(Path(sys.executable).with_name("intentproof-otel"))
NAME = "intentproof.local"


def rotated(tmp_path: Path) -> Place:
    """Two tenants' logs with five events by the old key each, and two by the new."""
    here = place(tmp_path)
    for tenant in (TENANT, "beta"):
        with here.ledger() as ledger:
            append(ledger, events(0, 5), tenant=tenant)
    (here.root / "old.vkeys").write_bytes((here.home / "trusted.vkeys").read_bytes())
    shutil.copy(here.home / "signing.key", here.root / "stolen.key")
    rotate(here)
    for tenant in (TENANT, "beta"):
        with here.ledger() as ledger:
            append(ledger, events(5, 7), tenant=tenant)
    return here


def rotate(here: Place) -> None:
    begin_rotation(here.home)
    with here.ledger():
        assert not is_rotating(here.home)


def judged(here: Place, keys: Path) -> Report:
    return verify_store(VerifyRequest(store=here.layout.root, hot=here.hot, keys=keys))


def codes(report: Report) -> set[str]:
    return {problem.code for log in report.logs for problem in log.problems}


def signers(here: Place, size: int, tenant: str = TENANT) -> list[VerifierKey]:
    keys = [key for key in trusted_keys(here.home) if f"/{tenant}/" in key.name]
    raw = (here.log(tenant) / f"checkpoint.{size}").read_bytes()
    return list(open_note(raw, keys)[1])


def test_the_log_names_its_new_key_signed_by_both(tmp_path: Path) -> None:
    """A leaf names it, the checkpoint over the leaf has both signatures, later ones the new."""
    here = rotated(tmp_path)
    for tenant in (TENANT, "beta"):
        log = check_sealed(here, tenant)
        assert log.kinds() == ["genesis", *["event"] * 5, "key-rotation", *["event"] * 2]
        (detail,) = map(loads, log.details("key-rotation"))
        Draft202012Validator(schema("key-rotation.v1")).validate(detail)
        old, new = (VerifierKey.parse(detail[name]) for name in ("old_key", "new_key"))
        assert load_identity(here.home, NAME).verifier_key(tenant) == new
        at = {size: signers(here, size, tenant) for size in checkpoint_sizes(here.log(tenant))}
        assert at == {1: [old], 6: [old], 7: [old, new], 9: [new]}
    verified(here)


def test_the_old_key_is_gone_from_the_disk(tmp_path: Path) -> None:
    """Neither its file nor the bytes of that file are left in `--home`."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        append(ledger, [event(1)])
    old = (here.home / "signing.key").read_bytes()
    with (here.home / "signing.key").open("rb") as held:
        rotate(here)
        assert set(held.read()) == {0}
    secret = old.splitlines()[1]
    assert not [p for p in here.home.iterdir() if p.is_file() and secret in p.read_bytes()]
    assert (here.home / "signing.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("which", ["old", "new"])
def test_whoever_pinned_one_key_follows_to_the_other(tmp_path: Path, which: str) -> None:
    """With the old key alone, or the new one alone, the whole log is verified, and that is told."""
    here = rotated(tmp_path)
    keys = here.root / "old.vkeys"
    if which == "new":
        known = keys.read_text()
        lines = (here.home / "trusted.vkeys").read_text().splitlines(keepends=True)
        keys.write_text("".join(line for line in lines if line not in known))
    report = judged(here, keys)
    assert (report.outcome, codes(report)) == (Outcome.VERIFIED, {"key_rotated"})
    assert report.events_verified == 14


def test_rotated_twice_is_followed_twice(tmp_path: Path) -> None:
    """From the first key a reader gets to the third over the second."""
    here = rotated(tmp_path)
    rotate(here)
    with here.ledger() as ledger:
        append(ledger, [event(20)])
    report = judged(here, here.root / "old.vkeys")
    assert report.outcome is Outcome.VERIFIED
    by_log = {log.tenant: [each.code for each in log.problems] for log in report.logs}
    assert by_log[TENANT] == ["key_rotated"] * 2


def forge(here: Place, size: int, *keys: Ed25519PrivateKey) -> None:
    """Sign the same checkpoint again with these keys: the attacker holds them, and the disk."""
    path = here.log() / f"checkpoint.{size}"
    origin = f"{NAME}/{TENANT}/{here.writer}"
    checkpoint = parse_checkpoint_text(path.read_bytes().decode().partition("\n\n")[0] + "\n")
    raw = sign_note(checkpoint.text(), name=origin, key=keys[0])
    for key in keys[1:]:
        also = sign_note(checkpoint.text(), name=origin, key=key)
        raw += also.removeprefix(checkpoint.text().encode() + b"\n")
    path.write_bytes(raw)
    if size == checkpoint_sizes(here.log())[-1]:
        (here.log() / "checkpoint").write_bytes(raw)


def test_a_key_that_no_leaf_names_is_not_accepted(tmp_path: Path) -> None:
    """A later checkpoint by a stranger's key is tampering for whoever pinned the log's key."""
    here = rotated(tmp_path)
    forge(here, 9, Ed25519PrivateKey.generate())
    assert judged(here, here.root / "old.vkeys").outcome is Outcome.TAMPERED


def test_a_rotation_that_the_old_key_did_not_sign_is_not_followed(tmp_path: Path) -> None:
    """A leaf may name any key: without the old key's signature over it, it says nothing."""
    here = rotated(tmp_path)
    new = load_identity(here.home, NAME).signing_key
    forge(here, 7, new)
    report = judged(here, here.root / "old.vkeys")
    assert report.outcome is Outcome.TAMPERED
    assert {"rotation_invalid", "key_not_named"} <= codes(report)


def test_a_key_that_was_given_up_signs_nothing_more(tmp_path: Path) -> None:
    """Who kept the old key cannot go on with the log after the leaf that gave it up."""
    here = rotated(tmp_path)
    shutil.copy(here.root / "stolen.key", here.home / "signing.key")
    forge(here, 9, load_identity(here.home, NAME).signing_key)
    for keys in (here.root / "old.vkeys", here.home / "trusted.vkeys"):
        report = judged(here, keys)
        assert (report.outcome, "key_given_up" in codes(report)) == (Outcome.TAMPERED, True)


KILLED = """
import importlib, os, signal, sys
from pathlib import Path
from intentproof_store.rotation import begin_rotation
from tests.store.support import Place
here, module, name, when = Place(Path(sys.argv[1])), *sys.argv[2:5]
owner = importlib.import_module("intentproof_store." + module)
for part in name.split(".")[:-1]:
    owner = getattr(owner, part)
name = name.split(".")[-1]
real = getattr(owner, name)

def step(*args, **kwargs):
    if when == "after":
        real(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)

begin_rotation(here.home)
setattr(owner, name, step)
with here.ledger():
    pass
"""


@pytest.mark.parametrize(
    ("module", "name", "when"),
    [
        ("recovery", "load_identity", "after"),
        ("ledger", "tell_rotation", "before"),
        ("ledger", "tell_rotation", "after"),
        ("checkpoints", "Signer.sign", "before"),
        ("checkpoints", "Signer.sign", "after"),
        ("ledger", "finish_rotation", "before"),
        ("rotation", "trust", "after"),
        ("rotation", "replace_secret", "before"),
        ("rotation", "replace_secret", "after"),
    ],
)
def test_a_kill_at_any_step_is_resumed(tmp_path: Path, module: str, name: str, when: str) -> None:
    """Killed anywhere, the next start finishes: one leaf a log, one key, and no fork."""
    here = place(tmp_path)
    for tenant in (TENANT, "beta"):
        with here.ledger() as ledger:
            append(ledger, events(0, 5), tenant=tenant)
    keys = here.root / "old.vkeys"
    keys.write_bytes((here.home / "trusted.vkeys").read_bytes())
    old = load_identity(here.home, NAME).verifier_key(TENANT)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(here.root), module, name, when],
        cwd=REPOSITORY,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    verified(here)
    goes_on(here, keys, old)


def goes_on(here: Place, keys: Path, old: VerifierKey) -> None:
    """Opened again the rotation is done, and everything about both logs holds."""
    with here.ledger() as ledger:
        append(ledger, events(5, 7))
    assert not is_rotating(here.home)
    assert load_identity(here.home, NAME).verifier_key(TENANT) != old
    for tenant in (TENANT, "beta"):
        assert check_sealed(here, tenant).kinds().count("key-rotation") == 1
    assert leftovers(here) == []
    verified(here)
    assert judged(here, keys).outcome is Outcome.VERIFIED


def test_a_kill_before_any_durable_step_of_a_rotation_is_resumed(tmp_path: Path) -> None:
    """From before each fsync, rename and link of a rotation, the next start goes on rightly."""
    here = place(tmp_path)
    for tenant in (TENANT, "beta"):
        with here.ledger() as ledger:
            append(ledger, events(0, 5), tenant=tenant)
    keys = here.root / "old.vkeys"
    keys.write_bytes((here.home / "trusted.vkeys").read_bytes())
    old = load_identity(here.home, NAME).verifier_key(TENANT)
    begin_rotation(here.home)
    with shutter(here) as camera, here.ledger():
        pass
    assert len(camera.images) > 40
    for turn, (name, image, _) in enumerate(camera.images):
        try:
            if turn % 3 == 0 or name in ("link", "replace"):
                verified(image)
                goes_on(image, keys, old)
        except BaseException as error:
            error.add_note(f"killed before {name}: {image.root}")
            raise


def test_a_new_writer_gives_up_a_rotation(tmp_path: Path) -> None:
    """Logs of a new writer have one key from their first leaf; a key half made is deleted."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        append(ledger, [event(1)])
    begin_rotation(here.home)
    with here.ledger(new_writer=True) as ledger:
        append(ledger, [event(2)])
    assert not is_rotating(here.home)
    assert check_sealed(here).kinds() == ["genesis", "event"]
    verified(here)


def run(here: Place, *, home: Path | None = None) -> "subprocess.CompletedProcess[str]":
    places = ["--store", str(here.layout.root), "--home", str(home or here.home)]
    command = [PROGRAM, "log", "rotate-key", *places, "--hot", str(here.hot)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_prints_the_new_keys(tmp_path: Path) -> None:
    """Exit 0 and one vkey a line, which is the log's from then on."""
    here = place(tmp_path)
    for tenant in (TENANT, "beta"):
        with here.ledger() as ledger:
            append(ledger, [event(1)], tenant=tenant)
    done = run(here)
    identity = load_identity(here.home, NAME)
    wanted = [identity.verifier_key(tenant).vkey() for tenant in (TENANT, "beta")]
    assert (done.returncode, done.stdout.splitlines()) == (0, wanted), done.stderr
    assert run(here, home=here.root / "no-home").returncode == 6
    assert not (here.root / "no-home").exists()
    verified(here)


def test_a_running_receiver_rotates_when_it_is_next_started(tmp_path: Path) -> None:
    """While its lock is held the command prepares the key and says so; the next start does it."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        append(ledger, [event(1)])
        before = load_identity(here.home, NAME).verifier_key(TENANT)
        waiting = run(here)
        assert (waiting.returncode, waiting.stdout) == (0, "")
        assert "when it is next started" in waiting.stderr
        assert (here.home / NEXT_KEY).stat().st_mode & 0o777 == 0o600
        append(ledger, [event(2)])
    assert "key-rotation" not in read_log(here).kinds()
    verified(here)
    with here.ledger():
        pass
    assert load_identity(here.home, NAME).verifier_key(TENANT) != before
    assert check_sealed(here).kinds() == ["genesis", "event", "event", "key-rotation"]
    verified(here)
