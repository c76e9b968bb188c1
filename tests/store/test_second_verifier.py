"""A verifier that shares no line with ours takes the same bundles, and refuses what was touched."""

import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from intentproof_store.bundle.content import Content
from intentproof_store.note import VerifierKey

from tests.store.bundle_support import (
    TRACE,
    VKEY,
    WRITER,
    Files,
    commander,
    content,
    exported,
    files_of,
    memory_log,
    mended,
    packed,
    plain,
    story,
)
from tests.store.reader_support import Site
from tests.store.second_verifier import verify

KEYS = VKEY.vkey()
GOOD = files_of(content(sizes=(2, 7)))
SCRIPT = Path(__file__).with_name("second_verifier.py")


def accepts(raw: bytes, keys: str = KEYS) -> bool:
    try:
        verify(raw, keys)
    except (ValueError, LookupError, TypeError, AttributeError):
        return False
    return True


def test_it_is_short_and_stands_alone() -> None:
    """Under 200 lines, of the standard library alone: an afternoon's work from docs/bundle.md."""
    text = SCRIPT.read_text()
    imports = [line for line in text.splitlines() if line.startswith(("import", "from"))]
    assert len(text.splitlines()) < 200
    assert {line.split()[1] for line in imports} <= sys.stdlib_module_names


@pytest.mark.parametrize(
    "made",
    [
        content(),
        content(sizes=(2, 7)),
        content(sizes=(1, 2, 3, 7)),
        content(sizes=(4, 7)),
        content(memory_log(0), sizes=(1, 3)),
        content(memory_log(60), sizes=(33, 63)),
        content(memory_log(0), indexes=(0,), sizes=(1,)),
        content(asked=("correlation_id", "order-0")),
        content(asked=("period", "2026-11-21T00:00:00.000000Z..2026-11-22T00:00:00.000000Z")),
    ],
)
def test_it_takes_what_we_make(made: Content) -> None:
    """Logs of one leaf to many, one checkpoint or several: it finds the same events."""
    found = verify(plain(files_of(made)), KEYS)
    assert [leaf["event_id"] for leaf in found] == [
        leaf.event_id for leaf in story()[: len(made.events)]
    ]


def test_it_takes_a_bundle_of_a_real_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the command line, with a `.tar` and the operator's keys, as an auditor runs it."""
    site = Site(tmp_path)
    site.keep(story())
    file = tmp_path / "b.tar"
    exported(commander(site, capsys), file, "--trace", TRACE)
    argv = [sys.executable, str(SCRIPT), str(file), str(site.home / "trusted.vkeys")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[1] for line in done.stdout.splitlines()] == [
        each.event_id for each in story()
    ]
    file.write_bytes(file.read_bytes().replace(b'"status":"ok"', b'"status":"no"'))
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("refused: ")


def test_it_takes_the_compressed_file_through_zstd(tmp_path: Path) -> None:
    """`zstd -d`, or any other tool, gives the archive that it reads."""
    (tmp_path / "b.tar.zst").write_bytes(packed(GOOD))
    try:
        argv = ["zstd", "-d", "-q", "b.tar.zst"]
        subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs the zstd command")
    assert (tmp_path / "b.tar").read_bytes() == plain(GOOD)


def test_no_bit_can_be_flipped_before_it() -> None:
    """Of archives that differ in one bit, it accepts none; one of each 41 is tried."""
    raw = plain(GOOD)
    touched = range(0, 8 * len(raw), 41)
    assert [bit for bit in touched if accepts(flipped(raw, bit))] == []


def flipped(raw: bytes, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def evidence() -> Files:
    """What it proves by itself: all but prose, and what openssl takes instead."""
    prose = ("README.txt", "report.html", "MANIFEST", "bundle.json")
    return {
        name: raw
        for name, raw in GOOD.items()
        if name not in prose and not name.startswith("keys/") and not name.endswith(("body", "sig"))
    }


def test_no_evidence_can_be_changed_by_whoever_mends_the_manifest() -> None:
    """Leaves, halves, proofs and checkpoints do not rest on MANIFEST here either."""
    accepted = [
        (name, bit)
        for name, raw in evidence().items()
        for bit in range(zlib.crc32(name.encode()) % 997, 8 * len(raw), 997)
        if accepts(plain(mended({**GOOD, name: flipped(raw, bit)})))
    ]
    assert accepted == []


def test_no_end_can_be_cut_off_before_it() -> None:
    """An archive that ends early at any byte, or goes on, is refused."""
    raw = plain(GOOD)
    assert not any(accepts(raw[:end]) for end in range(0, len(raw), 7))
    assert not any(accepts(raw[:-end]) for end in range(1, 1100))
    assert not accepts(raw + b"\0")


def test_it_trusts_no_key_of_the_bundle() -> None:
    """Without the operator's key, or with another of the same name, nothing is accepted."""
    other = VerifierKey(VKEY.name, bytes(range(32, 64)))
    assert accepts(plain(GOOD))
    assert not accepts(plain(GOOD), "")
    assert not accepts(plain(GOOD), other.vkey())
    small = VerifierKey(VKEY.name, bytes([1]) + bytes(31))
    assert not accepts(plain(GOOD), small.vkey())


def test_events_and_proofs_go_together() -> None:
    """An event without its proof, a proof without its event, and fewer than named are refused."""
    for name in ("events/000002.leaf", "proofs/000002.tlog-proof", f"logs/{WRITER}/checkpoint.2"):
        files = {other: raw for other, raw in GOOD.items() if other != name}
        assert not accepts(plain(mended(files)))
    fewer = GOOD["bundle.json"].replace(b'"events":3', b'"events":2')
    assert not accepts(plain(mended({**GOOD, "bundle.json": fewer})))
