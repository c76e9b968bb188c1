"""Every bit of a bundle counts: none can be flipped, and no end cut off."""

import zlib
from collections.abc import Iterator

import pytest
from intentproof_store.verify.bundle_check import judge_bundle
from intentproof_store.verify.bundle_trust import Trusted
from intentproof_store.verify.report import Outcome

from tests.examples import THOROUGH
from tests.store.bundle_support import (
    VKEY,
    WRITER,
    Files,
    code_of,
    content,
    files_of,
    memory_log,
    mended,
    packed,
    plain,
)

SMALL = files_of(content(memory_log(0), indexes=(0,)))
PROSE = ("README.txt", "report.html")
SHARDS = 5  # no divisor of 8: each takes every bit of some bytes


def accepts(raw: bytes) -> bool:
    """Whether a bundle is taken, by somebody with the key or by somebody with nothing."""
    report, _ = judge_bundle(raw, Trusted([VKEY]))
    return report.outcome in (Outcome.VERIFIED, Outcome.UNANCHORED)


def flipped(raw: bytes, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_the_small_bundle_is_accepted() -> None:
    """What these tests touch verifies while it is whole."""
    assert code_of(plain(SMALL)) == code_of(packed(SMALL)) == "verified"


def test_no_bit_of_the_compressed_file_can_be_flipped() -> None:
    """Of all compressed bundles that differ in one bit, none is accepted."""
    raw = packed(SMALL)
    assert [bit for bit in range(8 * len(raw)) if accepts(flipped(raw, bit))] == []


def test_no_end_of_the_compressed_file_can_be_cut_off_or_added() -> None:
    """A compressed bundle that ends early at any byte, or goes on, is refused."""
    raw = packed(SMALL)
    assert [end for end in range(len(raw)) if accepts(raw[:end])] == []
    assert not any(accepts(raw + more) for more in (b"\0", b"\n", raw, raw[-40:]))


@pytest.mark.parametrize("shard", range(SHARDS if THOROUGH else 1))
def test_no_bit_of_the_archive_can_be_flipped(shard: int) -> None:
    """Of archives that differ in one bit, one in five is tried, at night all: none is accepted."""
    raw = plain(SMALL)
    bits = range(shard, 8 * len(raw), SHARDS)
    assert [bit for bit in bits if accepts(flipped(raw, bit))] == []


def test_no_end_of_the_archive_can_be_cut_off() -> None:
    """An archive that ends early at any byte is refused."""
    raw = plain(SMALL)
    assert [end for end in range(len(raw)) if accepts(raw[:end])] == []


def flips_in_files(names: Iterator[str], step: int) -> list[tuple[str, int]]:
    """The bits of files that can be flipped unseen by somebody who mends MANIFEST as well."""
    return [
        (name, bit)
        for name in names
        for bit in range(zlib.crc32(name.encode()) % step, 8 * len(SMALL[name]), step)
        if accepts(plain(mended({**SMALL, name: flipped(SMALL[name], bit)})))
    ]


def evidence() -> Files:
    return {name: raw for name, raw in SMALL.items() if name not in (*PROSE, "MANIFEST")}


def test_no_bit_of_the_evidence_can_be_flipped_by_whoever_mends_the_manifest() -> None:
    """Nothing rests on MANIFEST: leaf, halves, proof, checkpoint and key hold without it."""
    assert flips_in_files(iter(evidence()), 1) == []


def test_no_word_of_the_report_can_be_changed_by_whoever_mends_the_manifest() -> None:
    """Report and README follow from what is proved; of their bits, one in 23 is tried."""
    assert flips_in_files(iter(PROSE), 23) == []
    assert f"logs/{WRITER}/checkpoint.3" in evidence()
