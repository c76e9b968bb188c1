"""Trust policies: what C2SP tlog-policy allows, what it forbids, and which quorum is met."""

import itertools
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_store import NoteInvalid
from intentproof_store.cosignature import ML_DSA_44, WitnessKey, cosign
from intentproof_store.errors import PolicyInvalid
from intentproof_store.note import Checkpoint, VerifierKey, sign_note
from intentproof_store.policy import judge_checkpoint, parse_policy

from tests.examples import examples

ORIGIN = "log.example/acme/w-1"
LOG_SECRET = Ed25519PrivateKey.from_private_bytes(bytes([1] * 32))
LOG = VerifierKey(ORIGIN, LOG_SECRET.public_key().public_bytes_raw())
OTHER_LOG = VerifierKey("log.example/beta/w-1", LOG.key)
SECRETS = [Ed25519PrivateKey.from_private_bytes(bytes([n] * 32)) for n in range(2, 8)]
WITNESSES = [
    WitnessKey(f"w{number}.example", secret.public_key().public_bytes_raw())
    for number, secret in enumerate(SECRETS)
]
PQ = WitnessKey("pq.example", bytes(1312), ML_DSA_44)
TEXT = Checkpoint(ORIGIN, 8, bytes(range(32))).text()
NOTE = sign_note(TEXT, name=ORIGIN, key=LOG_SECRET)
X1, X2, X3, Y1, Y2, Y3 = (key.vkey() for key in WITNESSES)
SPEC = f"""log {LOG.vkey()}

witness X1 {X1}
witness X2 {X2}
witness X3 {X3}
group X-witnesses 2 X1 X2 X3

witness Y1 {Y1}
witness Y2 {Y2}
witness Y3 {Y3}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def cosigned(*numbers: int, time_s: int = 1000) -> bytes:
    lines = [
        cosign(TEXT, name=WITNESSES[n].name, key=SECRETS[n], time_s=time_s + n) for n in numbers
    ]
    return NOTE + b"".join(lines)


def test_the_specs_example_is_met_as_the_spec_says() -> None:
    """Of all subsets of the six witnesses, two of X with one of Y are enough, and nothing less."""
    policy = parse_policy(SPEC.encode())
    for count in range(7):
        for chosen in itertools.combinations(range(6), count):
            enough = sum(n < 3 for n in chosen) >= 2 and any(n >= 3 for n in chosen)
            judgement = judge_checkpoint(cosigned(*chosen), policy)
            assert judgement.is_met == enough, chosen
            assert (judgement.witnessed_at is not None) == enough
            names = ("X1", "X2", "X3", "Y1", "Y2", "Y3")
            assert judgement.missing == tuple(n for i, n in enumerate(names) if i not in chosen)


def test_witnessed_at_is_when_the_quorum_was_reached() -> None:
    """The third of the needed witnesses ends the wait; a fourth changes nothing."""
    policy = parse_policy(SPEC.encode())
    assert judge_checkpoint(cosigned(0, 1, 4), policy).witnessed_at == 1004
    assert judge_checkpoint(cosigned(0, 1, 3, 5), policy).witnessed_at == 1003
    assert judge_checkpoint(cosigned(0, 1, 4), policy).times == {"X1": 1000, "X2": 1001, "Y2": 1004}


def test_quorum_none_asks_for_no_witness_but_for_the_log() -> None:
    """Without witnesses the log's own signature is enough, and still needed."""
    policy = parse_policy(f"log {LOG.vkey()}\nquorum none\n".encode())
    assert judge_checkpoint(NOTE, policy).is_met
    stranger = sign_note(TEXT, name=ORIGIN, key=SECRETS[0])
    with pytest.raises(NoteInvalid):
        judge_checkpoint(stranger, policy)


def test_the_log_must_have_signed_under_its_origin() -> None:
    """Cosignatures alone, and another listed log's signature, make no checkpoint of this one."""
    policy = parse_policy(SPEC.encode())
    with pytest.raises(NoteInvalid):
        judge_checkpoint(f"{TEXT}\n".encode() + cosigned(0, 1, 4)[len(NOTE) :], policy)
    foreign = sign_note(TEXT, name=OTHER_LOG.name, key=LOG_SECRET)
    with pytest.raises(NoteInvalid, match="no key of"):
        judge_checkpoint(foreign, parse_policy(b"quorum none\n"), logs=[OTHER_LOG])
    assert judge_checkpoint(NOTE, parse_policy(b"quorum none\n"), logs=[LOG]).is_met


def test_a_bad_cosignature_of_a_listed_witness_spoils_the_checkpoint() -> None:
    """A signature under a listed name and key id that does not hold is never passed over."""
    other = cosign(TEXT.replace("\n8\n", "\n9\n"), name="w0.example", key=SECRETS[0], time_s=1)
    with pytest.raises(NoteInvalid, match="w0"):
        judge_checkpoint(cosigned(0, 1, 4) + other, parse_policy(SPEC.encode()))


def test_strangers_cosignatures_count_for_nothing() -> None:
    """A witness that the policy does not list is passed over."""
    policy = parse_policy(f"log {LOG.vkey()}\nwitness A {X1}\nquorum A\n".encode())
    judgement = judge_checkpoint(cosigned(1, 2), policy)
    assert (judgement.is_met, judgement.missing) == (False, ("A",))


def test_a_witness_that_cannot_be_verified_never_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ML-DSA-44 is not supported, whatever stands under that name satisfies nothing."""
    monkeypatch.setattr("intentproof_store.cosignature._ML_DSA", None)
    policy = parse_policy(f"log {LOG.vkey()}\nwitness P {PQ.vkey()}\nquorum P\n".encode())
    judgement = judge_checkpoint(NOTE, policy)
    assert (judgement.is_met, judgement.missing, judgement.unsupported) == (False, ("P",), ("P",))


def test_whitespace_comments_and_names_are_free() -> None:
    """Tabs, blank lines, comments and octets beyond ASCII in names are allowed."""
    raw = (
        b"# a comment \xff\n \t \n\tquorum\tnone\n  # more\n"
        + f"  witness \u212a\t{X1}  https://w.example/ \n".encode()
        + f"witness K {X2}\nlog {LOG.vkey()} https://log.example".encode()
    )
    policy = parse_policy(raw)
    assert [w.name for w in policy.witnesses] == ["\u212a".encode(), b"K"]
    assert policy.witnesses[0].url == "https://w.example/"
    assert policy.quorum is None


BAD = {
    "no quorum": (f"log {LOG.vkey()}\n", 0),
    "two quorums": ("quorum none\nquorum none\n", 2),
    "an unknown quorum": ("quorum A\n", 1),
    "a quorum before its witness": (f"quorum A\nwitness A {X1}\n", 1),
    "a quorum of two": (f"witness A {X1}\nwitness B {X2}\nquorum A B\n", 3),
    "a quorum of nothing": ("quorum\n", 1),
    "an unknown keyword": ("quorum none\nlogs x\n", 2),
    "a keyword in capitals": ("Quorum none\n", 1),
    "a log without a key": ("log\nquorum none\n", 1),
    "a log of four words": (f"log {LOG.vkey()} a b\nquorum none\n", 1),
    "a log twice": (f"log {LOG.vkey()}\nlog {LOG.vkey()}\nquorum none\n", 2),
    "a log's key under two names": (f"log {LOG.vkey()}\nlog {OTHER_LOG.vkey()}\nquorum none\n", 2),
    "a witness's key as a log's": (f"log {X1}\nquorum none\n", 1),
    "a log's key as a witness's": (f"witness A {LOG.vkey()}\nquorum none\n", 1),
    "a key that is none": ("log abc\nquorum none\n", 1),
    "a witness without a key": ("witness A\nquorum none\n", 1),
    "a witness twice": (f"witness A {X1}\nwitness B {X1}\nquorum none\n", 2),
    "a witness's key under two names": (
        f"witness A {X1}\nwitness B {WitnessKey('z', WITNESSES[0].key).vkey()}\nquorum none\n",
        2,
    ),
    "a name twice": (f"witness A {X1}\nwitness A {X2}\nquorum none\n", 2),
    "a group's name taken": (f"witness A {X1}\ngroup A any A\nquorum none\n", 2),
    "a witness named none": (f"witness none {X1}\nquorum none\n", 1),
    "a group named none": (f"witness A {X1}\ngroup none any A\nquorum none\n", 2),
    "a group of none": ("group G any none\nquorum none\n", 1),
    "a group without members": (f"witness A {X1}\ngroup G any\nquorum none\n", 2),
    "a group of later names": (f"group G any A\nwitness A {X1}\nquorum none\n", 1),
    "a group in itself": (f"witness A {X1}\ngroup G any A G\nquorum none\n", 2),
    "a member twice": (f"witness A {X1}\ngroup G any A A\nquorum none\n", 2),
    "a member of two groups": (f"witness A {X1}\ngroup G any A\ngroup H any A\nquorum none\n", 3),
    "a threshold of 0": (f"witness A {X1}\ngroup G 0 A\nquorum none\n", 2),
    "a threshold above all": (f"witness A {X1}\ngroup G 2 A\nquorum none\n", 2),
    "a threshold below 0": (f"witness A {X1}\ngroup G -1 A\nquorum none\n", 2),
    "a threshold with a sign": (f"witness A {X1}\ngroup G +1 A\nquorum none\n", 2),
    "a threshold in words": (f"witness A {X1}\ngroup G most A\nquorum none\n", 2),
    "a carriage return": ("quorum none\r\n", 1),
    "a control character": ("quorum none\n# \x00\n", 2),
    "a delete": ("quorum none\n# \x7f\n", 2),
    "a form feed as space": ("quorum\x0cnone\n", 1),
    "a space of Unicode": ("quorum\u00a0none\n", 1),
}


@pytest.mark.parametrize("what", BAD)
def test_what_breaks_the_format_is_refused_with_its_line(what: str) -> None:
    """Each rule of the format has its own refusal, which names the line."""
    text, line = BAD[what]
    with pytest.raises(PolicyInvalid) as caught:
        parse_policy(text.encode())
    assert caught.value.line == line
    assert (f"line {line}" in str(caught.value)) == (line > 0)


def test_many_of_everything_are_taken() -> None:
    """32 logs, witnesses and groups at least (C2SP tlog-policy, implementation limits)."""
    secrets = [Ed25519PrivateKey.from_private_bytes(bytes([n, 9] * 16)) for n in range(100)]
    keys = [secret.public_key().public_bytes_raw() for secret in secrets]
    lines = [f"log {VerifierKey(f'l{n}', keys[n]).vkey()}" for n in range(50)]
    lines += [f"witness w{n} {WitnessKey(f'w{n}', keys[n]).vkey()}" for n in range(50, 100)]
    lines += [f"group g{n} any w{n}" for n in range(50, 100)]
    policy = parse_policy("\n".join([*lines, "quorum g70"]).encode())
    assert (len(policy.logs), len(policy.witnesses), len(policy.groups)) == (50, 50, 50)


@settings(max_examples=examples(200))
@given(st.binary(max_size=200))
def test_any_bytes_are_a_policy_or_refused(raw: bytes) -> None:
    """No input makes the reader raise anything else."""
    with suppress(PolicyInvalid):
        assert parse_policy(raw).quorum is None


@settings(max_examples=examples(200))
@given(st.lists(st.sampled_from(SPEC.split()), max_size=12).map(" ".join))
def test_any_words_of_a_policy_are_one_or_refused(line: str) -> None:
    """A line of the right words in any order is a policy's or is refused with its number."""
    with pytest.raises(PolicyInvalid):
        parse_policy(f"{line}\n".encode())
