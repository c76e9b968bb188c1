"""What was touched in a bundle is refused, by whoever, however well the rest was mended."""

import hashlib
from dataclasses import replace

import pytest
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_store.bundle import archive as archives
from intentproof_store.bundle.content import Content, content_files
from intentproof_store.bundle.files import MANIFEST
from intentproof_store.bundle.head import decode_head
from intentproof_store.errors import BundleInvalid
from intentproof_store.extension import decode_extension
from intentproof_store.note import VerifierKey
from intentproof_store.verify.bundle_check import judge_bundle
from intentproof_store.verify.bundle_trust import Trusted
from intentproof_store.verify.report import Outcome

from tests.examples import examples
from tests.store.bundle_support import (
    ORIGIN,
    TENANT,
    VKEY,
    WRITER,
    Files,
    MemoryLog,
    code_of,
    content,
    files_of,
    memory_log,
    mended,
    packed,
    plain,
    story,
)
from tests.store.reader_support import event

GOOD = files_of(content(sizes=(2, 7)))
STEM = f"logs/{WRITER}"


def test_what_was_not_touched_is_accepted() -> None:
    """The bundle that these tests start from verifies, compressed and not."""
    assert code_of(packed(GOOD)) == code_of(plain(GOOD)) == "verified"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("report.html", "report_differs"),
        ("README.txt", "report_differs"),
        ("bundle.json", "bundle_invalid"),
        ("events/000001.leaf", "receipt_differs"),
        ("events/000001.context", "receipt_differs"),
        ("events/000002.payload", "receipt_differs"),
        ("proofs/000001.tlog-proof", "proof_invalid"),
        (f"{STEM}/checkpoint.7", "checkpoint_invalid"),
        (f"{STEM}/checkpoint.7.body", "bundle_invalid"),
        (f"{STEM}/checkpoint.7.{VKEY.key_id.hex()}.sig", "bundle_invalid"),
        (f"{STEM}/growth.2-7", "proof_invalid"),
        (f"keys/{VKEY.key_id.hex()}.vkey", "key_invalid"),
        (f"keys/{VKEY.key_id.hex()}.pem", "bundle_invalid"),
    ],
)
def test_every_file_is_bound(name: str, code: str) -> None:
    """One byte of any file, with MANIFEST mended, is refused with the code of what it breaks."""
    raw = GOOD[name]
    at = len(raw) - 3
    touched = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
    files = {**GOOD, name: touched}
    assert code_of(packed(files)) == "manifest_differs"
    assert code_of(packed(mended(files))) in (code, "checkpoint_invalid", "receipt_differs")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("MANIFEST", "manifest_differs"),
        ("report.html", "bundle_invalid"),
        ("README.txt", "bundle_invalid"),
        ("bundle.json", "bundle_invalid"),
        ("events/000001.leaf", "event_unproved"),
        ("proofs/000001.tlog-proof", "event_unproved"),
        ("proofs/000003.tlog-proof", "event_unproved"),
        (f"{STEM}/checkpoint.2", "proof_invalid"),
        (f"{STEM}/checkpoint.7", "proof_invalid"),
        (f"{STEM}/checkpoint.7.body", "bundle_invalid"),
        (f"{STEM}/growth.2-7", "proof_invalid"),
        (f"keys/{VKEY.key_id.hex()}.vkey", "checkpoint_invalid"),
        (f"keys/{VKEY.key_id.hex()}.pem", "bundle_invalid"),
    ],
)
def test_every_file_is_needed(name: str, code: str) -> None:
    """A bundle without one of its files, MANIFEST mended, is refused."""
    files = {other: raw for other, raw in GOOD.items() if other != name}
    if name != MANIFEST:
        files = mended(files)
    assert code_of(packed(files)) == code


def test_a_half_that_was_taken_out_shows_in_the_report() -> None:
    """Taking an event's data out is no way to change what the report says: it says what is gone."""
    files = {name: raw for name, raw in GOOD.items() if name != "events/000003.payload"}
    assert code_of(packed(mended(files))) == "report_differs"


@pytest.mark.parametrize(
    "name",
    [
        "evil.sh",
        "events/1.leaf",
        "events/000001.leaf/x",
        "../escaped",
        "/etc/passwd",
        "events/../../x",
        "events\\x",
        "logs/other/checkpoint.7",
        f"{STEM}/checkpoint.07",
        f"{STEM}/checkpoint",
        f"{STEM}/anchor.7.../..",
        "keys/0000000g.vkey",
        "README.txt ",
        "readme.txt",
    ],
)
def test_unknown_members_are_refused(name: str) -> None:
    """No file is taken that no bundle has, wherever its name points to."""
    assert code_of(packed(mended({**GOOD, name: b"x"}))) == "unknown_member"


def test_more_events_than_are_named_are_refused() -> None:
    """A leaf, a half or a proof beyond the events that bundle.json counts is refused."""
    for name in ("events/000004.leaf", "events/000004.payload", "proofs/000004.tlog-proof"):
        assert code_of(packed(mended({**GOOD, name: b"x"}))) == "event_unproved"


@pytest.mark.parametrize(
    "name",
    [
        f"{STEM}/checkpoint.3.body",
        f"{STEM}/checkpoint.7.00000000.sig",
        "keys/00000000.pem",
        "logs/other-00000002/checkpoint.7.body",
    ],
)
def test_files_that_nothing_asks_for_are_refused(name: str) -> None:
    """A name that a bundle could have is no way to smuggle in what this one has no use for."""
    assert code_of(packed(mended({**GOOD, name: b"x"}))) == "unknown_member"


def with_header(at: int, value: bytes) -> bytes:
    """The good archive with bytes of its first header replaced, and the header's sum mended."""
    raw = plain(GOOD)
    head = raw[:at] + value + raw[at + len(value) : 512]
    blank = head[:148] + b" " * 8 + head[156:]
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:] + raw[512:]


@pytest.mark.parametrize(
    ("at", "value"),
    [
        *((156, bytes([kind])) for kind in b"\x00123456789gxLKS"),  # links, devices, pax, sparse
        (100, b"0004755"),
        (108, b"0000001"),
        (136, b"00000000001"),
        (157, b"/etc/passwd"),
        (265, b"root"),
        (329, b"0000001"),
        (345, b"../.."),
        (500, b"x"),
    ],
)
def test_only_regular_files_are_taken(at: int, value: bytes) -> None:
    """A link, a device, a mode, an owner, a time or a prefix in the archive is refused."""
    assert with_header(156, b"0") == plain(GOOD)
    assert code_of(with_header(at, value)) == "archive_invalid"


def test_a_name_stands_once() -> None:
    """The same name twice is refused, even with the same content."""
    twice = [*sorted(GOOD.items()), ("README.txt", GOOD["README.txt"])]
    assert code_of(b"".join(archives.archive(twice))) == "duplicate_member"


def test_another_order_is_refused() -> None:
    """Files stand by name, as there is one archive of each bundle."""
    turned = b"".join(archives.archive(sorted(GOOD.items(), reverse=True)))
    assert code_of(turned) == "archive_invalid"


def test_nothing_hides_behind_or_between(tmp_path: object) -> None:
    """Bytes behind the archive, in a file's padding, or in the closing blocks are refused."""
    raw = plain(GOOD)
    leaf = raw.index(GOOD["events/000001.leaf"]) + len(GOOD["events/000001.leaf"])
    for touched in (
        raw + b"x",
        raw + bytes(512),
        raw + raw,
        raw[:-512],
        raw[:leaf] + b"x" + raw[leaf + 1 :],
        raw[:-1] + b"x",
        raw[:-1024] + b"x" * 1024,
    ):
        assert code_of(touched) == "archive_invalid"


def compressed(raw: bytes, **options: object) -> bytes:
    """Bytes as a frame of another make, with our seal behind it."""
    level = zstandard.ZstdCompressor(**{"level": 3, "write_checksum": True} | options)  # type: ignore[arg-type]
    return sealed(level.compress(raw))


def sealed(frame: bytes) -> bytes:
    seal = list(archives.pack([b""]))[1][:8]
    return frame + seal + hashlib.sha256(frame).digest()


def test_only_one_whole_frame_is_taken() -> None:
    """Frames behind each other, other ones, none, and broken ones are refused."""
    raw = plain(GOOD)
    frame = compressed(raw)[:-40]
    for touched in (
        frame,
        sealed(frame + frame),
        sealed(frame + b"x"),
        sealed(b"\x50\x2a\x4d\x18\x01\0\0\0x" + frame),
        compressed(raw, write_checksum=False),
        sealed(frame[:-1]),
        sealed(frame[: len(frame) // 2] + b"\0" + frame[len(frame) // 2 + 1 :]),
        sealed(frame[:4]),
        frame + b"\x50\x2a\x4d\x18" + packed(GOOD)[-36:],
    ):
        assert code_of(touched) == "archive_invalid"
    assert code_of(compressed(raw)) == "verified"


def test_a_bomb_is_refused_before_it_goes_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would unpack to more than the limit, ask for a huge window, or hold too many files."""
    monkeypatch.setattr(archives, "UNPACKED_BYTES_MAX", 4 << 20)
    for bomb in (
        compressed(bytes(5 << 20)),
        compressed(bytes(256 << 20)),
        plain(GOOD) + bytes(4 << 20),
        packed(GOOD)[:-40] + bytes(4 << 20),
    ):
        assert code_of(bomb) in ("archive_too_large", "archive_invalid")
    with pytest.raises(BundleInvalid, match="shorter period"):
        archives.unpack(compressed(bytes(256 << 20)))
    monkeypatch.setattr(archives, "WINDOW_BYTES_MAX", 1 << 10)
    assert code_of(packed(GOOD)) == "archive_too_large"
    monkeypatch.setattr(archives, "MEMBERS_MAX", 5)
    assert code_of(plain(GOOD)) == "archive_too_large"
    monkeypatch.setattr(archives, "PACKED_BYTES_MAX", 5)
    assert code_of(packed(GOOD)) == "archive_too_large"


@given(raw=st.binary(max_size=2048))
@settings(max_examples=examples(200))
def test_noise_is_refused(raw: bytes) -> None:
    """Whatever the bytes are, the answer is a problem and no exception."""
    for noise in (raw, packed(GOOD)[:100] + raw, plain(GOOD)[:1024] + raw):
        report, proved = judge_bundle(noise)
        assert (report.outcome, proved) == (Outcome.TAMPERED, None)


def forged(made: Content) -> bytes:
    """A bundle of any content, without asking whether it proves anything, MANIFEST fitting."""
    return packed(mended({**GOOD_OTHERWISE, **dict(content_files(made))}))


GOOD_OTHERWISE: Files = {name: GOOD[name] for name in ("README.txt", "report.html")}


def test_an_event_of_another_tenant_is_refused() -> None:
    """The log's own key cannot put another tenant's event into a tenant's bundle."""
    log = memory_log()
    log.add(event(3), tenant="other")
    assert code_of(forged(content(log, indexes=(0, 7)))) == "receipt_differs"
    theirs = MemoryLog(origin=f"log.example/other/{WRITER}")
    theirs.add(event(0), tenant="other")
    assert code_of(forged(content(theirs, indexes=(0,)))) == "checkpoint_invalid"


def test_an_event_that_was_not_asked_for_is_refused() -> None:
    """An event of another trace, correlation id or period has no place in a bundle."""
    for asked in (
        ("trace_id", "f" * 32),
        ("correlation_id", "another order"),
        ("period", "2026-11-22T00:00:00.000000Z..2026-11-23T00:00:00.000000Z"),
    ):
        assert code_of(forged(content(asked=asked))) == "leaf_misplaced"
    assert code_of(forged(content(asked=("period", "2026-11-21..2026-11-22")))) == "bundle_invalid"
    assert code_of(forged(content(asked=("period", "no period")))) == "bundle_invalid"


def test_events_stand_in_order_each_once() -> None:
    """The same event twice, or events in another order, are refused."""
    assert code_of(forged(content(indexes=(0, 0)))) == "bundle_invalid"
    assert code_of(forged(content(indexes=(1, 0)))) == "bundle_invalid"


def test_held_back_means_held_back() -> None:
    """A bundle that says it holds payloads back, and has one, is refused."""
    assert code_of(forged(content(without_payload=True))) == "bundle_invalid"


def test_a_proof_that_brings_its_halves_is_refused() -> None:
    """Halves stand in their own files alone, so that a proof can be handed on without them."""
    made = content()
    files = dict(content_files(made))
    files["proofs/000001.tlog-proof"] = made.events[0].encode()
    assert code_of(packed(mended({**GOOD_OTHERWISE, **files}))) == "receipt_differs"


def test_another_history_under_the_same_key_is_a_fork() -> None:
    """The log's own key cannot show another history to somebody who holds a checkpoint."""
    known = memory_log().checkpoint(7)
    log = MemoryLog()
    for one in (*story(), *(event(number) for number in range(20, 24))):
        log.add(one)
    report, _ = judge_bundle(packed(files_of(content(log))), Trusted([VKEY], [known]))
    assert report.outcome is Outcome.FORK
    report, _ = judge_bundle(packed(files_of(content(log))), Trusted(known=[known]))
    assert report.outcome is Outcome.TAMPERED
    assert report.logs[0].events_verified == 0


def test_another_key_of_the_same_name_is_refused() -> None:
    """A history made up under the log's name, with its own key inside, is not taken for it."""
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    log = MemoryLog(key=other)
    for one in story():
        log.add(one)
    raw = packed(files_of(content(log)))
    assert code_of(raw) == "checkpoint_invalid"
    report, _ = judge_bundle(raw)
    assert report.outcome is Outcome.UNANCHORED
    mine = VerifierKey(ORIGIN, other.public_key().public_bytes_raw())
    assert code_of(raw, keys=[mine]) == "verified"


def test_a_key_that_signed_nothing_is_refused() -> None:
    """No key is in a bundle for the reader to believe in later."""
    made = content()
    idle = VerifierKey(
        ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
    )
    assert code_of(forged(replace(made, keys=(*made.keys, idle)))) == "key_invalid"


def test_checkpoints_are_proved_to_extend_each_other() -> None:
    """Two checkpoints of one log without the proof between them, or with another, are refused."""
    made = content(sizes=(2, 7))
    files = dict(made.logs[WRITER])
    without = {name: raw for name, raw in files.items() if name != "growth.2-7"}
    assert code_of(forged(replace(made, logs={WRITER: without}))) == "proof_invalid"
    log = MemoryLog()
    for number in range(30, 37):
        log.add(event(number))
    good = decode_extension(files["growth.2-7"])
    for growth in (
        log.growth(2, 7),
        replace(good, proof=good.proof[::-1]).encode(),
        replace(good, old_size=3).encode(),
        replace(good, checkpoint=good.checkpoint + "\u2014 x AAAAAAAA\n".encode()).encode(),
        b"no proof",
    ):
        swapped = {**files, "growth.2-7": growth}
        assert code_of(forged(replace(made, logs={WRITER: swapped}))) == "proof_invalid"


def test_a_checkpoint_stands_under_its_size() -> None:
    """A checkpoint in a file that is named for another size is refused."""
    made = content()
    renamed = {"checkpoint.8": made.logs[WRITER]["checkpoint.7"]}
    assert code_of(forged(replace(made, logs={WRITER: renamed}))) == "checkpoint_invalid"


def test_a_tenant_is_not_hidden_in_an_origin() -> None:
    """An origin that ends like the tenant's does not make another tenant's leaf its own."""
    log = MemoryLog(origin=f"log.example/x/{TENANT}/{WRITER}")
    log.add(event(0), tenant=f"x/{TENANT}")
    assert code_of(forged(content(log, indexes=(0,)))) == "leaf_misplaced"


def test_a_head_is_written_in_one_way() -> None:
    """Members too many, of another type, or in another form are refused, and nothing is raised."""
    good = GOOD["bundle.json"]
    assert good.startswith(b'{"asked":{"trace_id":')
    for old, new in (
        (b"{", b"{ "),
        (b'"events":3', b'"events":3.0'),
        (b'"events":3', b'"events":true'),
        (b'"events":3', b'"events":0'),
        (b'"events":3', b'"events":50001'),
        (b'"disputed":[]', b'"disputed":[0]'),
        (b'"disputed":[]', b'"disputed":[4]'),
        (b'"disputed":[]', b'"disputed":[2,1]'),
        (b'"disputed":[]', b'"disputed":["1"]'),
        (b'"disputed":[]', b'"disputed":{}'),
        (b'"without":[]', b'"without":["context"]'),
        (b'"tenant":"acme"', b'"tenant":"../x"'),
        (b'"tenant":"acme"', b'"tenant":7'),
        (b"bundle.v1", b"bundle.v2"),
        (b'"trace_id":"', b'"trace_id":"\xff'),
        (b'"trace_id":"', b'"trace":"'),
        (good, b"[]"),
        (good, b""),
        (good, good + b"\n"),
    ):
        assert old in good
        files = mended({**GOOD, "bundle.json": good.replace(old, new)})
        assert code_of(packed(files)) == "bundle_invalid", new
        with pytest.raises(BundleInvalid):
            decode_head(files["bundle.json"])


def test_the_limit_holds_for_whoever_makes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bundle is made that no verifier takes."""
    monkeypatch.setattr(archives, "UNPACKED_BYTES_MAX", 4096)
    with pytest.raises(BundleInvalid, match="shorter period"):
        plain(GOOD)
    assert TENANT in ORIGIN
