"""Time stamps in bundles: what is taken along, and what `verify BUNDLE --tsa` makes of it."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from intentproof_store.bundle.content import read_content
from intentproof_store.bundle.files import bundle_files
from intentproof_store.bundle.proof import prove
from intentproof_store.identity import load_identity
from intentproof_store.layout import Layout, parse_anchor, token_name
from intentproof_store.note import Checkpoint, read_checkpoint, sign_note
from intentproof_store.stamping import Kept, Stamping
from intentproof_store.tokens import read_authorities

from tests.store.bundle_support import (
    TRACE,
    Files,
    Run,
    commander,
    exported,
    opened,
    packed,
    story,
)
from tests.store.reader_support import Clock, Site, event
from tests.tsa import Authority, authority, needs_openssl

pytestmark = needs_openssl
LOG_NAME = "intentproof.local"
Change = Callable[[Files, str], None]


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tsa") / "own")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tsa") / "other", name="Other TSA")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A store with the story, received now and sealed."""
    made = Site(tmp_path / "site")
    made.keep(story(), clock=time.time_ns)
    return made


@pytest.fixture
def run(site: Site, capsys: pytest.CaptureFixture[str]) -> Run:
    return commander(site, capsys)


def stamp(site: Site, tsa: Authority) -> Kept:
    authorities = read_authorities(tsa.roots.read_bytes())
    maker = Stamping(store=site.store, home=site.home, log_name=LOG_NAME, authorities=authorities)
    wanted = maker.unstamped()
    assert wanted is not None
    return maker.keep(wanted, tsa.answer(wanted.request.query))


def folder(site: Site) -> Path:
    return Layout(site.store).log("acme", (site.home / "writer").read_text().strip())


def stamps(site: Site) -> list[Path]:
    return sorted(path for path in folder(site).iterdir() if parse_anchor(path.name) is not None)


def rebuilt(files: Files) -> Files:
    """The files with a report and a manifest that fit them, as a careful forger leaves them."""
    return dict(bundle_files(prove(read_content(files))))


def judged(run: Run, site: Site, path: Path, *more: object) -> tuple[int, str, set[str]]:
    """Exit code, outcome and problem codes of `verify` with the log's key."""
    key = path.with_name("log.vkeys")
    key.write_text((site.home / "trusted.vkeys").read_text())
    code, out, err = run("verify", path, "--key", key, *more, "--json")
    assert err == ""
    document = json.loads(out)
    problems = [problem for log in document["logs"] for problem in log["problems"]]
    return code, document["outcome"], {problem["code"] for problem in problems}


def test_a_bundle_takes_its_stamps_along(
    site: Site, run: Run, tsa: Authority, tmp_path: Path
) -> None:
    """Offline, with the authority's root alone, a bundle shows before when its log existed."""
    kept = stamp(site, tsa)
    (proof,) = stamps(site)
    files = opened(exported(run, tmp_path / "b.tar.zst", "--trace", TRACE))
    stem = f"logs/{folder(site).name}"
    for name in (proof.name, token_name(proof.name)):
        assert files[f"{stem}/{name}"] == (folder(site) / name).read_bytes()
    assert "Time stamps (not checked here)" in files["report.html"].decode()
    (site.root / "proofs").rename(tmp_path / "gone")
    assert judged(run, site, tmp_path / "b.tar.zst") == (0, "verified", set())
    key = tmp_path / "log.vkeys"
    code, out, _ = run("verify", tmp_path / "b.tar.zst", "--key", key, "--tsa", tsa.roots)
    assert code == 0
    assert "the first 4 leaves existed before 20" in out
    code, out, _ = run("verify", tmp_path / "b.tar.zst", "--key", key, "--tsa", tsa.roots, "--json")
    (log,) = json.loads(out)["logs"]
    assert log["stamps"] == {"count": 1, "size": 4, "before_s": kept.seconds}


def test_who_asks_for_a_stamp_gets_no_bundle_without(
    site: Site, run: Run, tsa: Authority, other: Authority, tmp_path: Path
) -> None:
    """`--tsa` makes a stamp of a trusted authority a condition, as it is of a store."""
    file = tmp_path / "b.tar.zst"
    exported(run, file, "--trace", TRACE)
    assert judged(run, site, file, "--tsa", tsa.roots) == (2, "incomplete", {"not_stamped"})
    stamp(site, other)
    exported(run, file, "--trace", TRACE)
    found = judged(run, site, file, "--tsa", tsa.roots)
    assert found == (2, "incomplete", {"not_stamped", "stamp_untrusted"})
    assert judged(run, site, file, "--tsa", other.roots)[0] == 0


def test_what_is_no_stamp_is_left_out(
    site: Site, run: Run, tsa: Authority, other: Authority, tmp_path: Path
) -> None:
    """A file of the store that does not hold would make the whole bundle one that does not."""
    stamp(site, tsa)
    (proof,) = stamps(site)
    size = parse_anchor(proof.name)
    (folder(site) / f"anchor.{size}.{'0' * 16}").write_bytes(b"proof")
    (folder(site) / f"anchor.{size}.{'0' * 16}.tsr").write_bytes(b"token")
    (folder(site) / f"anchor.{size}.{'1' * 16}").write_bytes(proof.read_bytes())
    (folder(site) / f"anchor.{size}.{'2' * 16}.tsr").write_bytes(b"alone")
    files = opened(exported(run, tmp_path / "b.tar.zst", "--trace", TRACE))
    found = {name.rpartition("/")[2] for name in files if "/anchor." in name}
    assert found == {proof.name, token_name(proof.name)}
    assert judged(run, site, tmp_path / "b.tar.zst", "--tsa", tsa.roots)[0] == 0


def without_token(files: Files, name: str) -> None:
    del files[token_name(name)]


def without_proof(files: Files, name: str) -> None:
    del files[name]


def another_size(files: Files, name: str) -> None:
    """The stamp, said to be of a checkpoint that is not here."""
    head, _, rest = name.partition("/anchor.4.")
    for ending in ("", ".tsr"):
        files[f"{head}/anchor.3.{rest}{ending}"] = files.pop(f"{name}{ending}")


def another_token(files: Files, name: str) -> None:
    raw = bytearray(files[token_name(name)])
    raw[-1] ^= 1
    files[token_name(name)] = bytes(raw)


def another_proof(files: Files, name: str) -> None:
    files[name] = files[name].replace(b"index 0", b"index 1")


@pytest.mark.parametrize(
    ("change", "outcome", "code"),
    [
        (without_token, "incomplete", "stamp_missing"),
        (without_proof, "tampered", "stamp_invalid"),
        (another_size, "tampered", "stamp_invalid"),
        (another_token, "tampered", "stamp_invalid"),
        (another_proof, "tampered", "stamp_invalid"),
    ],
)
def test_a_stamp_that_was_touched_is_told(
    site: Site,
    run: Run,
    tsa: Authority,
    tmp_path: Path,
    change: Change,
    outcome: str,
    code: str,
) -> None:
    """Whether or not the reader trusts an authority, with everything else mended to fit."""
    stamp(site, tsa)
    files = opened(exported(run, tmp_path / "b.tar.zst", "--trace", TRACE))
    (name,) = (each for each in files if parse_anchor(each.rpartition("/")[2]) is not None)
    change(files, name)
    file = tmp_path / "touched.tar.zst"
    file.write_bytes(packed(rebuilt(files)))
    assert judged(run, site, file)[1:] == (outcome, {code})
    assert code in judged(run, site, file, "--tsa", tsa.roots)[2]


def test_an_event_that_claims_to_be_younger_than_its_stamp(
    tmp_path: Path, tsa: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was stamped was there before: a later time in a leaf under it is false."""
    site = Site(tmp_path / "site")
    site.keep(story(), clock=Clock(time.time_ns() + 3_600 * 10**9))
    stamp(site, tsa)
    run = commander(site, capsys)
    exported(run, tmp_path / "b.tar.zst", "--trace", TRACE)
    assert judged(run, site, tmp_path / "b.tar.zst")[0] == 0
    found = judged(run, site, tmp_path / "b.tar.zst", "--tsa", tsa.roots)
    assert found == (2, "tampered", {"outside_window"})


def test_two_histories_of_one_key(site: Site, run: Run, tsa: Authority, tmp_path: Path) -> None:
    """A stamped checkpoint with another root than the bundle's is a fork, and tells of itself."""
    checkpoint = read_checkpoint((folder(site) / "checkpoint").read_bytes())
    files = opened(exported(run, tmp_path / "b.tar.zst", "--trace", TRACE))
    other = Checkpoint(checkpoint.origin, checkpoint.size, bytes(32))
    key = load_identity(site.home, LOG_NAME).signing_key
    forged = sign_note(other.text(), name=checkpoint.origin, key=key)
    (folder(site) / "checkpoint").write_bytes(forged)
    stamp(site, tsa)
    (proof,) = stamps(site)
    stem = f"logs/{folder(site).name}"
    for name in (proof.name, token_name(proof.name)):
        files[f"{stem}/{name}"] = (folder(site) / name).read_bytes()
    left_out = opened(exported(run, tmp_path / "c.tar.zst", "--trace", TRACE))
    assert not any("/anchor." in name for name in left_out), "no verifier would take it"
    file = tmp_path / "forked.tar.zst"
    file.write_bytes(packed(rebuilt(files)))
    assert judged(run, site, file)[:2] == (2, "fork")


def test_a_stamp_of_a_checkpoint_that_is_not_here(
    site: Site, run: Run, tsa: Authority, tmp_path: Path
) -> None:
    """A stamp that holds, and is of another checkpoint of the log, says nothing of these."""
    stamp(site, tsa)
    (old,) = stamps(site)
    site.keep([event(20)], clock=time.time_ns)
    stamp(site, tsa)
    files = opened(exported(run, tmp_path / "b.tar.zst", "--trace", TRACE))
    stem = f"logs/{folder(site).name}"
    assert f"{stem}/{old.name}" not in files
    for name in (old.name, token_name(old.name)):
        files[f"{stem}/{name}"] = (folder(site) / name).read_bytes()
    file = tmp_path / "more.tar.zst"
    file.write_bytes(packed(rebuilt(files)))
    assert judged(run, site, file, "--tsa", tsa.roots) == (2, "tampered", {"stamp_invalid"})
