"""Attackers who hold the log's own key, and whom only a witness stops (evidence.md, section 4)."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from intentproof_receiver.errors import WitnessDisagrees
from intentproof_receiver.witness_client import WitnessClient, cosign_log
from intentproof_receiver.witness_settings import WitnessSetting
from intentproof_store import Ledger, LedgerSettings, WitnessedLog
from intentproof_store.checkpoints import checkpoint_sizes
from intentproof_store.cosigned import cosignature_files
from intentproof_store.errors import NoteInvalid
from intentproof_store.identity import load_identity
from intentproof_store.verify import Outcome, Report, VerifyRequest, verify_store

from tests.store.support import event
from tests.witness.support import NAME, Witness, command, witness

HOUR_NS = 3_600 * 10**9
TENANT = "acme"


@dataclass
class Site:
    """A store whose owner holds the log's key and, in these tests, is not to be trusted."""

    root: Path

    @property
    def settings(self) -> LedgerSettings:
        return LedgerSettings(
            store=self.root / "store", home=self.root / "home", hot=self.root / "hot"
        )

    def fill(self, first: int, end: int, *, behind_ns: int = 0, name: str = "order") -> None:
        """Log events at this time, or as a clock tells that is behind; seal and sign them."""
        with Ledger.open(self.settings, clock_ns=lambda: time.time_ns() - behind_ns) as ledger:
            new = [event(n, correlation_id=f"{name}-{n}") for n in range(first, end)]
            ledger.append(TENANT, new).result(30)

    @property
    def log(self) -> WitnessedLog:
        return WitnessedLog.of(self.settings.store, TENANT, self.identity.writer)

    @property
    def identity(self) -> Any:
        return load_identity(self.settings.home, self.settings.log_name)

    def cosign(self, one: Witness) -> int:
        """Have the newest checkpoint cosigned, as the receiver does; its size."""
        client = WitnessClient(WitnessSetting(one.url, one.key))
        try:
            size = self.log.newest_size()
            cosign_log(client, self.log, old_size=0, size=size)
        finally:
            client.close()
        return size

    def copy(self, name: str) -> "Site":
        return Site(Path(shutil.copytree(self.root, self.root.parent / name)))

    def rewrite(self, first: int, end: int, *, of: "Site") -> None:
        """Forge the log anew with its own key and writer, as if `of` had never been."""
        shutil.copytree(of.settings.home, self.settings.home)
        (self.settings.home / "last-checkpoint").unlink()
        self.fill(first, end, name="forged")

    def take_cosignatures(self, of: "Site") -> None:
        for paths in cosignature_files(of.log.folder).values():
            for path in paths:
                if (self.log.folder / path.name.rpartition(".")[0]).exists():
                    shutil.copy(path, self.log.folder / path.name)

    def policy(self, *witnesses: Witness, logs: bool = True, quorum: str = "w0") -> Path:
        lines = [f"log {self.identity.verifier_key(TENANT).vkey()}"] if logs else []
        lines += [f"witness w{n} {one.key.vkey()}" for n, one in enumerate(witnesses)]
        path = self.root.parent / f"policy-{self.root.name}"
        path.write_text("\n".join([*lines, f"quorum {quorum}", ""]))
        return path

    def verify(self, policy: Path, **more: Any) -> Report:
        request = VerifyRequest(
            store=self.settings.store, hot=self.settings.hot, policy=policy, **more
        )
        return verify_store(request)


def codes(report: Report) -> set[str]:
    return {problem.code for log in report.logs for problem in log.problems}


@contextmanager
def witness_of(site: Site, number: int = 1) -> Iterator[Witness]:
    vkeys = site.root.parent / "logs.vkeys"
    vkeys.write_text(site.identity.verifier_key(TENANT).vkey() + "\n")
    home = site.root.parent / f"witness{number}"
    with witness(home, [vkeys], name=f"witness.example/{number}") as running:
        yield running


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path / "site")
    made.root.mkdir()
    return made


@pytest.fixture
def one(site: Site) -> Iterator[Witness]:
    with witness_of(site) as running:
        yield running


def test_a_witnessed_store_is_verified(site: Site, one: Witness) -> None:
    """With the quorum, the policy anchors every event, from outside and without the home."""
    site.fill(0, 30)
    size = site.cosign(one)
    report = site.verify(site.policy(one))
    assert (report.outcome, report.anchor, codes(report)) == (Outcome.VERIFIED, "policy", set())
    assert report.events_verified == 30
    told = report.logs[0].witnessed
    assert told is not None
    assert (told.size, told.not_yet, list(told.by)) == (size, 0, ["w0"])
    assert told.at_s is not None
    assert abs(told.at_s - time.time()) < 60


def test_what_is_above_the_witnessed_checkpoint_is_not_counted(site: Site, one: Witness) -> None:
    """Later leaves hold, but nobody from outside has seen them yet: the report counts them."""
    site.fill(0, 10)
    site.cosign(one)
    site.fill(10, 30)
    report = site.verify(site.policy(one))
    assert (report.outcome, report.events_verified) == (Outcome.VERIFIED, 10)
    assert report.logs[0].witnessed is not None
    told = report.logs[0].witnessed
    assert told.not_yet == report.logs[0].size - told.size >= 20


def test_without_the_quorum_nothing_is_anchored(site: Site, one: Witness) -> None:
    """Exit 3, in words that say which witness is missing."""
    site.fill(0, 10)
    site.cosign(one)
    with witness_of(site, 2) as other:
        policy = site.policy(one, other)
        policy.write_text(policy.read_text().replace("quorum w0", "group g all w0 w1\nquorum g"))
        done = command("verify", str(site.settings.store), "--policy", str(policy), "--json")
    assert done.returncode == 3
    told = json.loads(done.stdout)
    assert (told["outcome"], told["anchor"]) == ("unanchored", "none")
    assert "not cosigned by w1" in told["logs"][0]["problems"][0]["message"]
    assert told["events_verified"] == 0


def test_rewriting_history_with_the_key_leaves_bad_cosignatures(site: Site, one: Witness) -> None:
    """A forged log that keeps the cosignatures contradicts them: tampered."""
    site.fill(0, 20)
    site.cosign(one)
    forged = Site(site.root.parent / "forged")
    forged.rewrite(0, 20, of=site)
    forged.take_cosignatures(site)
    report = forged.verify(site.policy(one))
    assert (report.outcome, codes(report)) == (
        Outcome.TAMPERED,
        {"cosignature_invalid", "not_witnessed"},
    )


def test_rewriting_history_without_cosignatures_is_not_anchored(site: Site, one: Witness) -> None:
    """Taken for itself a forged log is whole; no witness has seen it, nor ever will."""
    site.fill(0, 20)
    site.cosign(one)
    forged = Site(site.root.parent / "forged")
    forged.rewrite(0, 25, of=site)
    own_key = forged.root.parent / "own.vkeys"
    own_key.write_text(site.identity.verifier_key(TENANT).vkey() + "\n")
    alone = VerifyRequest(store=forged.settings.store, hot=forged.settings.hot, keys=own_key)
    assert verify_store(alone).outcome is Outcome.VERIFIED, "the key alone cannot tell"
    assert forged.verify(site.policy(one)).outcome is Outcome.UNANCHORED
    with pytest.raises(WitnessDisagrees):
        forged.cosign(one)


def test_rewriting_what_came_after_a_checkpoint_is_refused(site: Site, one: Witness) -> None:
    """Whoever keeps the witnessed beginning and forges the end gets no cosignature for the end."""
    site.fill(0, 10)
    site.cosign(one)
    forged = site.copy("forged")
    site.fill(10, 20)
    site.cosign(one)
    forged.fill(10, 22, name="forged")
    with pytest.raises(WitnessDisagrees):
        forged.cosign(one)
    report = forged.verify(site.policy(one))
    assert report.logs[0].witnessed is not None
    assert report.events_verified == 10
    assert report.logs[0].witnessed.not_yet >= 12, "the forged events, and what a start adds"
    forged.take_cosignatures(site)
    assert site.verify(site.policy(one)).events_verified == 20


def test_a_split_view_has_one_side_only(site: Site, one: Witness) -> None:
    """Of two histories for two auditors, one gets the cosignature: the other is not anchored."""
    site.fill(0, 5)
    other = site.copy("other")
    site.fill(5, 12)
    other.fill(5, 12, name="forged")
    site.cosign(one)
    with pytest.raises(WitnessDisagrees):
        other.cosign(one)
    policy = site.policy(one)
    assert site.verify(policy).outcome is Outcome.VERIFIED
    assert other.verify(policy).outcome is Outcome.UNANCHORED
    (path,) = cosignature_files(site.log.folder)[site.log.newest_size()]
    own = f"checkpoint.{other.log.newest_size()}{path.suffix}"
    shutil.copy(path, other.log.folder / own)
    assert other.verify(policy).outcome is Outcome.TAMPERED


def test_truncating_and_signing_again_is_refused(site: Site, one: Witness) -> None:
    """A log cut back to an earlier checkpoint is behind what the witness saw, and stays there."""
    site.fill(0, 10)
    site.cosign(one)
    cut = site.copy("cut")
    site.fill(10, 30)
    site.cosign(one)
    with pytest.raises(WitnessDisagrees, match="restored"):
        cut.cosign(one)
    cut.fill(10, 40, name="forged")
    with pytest.raises(WitnessDisagrees):
        cut.cosign(one)
    assert cut.verify(site.policy(one)).events_verified == 10


def test_a_back_dated_event_lies_outside_its_window(site: Site, one: Witness) -> None:
    """An event appended today that claims an old time is tampering, although all is signed."""
    site.fill(0, 5)
    site.cosign(one)
    site.fill(5, 8, behind_ns=HOUR_NS)
    site.cosign(one)
    report = site.verify(site.policy(one))
    assert (report.outcome, codes(report)) == (Outcome.TAMPERED, {"outside_window"})
    indexes = {p.log_index for p in report.logs[0].problems}
    assert len(indexes) >= 3
    assert "back-dated" in report.logs[0].problems[0].message
    own = site.verify(site.policy(one, quorum="none"))
    assert own.outcome is Outcome.VERIFIED, "the log's key alone cannot tell"


def test_a_back_dated_event_above_the_last_witnessed_checkpoint_is_caught_as_well(
    site: Site, one: Witness
) -> None:
    """What claims to be older than the last cosignature must stand below it."""
    site.fill(0, 5)
    site.cosign(one)
    site.fill(5, 8, behind_ns=HOUR_NS)
    assert codes(site.verify(site.policy(one))) == {"outside_window"}


def test_an_event_from_the_future_lies_outside_its_window(site: Site, one: Witness) -> None:
    """What was cosigned cannot have been received later."""
    site.fill(0, 5, behind_ns=-HOUR_NS)
    site.cosign(one)
    assert codes(site.verify(site.policy(one))) == {"outside_window"}


def test_hot_leaves_have_windows_too(site: Site, one: Witness) -> None:
    """A back-dated event is caught before it is sealed."""
    site.fill(0, 5)
    site.cosign(one)
    behind = Ledger.open(site.settings, clock_ns=lambda: time.time_ns() - HOUR_NS)
    with behind:
        behind.append(TENANT, [event(9)]).result(30)
        assert "outside_window" in codes(site.verify(site.policy(one), home=site.settings.home))


def _flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-20] = ord("A") if raw[-20] != ord("A") else ord("B")
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (_flip, "cosignature_invalid"),
        (lambda path: path.write_bytes(b"rubbish\n"), "cosignature_invalid"),
        (lambda path: path.write_bytes(b""), "cosignature_invalid"),
        (lambda path: path.write_bytes(path.read_bytes() * 2), "cosignature_invalid"),
        (Path.unlink, "not_witnessed"),
    ],
)
def test_a_damaged_cosignature_is_never_passed_over(
    site: Site, one: Witness, harm: Callable[[Path], object], code: str
) -> None:
    """A file that stands for a listed witness holds, or the store is not verified."""
    site.fill(0, 5)
    size = site.cosign(one)
    (path,) = cosignature_files(site.log.folder)[size]
    harm(path)
    report = site.verify(site.policy(one))
    assert report.outcome is not Outcome.VERIFIED
    assert code in codes(report)


def test_a_strangers_cosignature_changes_nothing(site: Site, one: Witness) -> None:
    """Files of witnesses that the policy does not list neither help nor harm."""
    site.fill(0, 5)
    size = site.cosign(one)
    (site.log.folder / f"checkpoint.{size}.00000000").write_text("whatever\n")
    assert site.verify(site.policy(one)).outcome is Outcome.VERIFIED
    site.log.folder.joinpath(f"checkpoint.{size}.{one.key.key_id.hex()}").unlink()
    assert site.verify(site.policy(one)).outcome is Outcome.UNANCHORED


def test_a_cosignature_moved_to_another_checkpoint_is_caught(site: Site, one: Witness) -> None:
    """A cosignature belongs to one checkpoint."""
    site.fill(0, 5)
    size = site.cosign(one)
    site.fill(5, 9)
    newest = max(checkpoint_sizes(site.log.folder))
    (path,) = cosignature_files(site.log.folder)[size]
    path.rename(path.with_name(path.name.replace(f".{size}.", f".{newest}.")))
    assert "cosignature_invalid" in codes(site.verify(site.policy(one)))


def test_a_policy_without_logs_needs_a_key(site: Site, one: Witness) -> None:
    """The log may be known from elsewhere: `--key` beside the policy, and never the own home."""
    site.fill(0, 5)
    site.cosign(one)
    policy = site.policy(one, logs=False)
    store = ("verify", str(site.settings.store), "--home", str(site.settings.home))
    done = command(*store, "--policy", str(policy))
    assert done.returncode == 6
    assert "--key" in done.stderr
    keys = site.root.parent / "keys"
    keys.write_text(site.identity.verifier_key(TENANT).vkey() + "\n")
    assert command(*store, "--policy", str(policy), "--key", str(keys)).returncode == 0


def test_the_policys_key_must_be_the_logs(site: Site, one: Witness, tmp_path: Path) -> None:
    """A log that another key signed is not the one of the policy."""
    site.fill(0, 5)
    site.cosign(one)
    stranger = Site(tmp_path / "stranger")
    stranger.fill(0, 1)
    policy = site.policy(one)
    own, other = (s.identity.verifier_key(TENANT).vkey() for s in (site, stranger))
    policy.write_text(policy.read_text().replace(own, other))
    report = site.verify(policy)
    assert report.outcome is Outcome.INCOMPLETE
    assert {"no_checkpoint", "log_missing"} <= codes(report)


def test_a_checkpoint_that_you_hold_does_not_stand_in_for_the_policy(
    site: Site, one: Witness, tmp_path: Path
) -> None:
    """With both, the policy decides what counts, and the held checkpoint must fit besides."""
    site.fill(0, 5)
    size = site.log.newest_size()
    held = tmp_path / "held"
    shutil.copy(site.log.folder / f"checkpoint.{size}", held)
    policy = site.policy(one)
    assert site.verify(policy, known=held).outcome is Outcome.UNANCHORED
    stranger = Site(tmp_path / "stranger")
    stranger.fill(0, 1)
    own, other = (s.identity.verifier_key(TENANT).vkey() for s in (site, stranger))
    policy.write_text(policy.read_text().replace(own, other))
    report = site.verify(policy, known=held, tenant=TENANT)
    assert report.outcome is not Outcome.VERIFIED
    assert "not_witnessed" in codes(report)
    site.cosign(one)
    assert site.verify(site.policy(one), known=held).outcome is Outcome.VERIFIED


@pytest.mark.parametrize("text", [None, "quorum x\n", ""])
def test_a_policy_that_cannot_be_read_is_invalid_input(
    site: Site, tmp_path: Path, text: str | None
) -> None:
    """Exit 6, with the line or the file."""
    site.fill(0, 1)
    if text is not None:
        (tmp_path / "policy").write_text(text)
    done = command("verify", str(site.settings.store), "--policy", str(tmp_path / "policy"))
    assert done.returncode == 6
    assert "policy" in done.stderr


def test_receipts_carry_their_cosignatures(site: Site, one: Witness) -> None:
    """A receipt is verified under the policy alone, offline; without the quorum it is not."""
    site.fill(0, 12)
    cosigned_size = site.cosign(one)
    site.fill(12, 14)
    receipt = site.root.parent / "receipt"
    policy = site.policy(one)
    places = [f"--{name}={getattr(site.settings, name)}" for name in ("store", "home", "hot")]
    wanted = event(3).event_id
    made = command("receipt", wanted, "--tenant", TENANT, "-o", str(receipt), *places)
    assert made.returncode == 0, made.stderr
    done = command("verify", str(receipt), "--policy", str(policy), "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["anchor"], told["events_verified"]) == (0, "policy", 1)
    assert told["logs"][0]["witnessed"]["size"] == cosigned_size
    late = command("receipt", event(13).event_id, "--tenant", TENANT, "-o", str(receipt), *places)
    assert late.returncode == 0
    done = command("verify", str(receipt), "--policy", str(policy))
    assert done.returncode == 3
    assert "not cosigned by w0" in done.stdout


def test_a_receipt_with_a_forged_cosignature_is_tampered(site: Site, one: Witness) -> None:
    """No bit of the cosignature in a receipt may change."""
    site.fill(0, 3)
    site.cosign(one)
    receipt = site.root.parent / "receipt"
    places = ("--store", str(site.settings.store), "--home", str(site.settings.home))
    wanted = event(1).event_id
    command("receipt", wanted, "--tenant", TENANT, "-o", str(receipt), *places)
    raw = receipt.read_bytes()
    assert NAME.encode() in raw
    at = raw.rindex(b" ") + 60
    receipt.write_bytes(raw[:at] + (b"A" if raw[at : at + 1] != b"A" else b"B") + raw[at + 1 :])
    done = command("verify", str(receipt), "--policy", str(site.policy(one)), "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["logs"][0]["problems"][0]["code"] == "cosignature_invalid"


def test_a_back_dated_receipt_is_tampered(site: Site, one: Witness) -> None:
    """An event that says it was received after its cosignature is not what was cosigned."""
    site.fill(0, 3, behind_ns=-HOUR_NS)
    site.cosign(one)
    receipt = site.root.parent / "receipt"
    places = ("--store", str(site.settings.store), "--home", str(site.settings.home))
    command("receipt", event(1).event_id, "--tenant", TENANT, "-o", str(receipt), *places)
    done = command("verify", str(receipt), "--policy", str(site.policy(one)), "--json")
    assert json.loads(done.stdout)["logs"][0]["problems"][0]["code"] == "outside_window"


def test_consistency_proofs_carry_their_cosignatures(site: Site, one: Witness) -> None:
    """That a log only grew is verified under the policy as well."""
    site.fill(0, 3)
    old = site.cosign(one)
    held = site.root.parent / "held"
    shutil.copy(site.log.folder / f"checkpoint.{old}", held)
    site.fill(3, 9)
    proof, policy = site.root.parent / "proof", site.policy(one)
    places = ("--store", str(site.settings.store), "--home", str(site.settings.home))
    log = ("--tenant", TENANT, "--writer", site.identity.writer)
    make = ("log", "consistency", *log, "--from", str(old), "-o", str(proof), *places)
    check = ("verify", str(proof), "--known", str(held), "--policy", str(policy))
    assert command(*make).returncode == 0
    assert command(*check).returncode == 3
    site.cosign(one)
    assert command(*make).returncode == 0
    assert command(*check).returncode == 0


def test_a_cosignature_that_is_kept_is_never_replaced(site: Site, one: Witness) -> None:
    """The first cosignature of a witness stands; what is not one is told, not overwritten."""
    site.fill(0, 3)
    size = site.cosign(one)
    (path,) = cosignature_files(site.log.folder)[size]
    first = path.read_bytes()
    site.cosign(one)
    assert path.read_bytes() == first
    path.write_bytes(b"rubbish\n")
    with pytest.raises(Exception, match="signature") as caught:
        site.cosign(one)
    assert not isinstance(caught.value, NoteInvalid)
    assert path.read_bytes() == b"rubbish\n"
