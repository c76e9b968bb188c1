"""Signed notes: published vectors, the way there and back, and what is refused."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from intentproof_store import NoteInvalid
from intentproof_store.note import (
    Checkpoint,
    SegmentNote,
    VerifierKey,
    open_note,
    parse_checkpoint_text,
    parse_note,
    parse_segment_text,
    sign_note,
)

from tests.store.support import vectors

NAME = "intentproof.local/acme/host-00000001"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(33, 65)))
TRUSTED = VerifierKey(NAME, KEY.public_key().public_bytes_raw())
STRANGER = VerifierKey("witness.example/1", OTHER.public_key().public_bytes_raw())
TEXT = Checkpoint(NAME, 3, bytes(range(32))).text()
NOTE = sign_note(TEXT, name=NAME, key=KEY)
LOW_ORDER = (
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    # Not canonical: y = 1 and y = 0 with the prime added, y = 1 and y = -1 with the sign bit.
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
)


def ed25519_keys(lines: list[str]) -> list[VerifierKey]:
    """The keys of kind 0x01: a witness's cosignature key is none of ours."""
    kinds = [base64.b64decode(line.split("+", 2)[2])[0] for line in lines]
    return [VerifierKey.parse(line) for line, kind in zip(lines, kinds, strict=True) if kind == 1]


def signature_line(note: bytes) -> str:
    return note.decode().rpartition("\n\n")[2]


def test_published_notes_are_judged_as_published() -> None:
    """Every published note opens, or is refused, as its publisher says."""
    for case in json.loads(vectors("notes.json").read_text())["cases"]:
        keys = ed25519_keys(case["vkeys"])
        if not case["valid"]:
            with pytest.raises(NoteInvalid):
                open_note(case["note"].encode(), keys)
            continue
        note, signers = open_note(case["note"].encode(), keys)
        assert note.text == case["text"]
        ours = [name for name, kind, _ in case["verified"] if kind == 1]
        assert [key.name for key in signers] == ours


names = st.text(st.characters(categories=("L", "N", "P"), exclude_characters="+"), min_size=1)
bodies = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=60).map(
    lambda line: f"{line or 'x'}\n"
)


@given(
    names,
    st.lists(bodies, min_size=1, max_size=5).map("".join),
    st.binary(min_size=32, max_size=32),
)
def test_what_was_signed_opens(name: str, text: str, seed: bytes) -> None:
    """A signed text comes back from its note, with the key that signed it."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    trusted = VerifierKey(name, key.public_key().public_bytes_raw())
    note, signers = open_note(sign_note(text, name=name, key=key), [trusted])
    assert note.text == text
    assert signers == (trusted,)


def test_a_vkey_reads_back() -> None:
    """A key's line of text gives the key again."""
    assert VerifierKey.parse(TRUSTED.vkey()) == TRUSTED


@given(st.integers(0, len(NOTE) * 8 - 1))
def test_every_flipped_bit_of_a_note_is_noticed(bit: int) -> None:
    """No note with one bit flipped opens."""
    changed = bytearray(NOTE)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(NoteInvalid):
        open_note(bytes(changed), [TRUSTED])


def test_base64_that_is_not_canonical_is_refused() -> None:
    """A signature whose unused bits are set is refused, although it decodes to the same bytes."""
    line = signature_line(NOTE)
    encoded = line.rpartition(" ")[2].strip()
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    assert encoded.endswith("=")
    body = encoded.rstrip("=")
    twin = body[:-1] + letters[letters.index(body[-1]) + 1] + "=" * (len(encoded) - len(body))
    assert base64.b64decode(twin) == base64.b64decode(encoded)
    with pytest.raises(NoteInvalid, match="canonical"):
        parse_note(NOTE.decode().replace(encoded, twin).encode())


@pytest.mark.parametrize("extra", [b"\n", b" ", b"x", b"\n\n", b"\x00", "\u2014 a b\n".encode()])
def test_bytes_after_the_signatures_are_refused(extra: bytes) -> None:
    """Nothing may follow a note's last signature."""
    with pytest.raises(NoteInvalid):
        open_note(NOTE + extra, [TRUSTED])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"\xff\xfe\n\n",
        TEXT.encode(),
        NOTE[:-1],
        NOTE.replace("\u2014 ".encode(), b"- "),
        NOTE.replace(b"\n\n", b"\n"),
        NOTE.replace(b"\n", b"\r\n"),
        NOTE.replace(NAME.encode() + b" ", NAME.encode() + b"  "),
        f"{TEXT}\n\u2014 {NAME}\n".encode(),
        f"{TEXT}\n\u2014 {NAME} AAAA\n".encode(),
        f"{TEXT}\n\u2014 {NAME} {base64.b64encode(bytes(4)).decode()}\n".encode(),
        f"{TEXT}\n\u2014 a+b {base64.b64encode(bytes(68)).decode()}\n".encode(),
    ],
)
def test_what_is_no_note_is_refused(raw: bytes) -> None:
    """A text without proper signature lines is no note."""
    with pytest.raises(NoteInvalid):
        open_note(raw, [TRUSTED])


def test_too_many_signatures_are_refused() -> None:
    """A note with over a hundred signatures is refused before any is looked at."""
    with pytest.raises(NoteInvalid, match="100"):
        parse_note(NOTE + signature_line(NOTE).encode() * 100)


@pytest.mark.parametrize("point", LOW_ORDER)
def test_keys_of_low_order_are_refused(point: str) -> None:
    """A key under which anybody can sign, or with a second encoding, is never trusted."""
    weak = VerifierKey(NAME, bytes.fromhex(point)).vkey()
    with pytest.raises(NoteInvalid):
        VerifierKey.parse(weak)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        "name+00000000",
        NAME + "+00000000+" + TRUSTED.vkey().split("+", 2)[2],
        TRUSTED.vkey().replace(TRUSTED.key_id.hex(), TRUSTED.key_id.hex().upper()),
        TRUSTED.vkey() + "=",
        TRUSTED.vkey() + "\n",
        " " + TRUSTED.vkey(),
        TRUSTED.vkey()[:-4],
        "two words" + TRUSTED.vkey(),
    ],
)
def test_a_vkey_that_is_not_exact_is_refused(vkey: str) -> None:
    """A vkey has one name, its own key id and one canonical Ed25519 key."""
    with pytest.raises(NoteInvalid):
        VerifierKey.parse(vkey)


def test_a_key_of_another_kind_is_refused() -> None:
    """Only Ed25519 signature keys, kind 0x01, are taken."""
    witness = "witness.example/1+feeeb50b+BOfxYqEL7FWa/qGV5NzoS2lWjV0ssJY+tEbAaF4rF/Lw"
    with pytest.raises(NoteInvalid):
        VerifierKey.parse(witness)


def test_a_signature_by_somebody_else_is_ignored() -> None:
    """A note opens by its trusted signature, whoever else signed it."""
    note = NOTE + signature_line(sign_note(TEXT, name="witness.example/1", key=OTHER)).encode()
    assert open_note(note, [TRUSTED])[1] == (TRUSTED,)
    assert open_note(note, [TRUSTED, STRANGER])[1] == (TRUSTED, STRANGER)


def test_no_trusted_signature_is_no_note() -> None:
    """Without a signature by a trusted key, a note does not open."""
    with pytest.raises(NoteInvalid, match="no trusted key"):
        open_note(NOTE, [STRANGER])
    with pytest.raises(NoteInvalid, match="no trusted key"):
        open_note(NOTE, [])


def test_the_trusted_name_with_another_key_does_not_count() -> None:
    """Whoever signs under our name with another key has another key id, and is nobody."""
    with pytest.raises(NoteInvalid, match="no trusted key"):
        open_note(sign_note(TEXT, name=NAME, key=OTHER), [TRUSTED])


def test_one_bad_trusted_signature_refuses_the_whole_note() -> None:
    """A signature under a trusted name and key id that does not hold spoils the good ones."""
    bad = base64.b64encode(TRUSTED.key_id + bytes(64)).decode()
    with pytest.raises(NoteInvalid, match="does not hold"):
        open_note(NOTE + f"\u2014 {NAME} {bad}\n".encode(), [TRUSTED])


@given(st.integers(0, 2**60), st.binary(min_size=32, max_size=32))
def test_a_checkpoints_text_reads_back(size: int, root: bytes) -> None:
    """A checkpoint's text gives the checkpoint again."""
    checkpoint = Checkpoint(NAME, size, root)
    assert parse_checkpoint_text(checkpoint.text()) == checkpoint


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\n3\n", "\n03\n"),
        ("\n3\n", "\n-3\n"),
        ("\n3\n", "\n+3\n"),
        ("\n3\n", "\n\n"),
        ("\n3\n", "\n\u0663\n"),
        (NAME, ""),
        ("=\n", "=\nextension\n"),
        ("=\n", "="),
        ("AAEC", "AAE"),
        ("AAEC", ""),
    ],
)
def test_a_checkpoint_is_three_exact_lines(old: str, new: str) -> None:
    """Origin, plain decimal size, canonical root of 32 bytes, and nothing else."""
    assert old in TEXT
    with pytest.raises(NoteInvalid):
        parse_checkpoint_text(TEXT.replace(old, new))


def test_a_segment_notes_text_is_as_the_contract_writes_it_and_reads_back() -> None:
    """A segment's note is origin, numbers and digest on a line each, and reads back."""
    note = SegmentNote(NAME, 0, 41, 2, 9_000, "ab" * 32)
    assert note.text() == f"{NAME}/segment\n0\n41\n2\n9000\nsha256:{'ab' * 32}\n"
    assert parse_segment_text(note.text()) == note


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/segment", ""),
        ("\n0\n", "\n00\n"),
        ("\n41\n", "\n 41\n"),
        ("sha256:", "SHA256:"),
        ("ab", "AB"),
        ("sha256:ab", "sha256:"),
        ("\nsha256", "\n7\nsha256"),
        (NAME, ""),
    ],
)
def test_a_segment_note_is_exact(old: str, new: str) -> None:
    """A segment note with anything more, less or otherwise written is refused."""
    text = SegmentNote(NAME, 0, 41, 2, 9_000, "ab" * 32).text()
    with pytest.raises(NoteInvalid):
        parse_segment_text(text.replace(old, new, 1))
