"""Receipts that a key holder made up: signed and included, and still not an event of this log."""

import base64
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_schemas import CONTEXT_DOMAIN, PAYLOAD_DOMAIN, canonical, commitment
from intentproof_store.errors import NoteInvalid, ProofInvalid, ReceiptInvalid
from intentproof_store.extension import Extension, decode_extension
from intentproof_store.merkle import leaf_hash
from intentproof_store.note import Checkpoint, VerifierKey, sign_note
from intentproof_store.receipt import (
    RECEIPT_BYTES_MAX,
    Half,
    Proved,
    Receipt,
    decode_receipt,
    verify_receipt,
)

from tests.examples import examples

SIGNING = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ORIGIN = "intentproof.local/acme/rec-0123abcd"
KEY = VerifierKey(ORIGIN, SIGNING.public_key().public_bytes_raw())
SALT = bytes(16)
CONTEXT, PAYLOAD = b'{"attributes":{},"intent":"Refund"}', b'{"inputs":{}}'
LEAF = {
    "action": "refund",
    "completed_ns": "2",
    "context": commitment(CONTEXT_DOMAIN, SALT, CONTEXT),
    "event_id": "e",
    "kind": "event",
    "mapping_rule": "intentproof/1",
    "payload": commitment(PAYLOAD_DOMAIN, SALT, PAYLOAD),
    "provenance": "declared",
    "received_ns": "3",
    "started_ns": "1",
    "status": "ok",
    "tenant": "acme",
    "v": "intentproof.leaf.v1",
    "writer": "rec-0123abcd",
}


def receipt(
    leaf: bytes, *, context: bytes | None = None, payload: bytes | None = None, origin: str = ORIGIN
) -> Receipt:
    """A receipt of the only leaf of a log that our key signs."""
    checkpoint = Checkpoint(origin, 1, leaf_hash(leaf))
    return Receipt(
        leaf=leaf,
        context=None if context is None else Half(SALT, context),
        payload=None if payload is None else Half(SALT, payload),
        index=0,
        proof=(),
        checkpoint=sign_note(checkpoint.text(), name=origin, key=SIGNING),
    )


def verified(made: Receipt) -> Proved:
    return verify_receipt(decode_receipt(made.encode()), keys=[KEY])


def with_payload(text: bytes) -> Receipt:
    leaf = canonical(LEAF | {"payload": commitment(PAYLOAD_DOMAIN, SALT, text)})
    return receipt(leaf, payload=text)


def test_the_leaf_that_the_others_differ_from_is_taken() -> None:
    """What is refused below is refused for the one thing that differs."""
    proved = verified(receipt(canonical(LEAF), context=CONTEXT, payload=PAYLOAD))
    assert proved.leaf == LEAF
    assert proved.context == json.loads(CONTEXT)
    assert proved.payload == json.loads(PAYLOAD)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"tenant": "other"}, "a leaf of other/rec-0123abcd in the log"),
        ({"writer": "rec-ffffffff"}, "a leaf of acme/rec-ffffffff in the log"),
        ({"v": "intentproof.leaf.v2"}, "of a version that is known"),
        ({"kind": "heartbeat"}, "no event"),
        ({"started_ns": "soon"}, "not a plain decimal"),
        ({"completed_ns": "-1"}, "not a plain decimal"),
        ({"received_ns": "03"}, "not a plain decimal"),
        ({"amount": "10"}, "has one that none has"),
        *(({name: None}, "lacks") for name in sorted(LEAF)),
    ],
)
def test_a_signed_leaf_that_is_no_event_of_its_log_is_refused(
    changed: dict[str, str | None], words: str
) -> None:
    """Tenant, writer, version, kind, members and times of a leaf are judged, key or no key."""
    leaf = {name: value for name, value in (LEAF | changed).items() if value is not None}
    made = receipt(canonical(leaf))
    with pytest.raises(ReceiptInvalid, match=words):
        verified(made)
    with pytest.raises(ReceiptInvalid, match=words):
        verify_receipt(made, keys=())


@pytest.mark.parametrize(
    "text",
    [
        b"[]",
        b"1",
        b'"text"',
        b"{",
        b'{"inputs":NaN}',
        b'{"inputs":1,"inputs":2}',
        b'{"inputs":{"amount":1,"amount":2}}',
        b'{"inputs":' + b"[" * 80 + b"]" * 80 + b"}",
        b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"inputs":' + b"9" * 10_000 + b"}",
    ],
    ids=repr,
)
def test_a_committed_half_that_readers_could_read_two_ways_is_refused(text: bytes) -> None:
    """A half is one JSON object, no key twice, no deeper than events are."""
    with pytest.raises(ReceiptInvalid, match="the payload is"):
        verified(with_payload(text))


def test_numbers_of_any_size_stay_what_was_committed() -> None:
    """JCS writes the double 2^60 with all its digits, which is no reason to refuse an event."""
    payload = verified(with_payload(b'{"inputs":{"n":1152921504606846976}}')).payload
    assert payload == {"inputs": {"n": 2**60}}


@pytest.mark.parametrize("origin", ["intentproof.local/acme/rec-ffffffff", "acme/rec-0123abcd"])
def test_a_checkpoint_of_another_origin_needs_its_own_key(origin: str) -> None:
    """The same key under another name is another key."""
    with pytest.raises(NoteInvalid, match="no key that you trust"):
        verified(receipt(canonical(LEAF), origin=origin))


def extra_of(members: Any) -> bytes:
    """A receipt's bytes with another extra line."""
    raw = members if isinstance(members, bytes) else canonical(members)
    line = b"extra " + base64.b64encode(raw)
    return re.sub(rb"extra [^\n]+", line, receipt(canonical(LEAF)).encode())


HALF = {"salt": base64.b64encode(SALT).decode(), "text": PAYLOAD.decode()}
TEXT = canonical(LEAF).decode()


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (b"no json", "not JSON"),
        (b"[]", "not the JCS text"),
        ({}, "not the JCS text"),
        ({"leaf": 1}, "not the JCS text"),
        (b'{ "leaf":"x"}', "not the JCS text"),
        ({"leaf": TEXT, "note": "x"}, "a member that no receipt has"),
        ({"leaf": TEXT, "payload": None}, "not a salt and a text"),
        ({"leaf": TEXT, "payload": {"salt": HALF["salt"]}}, "not a salt and a text"),
        ({"leaf": TEXT, "payload": HALF | {"more": "x"}}, "not a salt and a text"),
        ({"leaf": TEXT, "payload": HALF | {"text": 1}}, "not a salt and a text"),
        ({"leaf": TEXT, "payload": HALF | {"salt": 1}}, "not a salt and a text"),
        ({"leaf": TEXT, "payload": HALF | {"salt": "AAA="}}, "not 16 bytes"),
        ({"leaf": TEXT, "payload": HALF | {"salt": "AAAAAAAAAAAAAAAAAAAAAB=="}}, "not canonical"),
        ({"leaf": TEXT, "payload": HALF | {"salt": "*"}}, "not base64"),
    ],
)
def test_the_extra_line_has_one_form(members: Any, words: str) -> None:
    """What no signature covers is read strictly: nothing can hide in it."""
    with pytest.raises(ReceiptInvalid, match=words):
        decode_receipt(extra_of(members))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([bytes(32)] * 64, "over 63 hashes"),
        ([bytes(31)], "not 32 bytes"),
        ([bytes(33)], "not 32 bytes"),
    ],
    ids=["too many", "short", "long"],
)
def test_hashes_of_a_proof_are_32_bytes_and_few(lines: list[bytes], words: str) -> None:
    """What no tree of less than 2^63 leaves can need is refused before any hashing."""
    made = replace(receipt(canonical(LEAF)), proof=tuple(lines))
    with pytest.raises(ReceiptInvalid, match=words):
        decode_receipt(made.encode())
    grown = Extension(1, tuple(lines), made.checkpoint)
    with pytest.raises(ProofInvalid, match=words):
        decode_extension(grown.encode())


def test_a_file_of_gigabytes_is_not_read_as_a_receipt() -> None:
    """Over 32 MiB nothing is decoded: no event is as large."""
    raw = receipt(canonical(LEAF)).encode()
    with pytest.raises(ReceiptInvalid, match="the limit is 33554432"):
        decode_receipt(raw + b"\n" * (RECEIPT_BYTES_MAX + 1 - len(raw)))


@given(st.binary(max_size=300), st.integers(min_value=0, max_value=400))
@settings(max_examples=examples(300))
def test_no_bytes_raise_anything_else(noise: bytes, at: int) -> None:
    """Bytes put anywhere into a receipt are refused by name, or change nothing that is proved."""
    raw = receipt(canonical(LEAF), context=CONTEXT, payload=PAYLOAD).encode()
    for crafted in (raw[:at] + noise + raw[at:], raw[:at] + noise + raw[at + len(noise) :]):
        try:
            proved = verify_receipt(decode_receipt(crafted), keys=[KEY])
        except (NoteInvalid, ProofInvalid, ReceiptInvalid):
            continue
        assert (proved.leaf, proved.index) == (LEAF, 0)
        assert crafted == raw or noise == b""
