"""Bundles of real stores: what is in them, what is not, and what `verify` says."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from intentproof_store.checkpoints import checkpoint_sizes
from intentproof_store.identity import trusted_keys
from intentproof_store.layout import Layout
from intentproof_store.note import parse_note, read_checkpoint

from tests.store.bundle_support import (
    TRACE,
    Run,
    commander,
    exported,
    mended,
    opened,
    packed,
    story,
)
from tests.store.reader_support import CONTEXT, PAYLOAD, START_NS, Clock, Site, append, event

OTHER_TRACE = event(10).trace_id


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture
def run(site: Site, capsys: pytest.CaptureFixture[str]) -> Run:
    return commander(site, capsys)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "b.tar.zst"


def vkeys(site: Site, path: Path) -> Path:
    """What an auditor got from the operator another way."""
    path.write_text((site.home / "trusted.vkeys").read_text())
    return path


def log_folder(site: Site) -> Path:
    writer = (site.home / "writer").read_text().strip()
    return Layout(site.store).log("acme", writer)


def verified(run: Run, *argv: object) -> dict[str, Any]:
    """The document of `verify --json`, with its exit code."""
    code, out, err = run("verify", *argv, "--json")
    assert err == ""
    return {"code": code, **json.loads(out)}


def names(raw: bytes) -> list[str]:
    return sorted(opened(raw))


def test_a_bundle_goes_from_the_store_to_the_auditor(
    site: Site, run: Run, file: Path, tmp_path: Path
) -> None:
    """`export` writes one file, and `verify` of it needs nothing else but a key."""
    site.keep([*story(), event(10)])
    exported(run, file, "--trace", TRACE)
    key = vkeys(site, tmp_path / "log.vkey")
    (site.root / "proofs").rename(tmp_path / "gone")
    code, out, _ = run("verify", file, "--key", key)
    assert code == 0
    assert out.startswith("VERIFIED")
    assert "Give the customer the money back" in out
    document = verified(run, file, "--key", key)
    assert (document["code"], document["ok"], document["anchor"]) == (0, True, "own-key")
    assert document["events_verified"] == 3
    assert [log["tenant"] for log in document["logs"]] == ["acme"]


def test_nothing_inside_is_trusted(site: Site, run: Run, file: Path) -> None:
    """Without a key or checkpoint from outside a bundle is consistent and no more: exit 3."""
    site.keep(story())
    exported(run, file, "--trace", TRACE)
    document = verified(run, file)
    assert (document["code"], document["outcome"]) == (3, "unanchored")
    code, out, _ = run("verify", file)
    assert code == 3
    assert "give --key, --known or --policy" in out
    assert f"acme/{(site.home / 'writer').read_text().strip()}" in out


def test_a_touched_bundle_says_which_file_and_leaf(
    site: Site, run: Run, file: Path, tmp_path: Path
) -> None:
    """The report names the code, the file, and the place in the log; the exit code is 2."""
    site.keep(story())
    files = opened(exported(run, file, "--trace", TRACE))
    payload = files["events/000002.payload"]
    files["events/000002.payload"] = payload.replace(b'"amount":1', b'"amount":9')
    file.write_bytes(packed(mended(files)))
    document = verified(run, file, "--key", vkeys(site, tmp_path / "k"))
    (problem,) = document["logs"][0]["problems"]
    assert (document["code"], document["outcome"]) == (2, "tampered")
    assert (problem["code"], problem["log_index"]) == ("receipt_differs", 2)
    assert problem["file"] == "proofs/000002.tlog-proof"
    assert "payload is not the one that the leaf commits to" in problem["message"]
    code, out, _ = run("verify", file)
    assert code == 2
    assert "receipt_differs at leaf 2 [proofs/000002.tlog-proof]" in out


def test_the_same_content_gives_the_same_bytes(site: Site, run: Run, tmp_path: Path) -> None:
    """Two exports of the same events differ in nothing; `.tar` is the same without compression."""
    site.keep(story())
    first = exported(run, tmp_path / "1.tar.zst", "--trace", TRACE)
    assert exported(run, tmp_path / "2.tar.zst", "--trace", TRACE) == first
    plain = exported(run, tmp_path / "3.tar", "--trace", TRACE)
    assert first[:4] != plain[:4]
    assert packed(opened(first)) == first
    assert verified(run, tmp_path / "3.tar")["outcome"] == "unanchored"


def test_a_bundle_reveals_nothing_of_others(site: Site, run: Run, tmp_path: Path) -> None:
    """No text, id or salt of another trace or tenant is in it, in the clear or in base64."""
    strange = {"attributes": '{"service.name":"secret-service"}', "inputs": '{"iban":"DE0012"}'}
    others = [
        event(10, intent="A stranger's intent", correlation_id="stranger-7", **strange),
        event(11, output='{"stranger":"output"}', action="stranger.action"),
    ]
    site.keep(story() + others)
    site.keep([event(2, intent="Another tenant's intent", event_id="their-event")], tenant="other")
    files = opened(exported(run, tmp_path / "b.tar.zst", "--trace", TRACE))
    raw = b"".join(files.values())
    extras = [
        base64.b64decode(line.removeprefix(b"extra "))
        for proof in (files[name] for name in files if name.startswith("proofs/"))
        for line in proof.splitlines()
        if line.startswith(b"extra ")
    ]
    assert len(extras) == 3
    hidden = [b"stranger", b"DE0012", b"secret-service", b"their-event", b"tenant's intent"]
    hidden += [each.event_id.encode() for each in others] + [OTHER_TRACE.encode()]
    hidden += [each.span_id.encode() for each in others]
    assert [text for text in hidden if any(text in each for each in (raw, *extras))] == []
    with site.reader(None) as reader:
        rows = reader.rows("SELECT event_id, tenant, context_salt, payload_salt FROM leaves")
    salts = {
        salt: row["event_id"]
        for row in rows
        for salt in (row["context_salt"], row["payload_salt"])
        if salt is not None
    }
    assert len(salts) == 12
    shown = {each.event_id for each in story()}
    for salt, event_id in salts.items():
        forms = (salt, salt.hex().encode(), base64.b64encode(salt))
        assert any(form in raw for form in forms) == (event_id in shown)


def test_payloads_can_be_held_back(site: Site, run: Run, file: Path) -> None:
    """`--without payload` shows what was meant, the order and the outcome, and no data."""
    site.keep(story())
    files = opened(exported(run, file, "--trace", TRACE, "--without", "payload"))
    raw = b"".join(files.values())
    assert not [name for name in files if name.endswith(".payload")]
    for data in (b"card expired", b"re_1", b"amount"):
        assert data not in raw
    report = files["report.html"].decode()
    assert "Inputs, outputs and errors are held back" in report
    assert "Give the customer the money back" in report
    assert report.count("data held back") == 3
    assert report.count("<td><bdi>error</bdi>") == 1
    assert verified(run, file)["outcome"] == "unanchored"


def test_only_bundles_hold_payloads_back(site: Site, run: Run) -> None:
    """`--without payload` of another format is refused rather than ignored."""
    site.keep(story())
    asked = ("--tenant", "acme", "--trace", TRACE, "-o", "-", "--without", "payload")
    code, out, err = run("export", *asked, "--format", "jsonl")
    assert (code, out) == (6, "")
    assert "--format bundle" in err


def test_erased_halves_are_named(site: Site, run: Run, file: Path, tmp_path: Path) -> None:
    """What was erased is not in the bundle, which still verifies and says what is gone."""
    site.keep(story())
    (segment,) = site.segments()
    site.erase(segment, PAYLOAD)
    files = opened(exported(run, file, "--trace", TRACE))
    assert not [name for name in files if name.endswith(".payload")]
    assert files["report.html"].decode().count("data erased") == 3
    assert verified(run, file, "--key", vkeys(site, tmp_path / "k"))["code"] == 0
    site.erase(site.segments()[-1], CONTEXT)
    files = opened(exported(run, file, "--trace", TRACE))
    assert not [name for name in files if name.endswith(".context")]
    assert files["report.html"].decode().count("what was meant is erased") == 3
    assert verified(run, file, "--key", tmp_path / "k")["code"] == 0


def test_an_event_that_is_not_signed_yet_is_refused(site: Site, run: Run, file: Path) -> None:
    """Before a checkpoint covers an event there is nothing to take away: exit 7, no file."""
    with site.ledger(seal_seconds=1e9, checkpoint_seconds=1e9) as ledger:
        append(ledger, story())
        argv = ("--tenant", "acme", "--trace", TRACE, "--format", "bundle", "-o", file)
        code, out, err = run("export", *argv)
        assert (code, out) == (7, "")
        assert "no checkpoint covers it yet" in err
        assert not file.exists()
    exported(run, file, "--trace", TRACE)


def test_bundles_are_of_traces_correlation_ids_and_periods(
    site: Site, run: Run, file: Path, tmp_path: Path
) -> None:
    """Each way to ask gives a bundle of exactly those events, and its answer is checked."""
    site.keep([event(number) for number in range(12)])
    key = vkeys(site, tmp_path / "k")
    for asked, count in (
        (("--trace", TRACE), 10),
        (("--correlation", "order-1"), 5),
        (("--period", "2026-11-21..2026-11-22"), 12),
    ):
        exported(run, file, *asked)
        document = verified(run, file, "--key", key)
        assert (document["code"], document["events_verified"]) == (0, count)


def two_days(site: Site) -> list[int]:
    """Two sealed stretches of one log; the sizes of their checkpoints."""
    site.keep(story()[:2])
    site.keep(story()[2:], clock=Clock(START_NS + 3_600 * 10**9))
    sizes = checkpoint_sizes(log_folder(site))
    return [size for size in sizes if size > 1]


def cosign(site: Site, size: int) -> bytes:
    """A line of a witness beside a checkpoint, as it is kept there."""
    raw = bytes.fromhex("0badcafe") + bytes(8) + bytes(range(64))
    line = f"\u2014 witness.example {base64.b64encode(raw).decode()}\n".encode()
    (log_folder(site) / f"checkpoint.{size}.0badcafe").write_bytes(line)
    return line


def test_events_stand_under_the_checkpoint_that_others_vouch_for(
    site: Site, run: Run, file: Path, tmp_path: Path
) -> None:
    """What a cosigned checkpoint covers is proved under it, what came later under the newest."""
    old, new = two_days(site)
    line = cosign(site, old)
    files = opened(exported(run, file, "--trace", TRACE))
    stem = f"logs/{log_folder(site).name}"
    logs = {name for name in files if name.startswith("logs/") and not name.endswith("sig")}
    assert logs == {
        *(f"{stem}/checkpoint.{size}{more}" for size in (old, new) for more in ("", ".body")),
        f"{stem}/growth.{old}-{new}",
    }
    note = files[f"{stem}/checkpoint.{old}"]
    assert note.endswith(line)
    assert note.startswith((log_folder(site) / f"checkpoint.{old}").read_bytes())
    assert len(parse_note(note).signatures) == 2
    assert files["proofs/000001.tlog-proof"].endswith(note)
    assert files["proofs/000003.tlog-proof"].endswith(files[f"{stem}/checkpoint.{new}"])
    report = files["report.html"].decode()
    assert "also signed by <bdi>witness.example</bdi> (not checked here)" in report
    assert verified(run, file, "--key", vkeys(site, tmp_path / "k"))["code"] == 0


def test_without_witnesses_all_stand_under_the_newest(site: Site, run: Run, file: Path) -> None:
    """One checkpoint is enough where nobody outside vouches for another."""
    _, new = two_days(site)
    found = [name for name in names(exported(run, file, "--trace", TRACE)) if "growth" in name]
    assert found == []
    assert any(name.endswith(f"/checkpoint.{new}") for name in names(file.read_bytes()))


@pytest.mark.parametrize(
    ("held", "outcome", "count"),
    [("new", "verified", 3), ("old", "unanchored", 2), ("genesis", "unanchored", 0)],
)
def test_a_checkpoint_that_is_held_vouches_for_what_it_covers(
    site: Site, run: Run, file: Path, held: str, outcome: str, count: int
) -> None:
    """The newest proves all, an older one what is under it, one that nothing links nothing."""
    old, new = two_days(site)
    cosign(site, old)
    exported(run, file, "--trace", TRACE)
    size = {"new": new, "old": old, "genesis": 1}[held]
    document = verified(run, file, "--known", log_folder(site) / f"checkpoint.{size}")
    assert (document["outcome"], document["events_verified"]) == (outcome, count)
    assert document["anchor"] == ("known" if outcome == "verified" else "none")
    remarks = [each["code"] for log in document["logs"] for each in log["problems"]]
    assert remarks == (["known_unlinked"] if held == "genesis" else [])


def test_two_writers_are_two_logs(site: Site, file: Path, run: Run, tmp_path: Path) -> None:
    """A trace that two receivers took is proved by both logs; the keys of both are needed."""
    other = Site(site.root, "home-2")
    first, second, third = story()
    site.keep([first, second])
    other.keep([third])
    mine = vkeys(site, tmp_path / "mine")
    argv = ("--tenant", "acme", "--trace", TRACE, "--format", "bundle", "-o", file)
    site.trust(other)
    assert run("export", *argv) == (0, "", "")
    document = verified(run, file, "--key", vkeys(site, tmp_path / "both"))
    assert (document["code"], document["events_verified"]) == (0, 3)
    assert len(document["logs"]) == 2
    document = verified(run, file, "--key", mine)
    assert (document["code"], document["events_verified"]) == (3, 2)
    codes = [each["code"] for log in document["logs"] for each in log["problems"]]
    assert codes == ["key_missing"]


def test_a_log_whose_key_is_not_at_hand_is_refused(site: Site, run: Run, file: Path) -> None:
    """A bundle carries the keys of its checkpoints: without one it is not made."""
    site.keep(story())
    (site.home / "trusted.vkeys").write_text("")
    argv = ("--tenant", "acme", "--trace", TRACE, "--format", "bundle", "-o", file)
    code, _, err = run("export", *argv)
    assert code == 6
    assert "log key" in err
    assert not file.exists()


def test_conflicts_are_shown_as_such(site: Site, run: Run, file: Path, tmp_path: Path) -> None:
    """An event that was told twice with other content is disputed, and both tellings are there."""
    site.keep(story())
    site.keep([event(1, inputs='{"amount":99999}')])
    files = opened(exported(run, file, "--trace", TRACE))
    report = files["report.html"].decode()
    assert report.count("disputed: told again with other content") == 1
    assert report.count("a conflicting second telling") == 1
    assert json.loads(files["bundle.json"])["events"] == 4
    assert verified(run, file, "--key", vkeys(site, tmp_path / "k"))["code"] == 0


def test_what_two_writers_tell_differently_is_shown_as_such(
    site: Site, run: Run, file: Path
) -> None:
    """Across writers the first telling is the event and disputed, the other one contradicts it."""
    other = Site(site.root, "home-2")
    site.keep(story())
    later = event(1, inputs='{"amount":99999}')
    other.keep([later], clock=Clock(START_NS + 10**9))
    site.trust(other)
    report = opened(exported(run, file, "--trace", TRACE))["report.html"].decode()
    assert report.count("disputed: told again with other content") == 1
    assert report.count("a conflicting second telling") == 1
    row = report[: report.index("a conflicting second telling")].rpartition("<tr")[2]
    assert "99999" in row


def test_a_damaged_store_gives_no_bundle(site: Site, run: Run, file: Path) -> None:
    """A proof that does not hold is not given out: the answer points to `verify`, exit 2."""
    site.keep(story())
    tile = log_folder(site) / "tile" / "0"
    for path in tile.rglob("*"):
        if path.is_file():
            path.write_bytes(bytes(len(path.read_bytes())))
    argv = ("--tenant", "acme", "--trace", TRACE, "--format", "bundle", "-o", file)
    code, _, err = run("export", *argv)
    assert code == 2
    assert "intentproof-otel verify" in err
    assert not file.exists()


def test_too_many_events_are_refused(
    site: Site, run: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no verifier takes is not written; the answer says what to do."""
    site.keep(story())
    monkeypatch.setattr("intentproof_store.bundle.making.EVENTS_MAX", 2)
    argv = ("--tenant", "acme", "--trace", TRACE, "--format", "bundle", "-o", file)
    code, _, err = run("export", *argv)
    assert code == 6
    assert "shorter period" in err
    assert not file.exists()


def test_a_proof_can_be_handed_on_alone(site: Site, run: Run, file: Path, tmp_path: Path) -> None:
    """A proof of a bundle is a receipt that holds the data back, and verifies as one."""
    site.keep(story())
    files = opened(exported(run, file, "--trace", TRACE))
    proof = tmp_path / "one.tlog-proof"
    proof.write_bytes(files["proofs/000002.tlog-proof"])
    code, out, _ = run("verify", proof, "--key", vkeys(site, tmp_path / "k"))
    assert code == 0
    assert "held back" in out
    checkpoint = read_checkpoint(files[next(name for name in files if "/checkpoint." in name)])
    assert checkpoint.origin in {key.name for key in trusted_keys(site.home)}


def test_spans_stand_below_what_called_them(site: Site, run: Run, file: Path) -> None:
    """In the report a called span is indented below its caller, whatever came in between."""
    root, look, give = story()
    site.keep([give, look, root])
    report = opened(exported(run, file, "--trace", TRACE))["report.html"].decode()

    def depth(text: str) -> str:
        return report[: report.index(text)].rpartition('class="d')[2][0]

    assert depth("Give the customer") == "0"
    assert depth("Find the charge") == depth("Return captured funds") == "1"
