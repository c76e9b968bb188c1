"""Signatures of proof records, of chains and of GAIT artifacts; keys, and revoked keys."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from intentproof_store.proofrecords import Asked, RecordsInvalid, Unreadable
from intentproof_store.proofrecords.keys import read_public_key
from intentproof_store.proofrecords.record import read_record
from intentproof_store.proofrecords.recordcheck import verify_record
from intentproof_store.proofrecords.strictjson import read_object

from tests.store.proof_support import (
    KEY,
    KEY_ID,
    OTHER,
    PUBLIC,
    SIGNED,
    Document,
    as_folder,
    bundle,
    chain,
    detached,
    edge_cases,
    hashed,
    linked,
    record,
    sha256,
    text,
    vector,
    verify,
    written,
)

REFUSED, NOT_ANCHORED, UNREADABLE, COSIGN = 2, 3, 6, 7
LOW_ORDER = "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"
_BASE64 = base64.b64encode(PUBLIC).decode()


@pytest.mark.parametrize(
    "key",
    [PUBLIC.hex(), PUBLIC.hex().upper(), _BASE64, _BASE64.rstrip("="), f" {PUBLIC.hex()}\n"],
)
def test_ways_to_write_a_key(tmp_path: Path, key: str) -> None:
    """Hex in either case, base64 padded or not, white space around it."""
    path = written(tmp_path / "r.json", record(key=KEY))
    assert verify(path, "--signatures", "--public-key", key)[0] == 0


@pytest.mark.parametrize(
    "key",
    [
        "",
        "x",
        PUBLIC.hex()[:-2],
        PUBLIC.hex() + "00",
        base64.urlsafe_b64encode(bytes(1) + b"\xff" * 31).decode(),
        base64.b64encode(PUBLIC[:31]).decode(),
        _BASE64[:-2] + "R=",  # the same bytes, by other bits that are left over
        _BASE64 + "=",
        f"-----BEGIN PUBLIC KEY-----\n{_BASE64}\n-----END PUBLIC KEY-----",
        LOW_ORDER,
        "00" * 32,
        "ff" * 32,
    ],
)
def test_what_is_no_key(tmp_path: Path, key: str) -> None:
    """Wrong lengths, URL-safe base64, PEM, bits left over, and keys that accept forgeries."""
    path = written(tmp_path / "r.json", record(key=KEY))
    assert verify(path, "--signatures", "--public-key", key)[0] == UNREADABLE
    with pytest.raises(Unreadable):
        read_public_key(key)


def test_a_signature_is_over_the_text_of_the_hash(tmp_path: Path) -> None:
    """Over its 71 ASCII characters, not over its 32 bytes."""
    made = record()
    text_of_hash = made["integrity"]["record_hash"]
    assert len(text_of_hash) == 71
    raw = bytes.fromhex(text_of_hash.removeprefix("sha256:"))
    for message, code in ((text_of_hash.encode(), 0), (raw, REFUSED)):
        signature = "base64:" + base64.b64encode(KEY.sign(message)).decode()
        made["integrity"] |= {"signing_key_id": KEY_ID, "signature": signature}
        assert verify(written(tmp_path / "r.json", made), *SIGNED)[0] == code


def _integrity(**changes: Any) -> Document:
    made = record(key=KEY)
    integrity = {**made["integrity"], **changes}
    return {**made, "integrity": {name: each for name, each in integrity.items() if each != ...}}


_SIGNATURE = record(key=KEY)["integrity"]["signature"]
_BROKEN = {
    "no signature": _integrity(signature=...),
    "no key id": _integrity(signing_key_id=...),
    "neither": record(),
    "another's": record(key=OTHER),
    "another's under our key id": _integrity(signature=record(key=OTHER)["integrity"]["signature"]),
    "a key id with a date": _integrity(signing_key_id=f"issuer:{KEY_ID}:2026"),
    "a key id in capitals": _integrity(signing_key_id=KEY_ID.upper()),
    "no prefix": _integrity(signature=_SIGNATURE.removeprefix("base64:")),
    "an unknown prefix": _integrity(signature="ed25519:" + _SIGNATURE),
    "a line feed within": _integrity(signature=_SIGNATURE[:30] + "\n" + _SIGNATURE[30:]),
    "a line feed after": _integrity(signature=_SIGNATURE + "\n"),
    "not padded": _integrity(signature=_SIGNATURE.rstrip("=")),
    "bits left over": _integrity(signature=_SIGNATURE[:-3] + "h=="),
    "too short": _integrity(signature="base64:" + base64.b64encode(bytes(63)).decode()),
    "zeros": _integrity(signature="base64:" + base64.b64encode(bytes(64)).decode()),
    "of another record": _integrity(signature=record(2, KEY)["integrity"]["signature"]),
}


@pytest.mark.parametrize("broken", _BROKEN.values(), ids=_BROKEN)
def test_a_signature_that_does_not_hold(tmp_path: Path, broken: Document) -> None:
    """Missing, incomplete, another's, or written another way than the one."""
    code, out, _ = verify(written(tmp_path / "r.json", broken), *SIGNED)
    assert (code, out) == (REFUSED, "")


def test_a_public_key_asks_for_signatures(tmp_path: Path) -> None:
    """To give a key and to have it ignored would promise a check."""
    path = written(tmp_path / "r.json", record())
    assert verify(path)[0] == 0
    assert verify(path, "--public-key", PUBLIC.hex())[0] == REFUSED


def test_signatures_without_a_key_are_invalid_input(tmp_path: Path) -> None:
    """For records and chains, and once they hold otherwise: as the reference has it."""
    path = written(tmp_path / "r.json", record(key=KEY))
    assert verify(path, "--signatures")[0] == UNREADABLE
    path = written(tmp_path / "c.json", chain(linked(2, KEY)))
    assert verify(path, "--signatures")[0] == UNREADABLE
    path = written(tmp_path / "r.json", record(key=KEY) | {"event": {}})
    assert verify(path, "--signatures")[0] == REFUSED


def test_cosign_is_a_missing_dependency(tmp_path: Path) -> None:
    """A signature that only cosign can check is not passed over."""
    path = written(tmp_path / "r.json", _integrity(signature="cosign:MEUCIQ=="))
    assert verify(path)[0] == 0
    assert verify(path, *SIGNED)[0] == COSIGN


def _flipped(raw: bytes) -> list[bytes]:
    whole = int.from_bytes(raw, "big")
    return [(whole ^ (1 << bit)).to_bytes(len(raw), "big") for bit in range(8 * len(raw))]


def _holds(raw: bytes, asked: Asked) -> bool:
    try:
        verify_record(read_record(read_object(raw, "it")), asked)
    except RecordsInvalid:
        return False
    return True


@pytest.mark.parametrize("name", ["minimal", "controls_full", "relationship"])
def test_no_flipped_bit_of_a_signed_record_is_accepted(name: str) -> None:
    """Each single bit of the file, one after the other: 0 accepted."""
    found = [case["record"] for case in edge_cases() if case["name"] == name]
    made = found[0] if found else record(key=KEY)
    raw = json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode()
    asked = Asked(signatures=True, public_key=PUBLIC.hex())
    assert _holds(raw, asked)
    assert [each for each in _flipped(raw) if _holds(each, asked)] == []


def test_no_beginning_of_a_signed_record_is_accepted() -> None:
    """Cut at every byte: 0 accepted."""
    raw = text(record(key=KEY))
    asked = Asked(signatures=True, public_key=PUBLIC.hex())
    assert [end for end in range(len(raw)) if _holds(raw[:end], asked)] == []


def test_a_chain_of_signed_records(tmp_path: Path) -> None:
    """Each record must be signed by the key, as an object and as a folder."""
    records = linked(3, KEY)
    path = written(tmp_path / "c.json", chain(records))
    code, _, err = verify(path, *SIGNED)
    assert (code, err.count("note: ")) == (0, 1)
    assert "cut off" in err  # what the records' own signatures do not show
    head = records[-1]["integrity"]["record_hash"]
    assert verify(path, *SIGNED, "--head", head)[2] == ""
    assert verify(as_folder(tmp_path / "f", records), *SIGNED)[0] == 0
    unsigned = [*records[:2], hashed({**records[2], "integrity": {**_link(records[2])}})]
    code, _, err = verify(written(path, chain(unsigned)), *SIGNED)
    assert code == REFUSED
    assert "break_index 2" in err


def _link(made: Document) -> Document:
    return {"previous_record_hash": made["integrity"]["previous_record_hash"]}


def test_a_signed_chain(tmp_path: Path) -> None:
    """One signature over the chain covers records that have none; all that is there must hold."""
    made = chain(linked(3), KEY)
    path = written(tmp_path / "c.json", made)
    assert verify(path, "--strict", *SIGNED)[0] == 0
    digest = made["signatures"][0]["signed_digest"]
    for signatures in (
        [],
        [detached(digest, OTHER)],
        [*made["signatures"], detached(digest, OTHER)],
        [detached(digest, raw=True)],
        [detached("0" * 64)],
        [{**made["signatures"][0], "signed_digest": digest.upper()}],
        [{**made["signatures"][0], "alg": ""}],
    ):
        assert verify(written(path, {**made, "signatures": signatures}), *SIGNED)[0] == REFUSED
    cosign = {**made, "signatures": [{**made["signatures"][0], "alg": "cosign"}]}
    assert verify(written(path, cosign), *SIGNED)[0] == COSIGN


@pytest.mark.parametrize(
    "change",
    [
        {"chain_id": "other"},
        {"created_at": "2026-02-18T13:00:01Z"},
        {
            "records": linked(2),
            "record_count": 2,
            "head_hash": linked(2)[-1]["integrity"]["record_hash"],
        },
        {"records": linked(3, OTHER)},
    ],
)
def test_a_chain_s_signature_covers_what_no_hash_does(tmp_path: Path, change: Document) -> None:
    """Its name, its time, its end, and who signed its records."""
    path = written(tmp_path / "c.json", {**chain(linked(3), KEY), **change})
    assert verify(path, *SIGNED)[0] == REFUSED


def test_a_chain_s_digest_is_of_its_records_as_they_are_written_again(tmp_path: Path) -> None:
    """What Go leaves out or spells otherwise when it writes is not in the digest."""
    made = chain(linked(2), KEY)
    odd = json.loads(json.dumps(made))
    odd["created_at"] = "2026-02-18T14:00:00.9+01:00"
    odd["records"][0] |= {"agent_id": None, "metadata": None, "relations": None}
    odd["records"][0]["integrity"]["previous_record_hash"] = ""
    assert verify(written(tmp_path / "c.json", odd), *SIGNED)[0] == 0


def gait() -> Document:
    found: Document = json.loads(vector("gait_compat.trace_signed.json").read_text())
    return found


def test_the_published_gait_artifact() -> None:
    """It is signed over the raw 32 bytes of its digest by the published key."""
    path = vector("gait_compat.trace_signed.json")
    key = vector("gait_compat.public_key.hex").read_text()
    code, out, err = verify(path, "--signatures", "--public-key", key, "--json")
    assert (code, json.loads(out), err) == (0, {"kind": "gait_signed_json", "ok": True}, "")
    assert verify(path, *SIGNED)[1] == "Gait signed artifact verified.\n"


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "block"},
        {"of_tomorrow": 1},
        {"Signature": {}},
        {"signature": {}},
        {"signature": None, "pack_id": "p"},
        {"signature": "text", "pack_id": "p"},
    ],
)
def test_a_changed_gait_artifact(tmp_path: Path, change: Document) -> None:
    """Every member is covered, and an artifact without a signature shows nothing."""
    path = written(tmp_path / "g.json", {**gait(), **change})
    assert verify(path, *SIGNED)[0] == REFUSED
    assert verify(path)[0] == REFUSED


def test_a_gait_artifact_signed_otherwise(tmp_path: Path) -> None:
    """Over the digest's text, by another key, with more members: none holds."""
    body = {name: each for name, each in gait().items() if name != "signature"}
    digest = sha256(body)
    good = detached(digest, raw=True)
    assert good == gait()["signature"]
    for signature in (detached(digest), detached(digest, OTHER, raw=True), {**good, "more": 1}):
        path = written(tmp_path / "g.json", {**body, "signature": signature})
        assert verify(path, *SIGNED)[0] == REFUSED


def test_keys_of_gait_artifacts(tmp_path: Path) -> None:
    """No key and a key that cannot be read do not verify: the reference's way."""
    path = written(tmp_path / "g.json", gait())
    assert verify(path, "--signatures")[0] == REFUSED
    assert verify(path, "--signatures", "--public-key", "x")[0] == REFUSED


def revocations(key: Any = KEY, **entry: Any) -> Document:
    listed = [{"key_id": KEY_ID, "revoked_at": "2026-02-18T13:00:00Z", "reason": "lost", **entry}]
    made: Document = {
        "version": "1.0",
        "created_at": "2026-02-19T00:00:00Z",
        "revoked": listed,
    }
    return made | {"signature": detached(sha256(made), key)}


def test_a_revoked_key_is_refused_in_all_that_names_it(tmp_path: Path) -> None:
    """In records, chains, manifests and artifacts, whether or not signatures are asked for."""
    listed = ("--revocation-list", written(tmp_path / "list.json", revocations()))
    paths = (
        written(tmp_path / "r.json", record(key=KEY)),
        written(tmp_path / "c.json", chain(linked(2, KEY))),
        written(tmp_path / "s.json", chain(linked(2), KEY)),
        bundle(tmp_path / "b", {"x": b"x"}, KEY),
    )
    for path in paths:
        for flags in ((), SIGNED):
            assert verify(path, *flags)[0] == 0
            code, _, err = verify(path, *flags, *listed)
            assert code == REFUSED
            assert "revoked" in err
    other = written(tmp_path / "list.json", revocations(key_id="0" * 64))
    assert verify(paths[0], *SIGNED, "--revocation-list", other)[0] == 0


def test_a_revocation_list_is_believed_if_its_key_signed_it(tmp_path: Path) -> None:
    """With --revocation-key the list must hold; without, stderr says that nobody looked."""
    path = written(tmp_path / "r.json", record(key=OTHER))
    listed = written(tmp_path / "list.json", revocations())
    flags = ("--revocation-list", listed, "--revocation-key")
    assert verify(path, *flags, PUBLIC.hex())[0] == 0
    code, _, err = verify(path, *flags[:2])
    assert code == 0
    assert "revocation list" in err
    assert verify(path, *flags, OTHER.public_key().public_bytes_raw().hex())[0] == REFUSED
    assert verify(path, *flags, "x")[0] == UNREADABLE
    assert verify(path, "--revocation-key", PUBLIC.hex())[0] == UNREADABLE
    changed = revocations()
    changed["revoked"] = []
    assert (
        verify(path, *flags[:1], written(listed, changed), *flags[2:], PUBLIC.hex())[0] == REFUSED
    )
    for content in ("", "[]", '{"revoked": {}}'):
        assert verify(path, *flags[:1], written(listed, content))[0] == UNREADABLE
    assert verify(path, "--revocation-list", tmp_path / "none")[0] == UNREADABLE
