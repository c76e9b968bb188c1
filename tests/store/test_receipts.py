"""Receipts: made from a store, verified without it, and refused when anything was touched."""

import argparse
import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from intentproof_schemas import canonical
from intentproof_store import ProofInvalid, StoreError
from intentproof_store.commands import register as register_commands
from intentproof_store.errors import EventUnknown, NoteInvalid, NotSigned, ReceiptInvalid
from intentproof_store.identity import trusted_keys
from intentproof_store.note import VerifierKey
from intentproof_store.proof_commands import register as register_receipt
from intentproof_store.proving import Places, receipt_of
from intentproof_store.receipt import Receipt, decode_receipt, verify_receipt
from intentproof_store.verify.command import register as register_verify

from tests.store.support import TENANT, Place, append, event, events, place, until

UNREADABLE = Path("/proc/self/mem")  # a file to the system, whose first byte nobody may read
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(tmp_path: Path) -> Place:
    """A store with sealed events, closed."""
    where = place(tmp_path)
    with where.ledger() as ledger:
        append(ledger, events(0, 300))
    return where


@pytest.fixture
def keys(here: Place) -> tuple[VerifierKey, ...]:
    return trusted_keys(here.home)


@pytest.fixture
def run(here: Place, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*argv: object) -> tuple[int, str, str]:
        parser = argparse.ArgumentParser()
        subparsers = parser.add_subparsers(required=True)
        for register in (register_receipt, register_verify, register_commands):
            register(subparsers)
        places = argparse.Namespace(store=here.layout.root, home=here.home, hot=here.hot)
        args = parser.parse_args([str(each) for each in argv], places)
        capsys.readouterr()
        code = args.run(args)
        out, err = capsys.readouterr()
        return code, out, err

    return command


def made(where: Place, number: int = 7) -> Receipt:
    return receipt_of(places(where), TENANT, event(number).event_id)


def places(where: Place) -> Places:
    return Places(store=where.layout.root, hot=where.hot, home=where.home)


def test_a_receipt_proves_an_event(here: Place, keys: tuple[VerifierKey, ...]) -> None:
    """A receipt, read back from its bytes, shows leaf, context and payload under a checkpoint."""
    receipt = made(here)
    raw = receipt.encode()
    assert decode_receipt(raw) == receipt
    proved = verify_receipt(decode_receipt(raw), keys=keys)
    assert proved.leaf["event_id"] == event(7).event_id
    assert proved.context is not None
    assert proved.context["intent"] == event(7).intent
    assert proved.payload == {
        "inputs": json.loads(event(7).inputs),
        "output": json.loads(event(7).output or ""),
    }
    assert proved.checkpoint.size > proved.index


def test_a_receipt_can_be_checked_with_the_standard_library(here: Place) -> None:
    """The file is a C2SP tlog-proof: thirty lines of hashlib and base64 get to the signed root."""
    head, _, note = made(here).encode().decode().partition("\n\n")
    first, extra, number, *hashes = head.split("\n")
    assert first == "c2sp.org/tlog-proof@v1"
    members = json.loads(base64.b64decode(extra.removeprefix("extra ")))
    node = sha256(b"\x00" + members["leaf"].encode()).digest()
    _, size, root = note.split("\n")[:3]
    index, last = int(number.removeprefix("index ")), int(size) - 1
    for sibling in map(base64.b64decode, hashes):
        while index % 2 == 0 and index == last:
            index, last = index // 2, last // 2
        pair = (sibling, node) if index % 2 or index == last else (node, sibling)
        node = sha256(b"\x01" + pair[0] + pair[1]).digest()
        index, last = index // 2, last // 2
    assert base64.b64encode(node).decode() == root
    half = members["payload"]
    committed = b"intentproof.payload.v1\0" + base64.b64decode(half["salt"])
    digest = sha256(committed + half["text"].encode()).hexdigest()
    assert json.loads(members["leaf"])["payload"] == f"sha256:{digest}"


def test_every_event_of_a_store_has_a_receipt(here: Place, keys: tuple[VerifierKey, ...]) -> None:
    """The first, the last and each between at a step: all prove."""
    for number in (*range(0, 300, 37), 299):
        assert verify_receipt(made(here, number), keys=keys).leaf["kind"] == "event"


def test_a_hot_event_has_a_receipt_once_a_checkpoint_covers_it(tmp_path: Path) -> None:
    """Before the next checkpoint the answer says so; after it, hot leaves are proved as well."""
    where = place(tmp_path)
    with where.ledger() as ledger:
        append(ledger, events(0, 5))
        with pytest.raises(NotSigned, match="no checkpoint covers it yet"):
            made(where, 1)
    with where.ledger(checkpoint_seconds=0.01) as ledger:
        append(ledger, events(5, 10))
        made_soon = wait_for(lambda: made(where, 6))
    verify_receipt(made_soon, keys=trusted_keys(where.home))


def wait_for(make: Callable[[], Receipt]) -> Receipt:
    found: list[Receipt] = []

    def tried() -> bool:
        try:
            found.append(make())
        except NotSigned:
            return False
        return True

    until(tried)
    return found[0]


def test_an_unknown_event_has_none(here: Place) -> None:
    """An id that the tenant has no event of is named."""
    with pytest.raises(EventUnknown, match="nope"):
        receipt_of(places(here), TENANT, "nope")


def test_a_store_whose_tiles_were_touched_gives_no_receipt(here: Place) -> None:
    """A proof that does not hold is not given out: the answer points to `verify`."""
    tile = here.log() / "tile" / "0" / "000"
    tile.write_bytes(bytes(len(tile.read_bytes())))
    with pytest.raises(ProofInvalid, match="intentproof-otel verify"):
        made(here)
    tile.unlink()
    with pytest.raises(ProofInvalid, match="no tile"):
        made(here)


def touched(receipt: Receipt) -> Iterator[tuple[str, Receipt]]:
    """Receipts that tell something else, each with one thing changed."""
    leaf = json.loads(receipt.leaf)
    yield "another action", replace(receipt, leaf=canonical(leaf | {"action": "none"}))
    yield "another place", replace(receipt, index=receipt.index + 1)
    yield "a shorter proof", replace(receipt, proof=receipt.proof[:-1])
    yield "a longer proof", replace(receipt, proof=(*receipt.proof, bytes(32)))
    yield "hashes exchanged", replace(receipt, proof=receipt.proof[::-1])
    assert receipt.context is not None
    assert receipt.payload is not None
    salt, text = receipt.payload.salt, receipt.payload.text
    yield (
        "another amount",
        replace(receipt, payload=replace(receipt.payload, text=text.replace(b"1250", b"9999"))),
    )
    yield "another salt", replace(receipt, payload=replace(receipt.payload, salt=bytes(16)))
    yield "the other half", replace(receipt, context=receipt.payload)
    yield (
        "an unsigned root",
        replace(receipt, checkpoint=receipt.checkpoint.replace(b"\n301\n", b"\n302\n")),
    )
    assert salt != bytes(16)


def test_what_was_touched_is_refused(here: Place, keys: tuple[VerifierKey, ...]) -> None:
    """A leaf, place, proof, half or checkpoint that was changed does not verify."""
    receipt = made(here)
    accepted = [what for what, other in touched(receipt) if accepts(other.encode(), keys)]
    assert accepted == []


def test_no_bit_can_be_flipped(here: Place, keys: tuple[VerifierKey, ...]) -> None:
    """Of all receipts that differ in one bit, none is accepted."""
    raw = made(here).encode()
    accepted = [at for at in range(8 * len(raw)) if accepts(flipped(raw, at), keys)]
    assert accepted == []


def test_no_end_can_be_cut_off_or_added(here: Place, keys: tuple[VerifierKey, ...]) -> None:
    """A receipt that ends early at any byte, or goes on, is refused."""
    raw = made(here).encode()
    assert accepts(raw, keys)
    assert [end for end in range(len(raw)) if accepts(raw[:end], keys)] == []
    assert not any(accepts(raw + more, keys) for more in (b"\n", b" ", b"x", b"\n\n"))


def flipped(raw: bytes, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def accepts(raw: bytes, keys: tuple[VerifierKey, ...]) -> bool:
    try:
        verify_receipt(decode_receipt(raw), keys=keys)
    except (NoteInvalid, ProofInvalid, ReceiptInvalid):
        return False
    return True


def test_a_receipt_of_another_log_is_no_proof(tmp_path: Path, here: Place) -> None:
    """A leaf of another tenant, proved by a log that we trust, is not taken for that log's."""
    with here.ledger() as ledger:
        append(ledger, events(0, 3), tenant="other")
    keys = trusted_keys(here.home)
    ours = made(here)
    theirs = receipt_of(places(here), "other", event(1).event_id)
    mixed = replace(theirs, leaf=ours.leaf, context=ours.context, payload=ours.payload)
    with pytest.raises(ProofInvalid):
        verify_receipt(mixed, keys=keys)
    with pytest.raises(NoteInvalid, match="no key that you trust"):
        verify_receipt(theirs, keys=[key for key in keys if f"/{TENANT}/" in key.name])


def test_the_command_writes_what_verify_takes(here: Place, run: Run, tmp_path: Path) -> None:
    """`receipt` writes a file; `verify` of it needs nothing else but a key."""
    file, vkeys = tmp_path / "r.tlog-proof", tmp_path / "log.vkey"
    code, _, err = run("receipt", event(7).event_id, "--tenant", TENANT, "-o", file)
    assert (code, err) == (0, "")
    vkeys.write_text(run("log", "key", "--tenant", TENANT)[1])
    code, out, _ = run("verify", file, "--key", vkeys)
    assert code == 0
    assert out.startswith("VERIFIED")
    assert "Return captured funds" in out
    assert event(7).event_id in out


def test_verify_of_a_receipt_speaks_json(here: Place, run: Run, tmp_path: Path) -> None:
    """`verify --json` of a receipt has the document of `verify`; a held checkpoint is an anchor."""
    file = tmp_path / "r.tlog-proof"
    file.write_bytes(made(here).encode())
    known = next(path for path in here.log().glob("checkpoint.*") if path.suffix == ".301")
    code, out, _ = run("verify", file, "--json", "--known", known)
    document: dict[str, Any] = json.loads(out)
    assert (code, document["outcome"], document["anchor"]) == (0, "verified", "known")
    assert document["events_verified"] == 1
    assert document["logs"][0]["tenant"] == TENANT


def test_a_key_of_another_log_vouches_for_nothing(here: Place, run: Run, tmp_path: Path) -> None:
    """It is not tampering to bring the wrong key: nobody vouches for the receipt, exit 3."""
    file, vkeys = tmp_path / "r.tlog-proof", tmp_path / "log.vkey"
    file.write_bytes(made(here).encode())
    (own,) = trusted_keys(here.home)
    vkeys.write_text(replace(own, name="another.log/acme/rec-0123abcd").vkey() + "\n")
    code, out, _ = run("verify", file, "--key", vkeys)
    assert code == 3
    assert "key_missing" in out
    vkeys.write_text(own.vkey().replace(own.name, "another.log/acme/rec-0123abcd") + "\n")
    code, _, err = run("verify", file, "--key", vkeys)
    assert code == 6
    assert "does not belong to its key" in err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--tenant", "other"), "--tenant: for a store only"),
        (("--sealed",), "--sealed: for a store only"),
        (("--tenant", "acme", "--period", "2026-01-01..2026-01-02"), "--period and --tenant: for"),
    ],
)
def test_flags_of_stores_are_refused_with_a_file(
    here: Place, run: Run, tmp_path: Path, flags: tuple[str, ...], words: str
) -> None:
    """A flag that a receipt cannot answer is not passed over in silence."""
    file = tmp_path / "r.tlog-proof"
    file.write_bytes(made(here).encode())
    code, _, err = run("verify", file, *flags)
    assert code == 6
    assert words in err


def test_a_path_that_is_not_there_is_wrong_input(run: Run, tmp_path: Path) -> None:
    """A typing error is no lost store; nor is an unpacked bundle one."""
    assert run("verify", tmp_path / "typo")[0] == 6
    for name in ("MANIFEST", "bundle.json"):
        (tmp_path / name).write_bytes(b"x")
    code, _, err = run("verify", tmp_path)
    assert code == 6
    assert "unpacked bundle" in err


def test_without_an_anchor_a_receipt_is_only_consistent(
    here: Place, run: Run, tmp_path: Path
) -> None:
    """Without a key or checkpoint from outside `verify` says so, and exits with 3."""
    file = tmp_path / "r.tlog-proof"
    file.write_bytes(made(here).encode())
    code, out, _ = run("verify", file)
    assert code == 3
    assert out.startswith("UNANCHORED")


def test_a_touched_receipt_is_tampered(here: Place, run: Run, tmp_path: Path) -> None:
    """A changed event exits with 2, and the report names the leaf."""
    receipt, file, vkeys = made(here), tmp_path / "r.tlog-proof", tmp_path / "log.vkey"
    vkeys.write_text(run("log", "key")[1])
    file.write_bytes(replace(receipt, index=receipt.index + 1).encode())
    code, out, _ = run("verify", file, "--key", vkeys)
    assert code == 2
    assert out.startswith("TAMPERED")
    assert f"proof_invalid at leaf {receipt.index + 1}" in out


def test_a_file_that_is_no_receipt_is_invalid(run: Run, tmp_path: Path) -> None:
    """A file that `verify` cannot read is named, with what it takes."""
    file = tmp_path / "x"
    file.write_bytes(b"hello")
    code, _, err = run("verify", file)
    assert code == 6
    assert "neither a store, a bundle, a receipt nor a consistency proof" in err


@pytest.mark.skipif(not UNREADABLE.is_file(), reason="needs Linux's /proc")
def test_a_file_that_cannot_be_read_is_named(run: Run) -> None:
    """What the system does not let us read exits with 6 and its name."""
    code, _, err = run("verify", UNREADABLE)
    assert code == 6
    assert f"{UNREADABLE} cannot be read" in err


def test_the_command_tells_what_it_cannot_do(run: Run, tmp_path: Path, here: Place) -> None:
    """Unknown events, malformed tenants and places that cannot be written exit with 6."""
    file = tmp_path / "r"
    for argv in (
        ("receipt", "nope", "--tenant", TENANT, "-o", file),
        ("receipt", event(7).event_id, "--tenant", "Not A Tenant", "-o", file),
        ("receipt", event(7).event_id, "--tenant", TENANT, "-o", tmp_path),
    ):
        code, out, err = run(*argv)
        assert (code, out) == (6, "")
        assert err
    assert not file.exists()
    with pytest.raises(StoreError):
        receipt_of(Places(store=tmp_path / "none"), TENANT, "x")
