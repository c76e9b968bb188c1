"""Cosignatures: published ones, the way there and back, and what does not hold."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_store import NoteInvalid
from intentproof_store.cosignature import ML_DSA_44, WitnessKey, cosign, cosigned_at
from intentproof_store.note import Checkpoint, parse_note, sign_note

from tests.examples import examples
from tests.store.support import vectors

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(33, 65)))
WITNESS = WitnessKey("witness.example/1", KEY.public_key().public_bytes_raw())
TEXT = Checkpoint("log.example/acme/w-1", 8, bytes(range(32))).text()
TIME_S = 1_795_233_600

# C2SP tlog-cosignature and tlog-checkpoint print this checkpoint with an Ed25519 cosignature.
SPEC_TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
SPEC_LINE = (
    "\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJs"
    "X3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)


def line_of(raw: bytes) -> bytes:
    """What follows the key id in a signature line."""
    return base64.b64decode(raw.split()[-1])[4:]


def test_published_cosignatures_hold() -> None:
    """The published cosigned note tells the witness and the time that its publisher names."""
    cases = json.loads(vectors("notes.json").read_text())["cases"]
    case = next(case for case in cases if case["name"].startswith("cosigned"))
    keys = [WitnessKey.parse(v) for v in case["vkeys"] if v.startswith("witness.")]
    found = cosigned_at(parse_note(case["note"].encode()), keys)
    told = {name: time_s for name, kind, time_s in case["verified"] if kind == 4}
    assert {key.name: time_s for key, time_s in found.items()} == told
    assert [key.vkey() for key in keys] == [v for v in case["vkeys"] if v.startswith("witness.")]


def test_the_published_cosignature_is_made_again() -> None:
    """The published witness seed and time give the published signature line, byte for byte."""
    cases = json.loads(vectors("notes.json").read_text())["cases"]
    case = next(case for case in cases if case["name"].startswith("cosigned"))
    made = cosign(case["text"], name="witness.example/1", key=KEY, time_s=TIME_S)
    assert case["note"].encode().endswith(made)


def test_the_specs_example_is_read() -> None:
    """The note that C2SP tlog-cosignature prints has a signature of a time and 64 bytes."""
    (line,) = parse_note(f"{SPEC_TEXT}\n{SPEC_LINE}".encode()).signatures
    assert line.key_id.hex() == "8d66cf3f"
    assert int.from_bytes(line.signature[:8], "big") == 1_679_315_147
    assert len(line.signature) == 72


@settings(max_examples=examples(100))
@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_a_cosignature_tells_its_time(time_s: int, root: bytes) -> None:
    """Whatever time and tree are cosigned, the key finds that time and no other text."""
    text = Checkpoint("log.example/acme/w-1", 8, root).text()
    made = line_of(cosign(text, name=WITNESS.name, key=KEY, time_s=time_s))
    assert WITNESS.verify(text, made) == time_s
    with pytest.raises(NoteInvalid):
        WITNESS.verify(text.replace("\n8\n", "\n9\n"), made)


@settings(max_examples=examples(100))
@given(st.integers(0, 72 * 8 - 1))
def test_every_bit_counts(bit: int) -> None:
    """With any bit of time or signature flipped, nothing is cosigned."""
    made = bytearray(line_of(cosign(TEXT, name=WITNESS.name, key=KEY, time_s=TIME_S)))
    made[bit // 8] ^= 1 << bit % 8
    with pytest.raises(NoteInvalid):
        WITNESS.verify(TEXT, bytes(made))


@pytest.mark.parametrize("length", [0, 8, 64, 71, 73])
def test_another_length_is_refused(length: int) -> None:
    """A time of eight bytes and a signature of 64, nothing else."""
    with pytest.raises(NoteInvalid, match="length"):
        WITNESS.verify(TEXT, bytes(length))


def test_a_plain_signature_is_no_cosignature() -> None:
    """What the same key signed as a note is not over a time: domains are apart."""
    plain = parse_note(sign_note(TEXT, name=WITNESS.name, key=KEY)).signatures[0]
    with pytest.raises(NoteInvalid):
        WITNESS.verify(TEXT, bytes(8) + plain.signature)


def test_one_bad_cosignature_spoils_the_note() -> None:
    """Under a known name and key id a signature holds, or the whole note is refused."""
    good = cosign(TEXT, name=WITNESS.name, key=KEY, time_s=TIME_S)
    other = cosign(TEXT.replace("\n8\n", "\n9\n"), name=WITNESS.name, key=KEY, time_s=TIME_S)
    note = f"{TEXT}\n".encode() + good
    assert cosigned_at(parse_note(note), [WITNESS]) == {WITNESS: TIME_S}
    with pytest.raises(NoteInvalid):
        cosigned_at(parse_note(note + other), [WITNESS])


def test_of_two_times_the_earliest_counts() -> None:
    """A checkpoint that was cosigned twice existed at the earlier time."""
    lines = [cosign(TEXT, name=WITNESS.name, key=KEY, time_s=TIME_S + n) for n in (9, 0, 5)]
    note = parse_note(f"{TEXT}\n".encode() + b"".join(lines))
    assert cosigned_at(note, [WITNESS]) == {WITNESS: TIME_S}


@pytest.mark.parametrize(
    "vkey",
    [
        "witness.example/1+00000000+BOfxYqEL7FWa/qGV5NzoS2lWjV0ssJY+tEbAaF4rF/Lw",
        "log.example/t-0001/w0+0aefbc0f+AXm1Vi6P5lT5QHixEuipi6eQH4U65pW+1+DjkQutBJZk",
        "witness.example/1",
        "witness.example/1+feeeb50b+BOfx",
        WitnessKey("w", bytes(32)).vkey(),
        WitnessKey("w", bytes(1312), 0x07).vkey(),
        WitnessKey("w", bytes(32), ML_DSA_44).vkey(),
    ],
)
def test_a_key_that_is_none_of_a_witness_is_refused(vkey: str) -> None:
    """Another type, id, length, or a point of low order."""
    with pytest.raises(NoteInvalid):
        WitnessKey.parse(vkey)


def test_ml_dsa_cosignatures_are_verified_or_never_count() -> None:
    """Where the library has ML-DSA-44 its cosignature holds for its own text and name alone."""
    mldsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.mldsa")
    secret = mldsa.MLDSA44PrivateKey.generate()
    witness = WitnessKey("witness.example/pq", secret.public_key().public_bytes_raw(), ML_DSA_44)
    assert WitnessKey.parse(witness.vkey()) == witness
    assert witness.is_supported
    short = [bytes([len(name)]) + name for name in (b"witness.example/pq", b"log.example/acme/w-1")]
    numbers = [number.to_bytes(8, "big") for number in (TIME_S, 0, 8)]
    message = b"".join(
        (b"subtree/v1\n\0", short[0], numbers[0], short[1], *numbers[1:], bytes(range(32)))
    )
    signature = numbers[0] + secret.sign(message)
    assert witness.verify(TEXT, signature) == TIME_S
    with pytest.raises(NoteInvalid):
        WitnessKey("other.name", witness.key, ML_DSA_44).verify(TEXT, signature)
    with pytest.raises(NoteInvalid):
        witness.verify(TEXT.replace("\n8\n", "\n9\n"), signature)
