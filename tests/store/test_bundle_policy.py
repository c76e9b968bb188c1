"""A bundle under a policy: it counts with the quorum of the witnesses, and in their time."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from intentproof_store.cosignature import WitnessKey, cosign
from intentproof_store.policy import Policy, parse_policy
from intentproof_store.verify.bundle_check import judge_bundle
from intentproof_store.verify.bundle_trust import Trusted
from intentproof_store.verify.report import Report

from tests.store.bundle_support import (
    VKEY,
    MemoryLog,
    commander,
    content,
    files_of,
    memory_log,
    packed,
)
from tests.store.reader_support import START_NS, Site

START_S = START_NS // 10**9
WITNESSES = {
    f"witness{number}.example": Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
    for number in (1, 2)
}


def policy_text(rule: str = "all", *, log: bool = True) -> bytes:
    """A policy over the log and both witnesses."""
    lines = [f"log {VKEY.vkey()}"] if log else []
    for number, (name, key) in enumerate(WITNESSES.items(), start=1):
        vkey = WitnessKey(name, key.public_key().public_bytes_raw()).vkey()
        lines.append(f"witness w{number} {vkey}")
    return "\n".join([*lines, f"group both {rule} w1 w2", "quorum both", ""]).encode()


def policy(rule: str = "all") -> Policy:
    return parse_policy(policy_text(rule))


def cosigned(log: MemoryLog, size: int, *times_s: int) -> None:
    """Have as many witnesses as there are times cosign a checkpoint of the log."""
    text = log.checkpoint(size).text()
    log.cosigned[size] = b"".join(
        cosign(text, name=name, key=key, time_s=time_s)
        for (name, key), time_s in zip(WITNESSES.items(), times_s, strict=False)
    )


def judged(log: MemoryLog, *sizes: int, rule: str = "all") -> Report:
    raw = packed(files_of(content(log, sizes=sizes)))
    return judge_bundle(raw, Trusted((VKEY,), policy=policy(rule)))[0]


def codes(report: Report) -> list[str]:
    return [problem.code for log in report.logs for problem in log.problems]


def test_with_the_quorum_a_bundle_is_verified() -> None:
    """Both witnesses cosigned the checkpoint: the anchor is the policy, with who and when."""
    log = memory_log()
    cosigned(log, 7, START_S + 60, START_S + 90)
    report = judged(log, 7)
    assert (report.outcome.value, report.anchor, codes(report)) == ("verified", "policy", [])
    assert report.events_verified == 3
    told = report.logs[0].witnessed
    assert told is not None
    assert (told.size, told.at_s, told.not_yet) == (7, START_S + 90, 0)
    assert sorted(told.by.values()) == [START_S + 60, START_S + 90]


def test_without_the_quorum_the_log_key_is_not_enough() -> None:
    """One of two witnesses, or none: nobody outside vouches for it, and the report says who."""
    log = memory_log()
    for times_s in ((), (START_S + 60,)):
        cosigned(log, 7, *times_s)
        report = judged(log, 7)
        assert (report.outcome.value, report.events_verified) == ("unanchored", 0)
        assert codes(report) == ["not_witnessed"]
        assert "w2" in report.logs[0].problems[0].message
    assert judged(log, 7, rule="any").outcome.value == "verified"


def test_a_witnessed_checkpoint_vouches_for_the_smaller_ones() -> None:
    """What a larger checkpoint with the quorum extends is witnessed with it, and nothing above."""
    log = memory_log()
    cosigned(log, 7, START_S + 60, START_S + 60)
    assert judged(log, 2, 7).outcome.value == "verified"
    log = memory_log()
    cosigned(log, 2, START_S + 60, START_S + 60)
    report = judged(log, 2, 7)
    assert (report.outcome.value, report.events_verified) == ("unanchored", 2)
    assert codes(report) == ["not_witnessed"]
    assert report.logs[0].witnessed is not None
    assert report.logs[0].witnessed.not_yet == 5


def test_a_cosignature_that_does_not_hold_is_tampering() -> None:
    """A line under a listed witness's name and key id over something else is refused."""
    log, other = memory_log(), memory_log(5)
    cosigned(other, 7, START_S + 60, START_S + 60)
    cosigned(log, 6, START_S + 60, START_S + 60)
    log.cosigned[7] = log.cosigned[6]
    report = judged(log, 7)
    assert (report.outcome.value, codes(report)) == ("tampered", ["cosignature_invalid"])
    assert report.logs[0].problems[0].file is not None


@pytest.mark.parametrize(("after_s", "outcome"), [(-301, "tampered"), (-299, "verified")])
def test_nothing_was_received_after_it_was_cosigned(after_s: int, outcome: str) -> None:
    """An event's receipt lies before the quorum over it, give or take five minutes."""
    log = memory_log()
    cosigned(log, 7, START_S + after_s, START_S + after_s)
    report = judged(log, 7)
    assert report.outcome.value == outcome
    assert set(codes(report)) == ({"outside_window"} if outcome == "tampered" else set())


def test_the_command_takes_a_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`verify BUNDLE --policy` needs the log's key in the policy or beside it."""
    run = commander(Site(tmp_path), capsys)
    log = memory_log()
    cosigned(log, 7, START_S + 60, START_S + 90)
    file, rules, key = tmp_path / "b.tar.zst", tmp_path / "policy", tmp_path / "k"
    file.write_bytes(packed(files_of(content(log))))
    key.write_text(f"{VKEY.vkey()}\n")
    rules.write_bytes(policy_text())
    code, out, _ = run("verify", file, "--policy", rules, "--json")
    assert (code, json.loads(out)["anchor"]) == (0, "policy")
    assert "w2 at 2026" in run("verify", file, "--policy", rules)[1]
    rules.write_bytes(policy_text(log=False))
    assert run("verify", file, "--policy", rules)[0] == 6
    assert run("verify", file, "--policy", rules, "--key", key)[0] == 0


def test_without_a_policy_cosignatures_are_carried_and_not_judged() -> None:
    """The log's key is enough where no policy is asked for, whatever witnesses say."""
    log = memory_log()
    cosigned(log, 7, START_S - 10**6)
    raw = packed(files_of(content(log)))
    assert judge_bundle(raw, Trusted((VKEY,)))[0].outcome.value == "verified"
