"""Anchors: one root over many checkpoints, and what the file of each log says and hides."""

import hashlib
import re
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_schemas import TENANT
from intentproof_store.anchors import (
    ANCHOR_SALT_BYTES,
    Anchored,
    anchor_name,
    anchor_origin,
    decode_anchored,
    make_anchor,
    verify_anchored,
)
from intentproof_store.errors import StampInvalid
from intentproof_store.layout import parse_anchor, token_name
from intentproof_store.note import (
    Checkpoint,
    VerifierKey,
    open_note,
    read_checkpoint,
    sign_note,
)

from tests.examples import examples

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ORIGIN = anchor_origin("intentproof.local", "host-00000001", b"\x01" * 8)


def note(number: int) -> bytes:
    origin = f"intentproof.local/tenant-{number}/host-00000001"
    root = hashlib.sha256(b"%d" % number).digest()
    return sign_note(Checkpoint(origin, number + 1, root).text(), name=origin, key=KEY)


def anchored(count: int) -> list[Anchored]:
    salts = [hashlib.sha256(b"salt %d" % at).digest() for at in range(count)]
    return make_anchor([note(at) for at in range(count)], salts, origin=ORIGIN, key=KEY)


@given(count=st.integers(1, 70))
@settings(max_examples=examples(50), deadline=None)
def test_every_checkpoint_is_proved(count: int) -> None:
    """Each of many checkpoints is proved under the one anchor, also after it was a file."""
    made = anchored(count)
    assert len({each.anchor for each in made}) == 1
    for number, each in enumerate(made):
        read = decode_anchored(each.encode())
        assert read == each
        assert verify_anchored(read).size == number + 1
        assert read.note == note(number)


def test_an_anchor_is_signed() -> None:
    """The anchor is a signed checkpoint: the key's name is the origin without what is unique."""
    name = ORIGIN.rpartition("/")[0]
    signed = anchored(3)[0].anchor
    open_note(signed, [VerifierKey(name, KEY.public_key().public_bytes_raw())])
    assert read_checkpoint(signed).size == 3


def test_no_tenant_has_the_name_of_anchors() -> None:
    """The name that stands for a tenant in an anchor's origin can be no tenant's."""
    assert not TENANT.fullmatch(ORIGIN.split("/")[1])


def test_two_anchors_have_two_origins() -> None:
    """Two anchors of equal size are no fork of one log, because no two have one origin."""
    other = anchor_origin("intentproof.local", "host-00000001", b"\x02" * 8)
    assert other != ORIGIN


def test_a_file_tells_nothing_of_others() -> None:
    """Of other logs a file holds no name, no size, no root and no hash without a salt."""
    made = anchored(4)
    text = made[0].encode()
    for number in range(1, 4):
        other = note(number)
        root = read_checkpoint(other).root
        assert f"tenant-{number}".encode() not in text
        for guess in (other, b"\x00" + other, bytes(ANCHOR_SALT_BYTES) + other):
            assert hashlib.sha256(guess).digest() not in made[0].proof
        assert root not in made[0].proof
    assert [made[0].salt == each.salt for each in made].count(True) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"index": 0}, "root does not follow"),
        ({"index": 4}, "not in a tree of 4"),
        ({"salt": bytes(32)}, "root does not follow"),
        ({"note": note(9)}, "root does not follow"),
        ({"proof": ()}, "0 hashes, 2 expected"),
        ({"anchor": note(1)}, "not the origin of an anchor"),
        ({"anchor": b"no note"}, "no signatures"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], message: str) -> None:
    """A leaf, an index, a proof and an anchor that do not belong together prove nothing."""
    made = anchored(4)
    whole = next(each for each in made if each.index == 3)
    verify_anchored(whole)
    with pytest.raises(StampInvalid, match=message):
        verify_anchored(replace(whole, **change))  # type: ignore[arg-type]


def test_a_note_that_is_no_checkpoint_is_refused() -> None:
    """What stands under an anchor counts only where it is a checkpoint."""
    text = "intentproof.local/acme/host-00000001/segment\n0\n1\n0\n9\nsha256:" + "0" * 64 + "\n"
    other = sign_note(text, name="x", key=KEY)
    (made,) = make_anchor([other], [bytes(32)], origin=ORIGIN, key=KEY)
    with pytest.raises(StampInvalid, match="not origin, size and root"):
        verify_anchored(made)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"c2sp.org/tlog-proof@v1", b"c2sp.org/tlog-proof@v2", "first line"),
        (b"\nindex ", b"\nindex 0", "plain decimal"),
        (b"extra ", b"extra  ", "base64"),
        (b"=\n", b"\n", "base64"),
        (b"\n\n", b"\n", "no checkpoint|base64|32 bytes"),
    ],
)
def test_a_file_is_read_strictly(old: bytes, new: bytes, message: str) -> None:
    """There is one way to write a file; every other is refused."""
    raw = anchored(3)[0].encode()
    assert old in raw
    with pytest.raises(StampInvalid, match=message):
        verify_anchored(decode_anchored(raw.replace(old, new, 1)))
    with pytest.raises(StampInvalid, match="limit"):
        decode_anchored(raw + bytes(1 << 20))


def test_names() -> None:
    """A file's name has the checkpoint's size and the begin of its token's SHA-256."""
    name = anchor_name(12, b"token")
    assert name == f"anchor.12.{hashlib.sha256(b'token').hexdigest()[:16]}"
    assert parse_anchor(name) == 12
    for other in (token_name(name), name.replace("12", "012"), name.upper(), f"{name}0"):
        assert parse_anchor(other) is None
    assert re.fullmatch(r"anchor\.12\.[0-9a-f]{16}\.tsr", token_name(name))
