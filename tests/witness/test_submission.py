"""What a witness may cosign, as rules over all sizes; and which checkpoints a receiver sends."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_receiver.cosigning import UNCOVERED_SECONDS_MAX, Sizes
from intentproof_store import (
    LedgerStatus,
    ProofInvalid,
    Seen,
    SizeConflict,
    StoreError,
    SubmissionInvalid,
    TenantStatus,
    VerifierKey,
    check_growth,
    read_submission,
)

from tests.examples import examples
from tests.witness.support import Log

LOG = Log()
KEYS = [VerifierKey.parse(LOG.vkey())]
sizes = st.integers(1, 70)


def seen(size: int) -> Seen:
    return Seen(size, LOG.checkpoint(size).root)


@settings(max_examples=examples(60))
@given(sizes, sizes)
def test_growth_is_cosigned_and_nothing_else(first: int, second: int) -> None:
    """From any size to any size not below: cosigned; backwards: refused."""
    old, size = min(first, second), max(first, second)
    check_growth(read_submission(LOG.submission(old, size), KEYS), seen(old))
    if old < size:
        with pytest.raises(SubmissionInvalid):
            read_submission(b"old %d\n\n%s" % (size, LOG.note(old)), KEYS)
        with pytest.raises(SizeConflict) as caught:
            check_growth(read_submission(LOG.submission(old, old), KEYS), seen(size))
        assert caught.value.size == size


@settings(max_examples=examples(60))
@given(sizes, sizes)
def test_another_history_is_never_cosigned(first: int, second: int) -> None:
    """Whatever the sizes, a log of other leaves does not extend the one that was seen."""
    old, size = min(first, second), max(first, second)
    forged = read_submission(Log(name="other").submission(old, size), KEYS)
    with pytest.raises((SizeConflict, ProofInvalid)):
        check_growth(forged, seen(old))


@settings(max_examples=examples(60))
@given(sizes, sizes, st.data())
def test_every_bit_of_a_proof_counts(first: int, second: int, data: st.DataObject) -> None:
    """With any bit of any hash flipped, a proof proves nothing."""
    old, size = sorted((first, second + 70))
    good = read_submission(LOG.submission(old, size), KEYS)
    at = data.draw(st.integers(0, len(good.proof) - 1))
    bit = data.draw(st.integers(0, 255))
    changed = bytearray(good.proof[at])
    changed[bit // 8] ^= 1 << bit % 8
    proof = (*good.proof[:at], bytes(changed), *good.proof[at + 1 :])
    bad = type(good)(good.old_size, proof, good.text, good.checkpoint, good.note)
    with pytest.raises(ProofInvalid):
        check_growth(bad, seen(old))


@settings(max_examples=examples(60))
@given(st.binary(max_size=300))
def test_any_bytes_are_a_submission_or_refused(raw: bytes) -> None:
    """No input makes the reader raise anything but its own errors."""
    with pytest.raises(StoreError):
        read_submission(raw, KEYS)


@settings(max_examples=examples(60))
@given(st.data())
def test_a_damaged_submission_is_refused_or_proves_the_same(data: st.DataObject) -> None:
    """A byte changed anywhere: refused, or not what was signed anyway."""
    raw = bytearray(LOG.submission(5, 9))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != raw[at]))
    with pytest.raises(StoreError):
        check_growth(read_submission(bytes(raw), KEYS), seen(5))


class _Ledger:
    """A ledger's status and a clock, both set by hand."""

    def __init__(self, **sizes: int) -> None:
        self.now, self.sizes = 1_000.0, sizes

    def status(self) -> LedgerStatus:
        tenants = {name: TenantStatus(size, 0, 0, 0, 0, 0, 0) for name, size in self.sizes.items()}
        return LedgerStatus(
            writer="w-00000000",
            tenants=tenants,
            queued=0,
            queued_bytes=0,
            healthy=True,
            fault=None,
            frames=0,
            sealed_segments=0,
            fsync_seconds_total=0.0,
        )


def test_only_checkpoints_over_all_but_the_last_leaves_are_sent() -> None:
    """A checkpoint that leaves out what is older than two minutes waits for the next one."""
    ledger = _Ledger(acme=10)
    looked = Sizes(ledger.status, lambda: ledger.now)
    assert not looked.is_recent("acme", 9), "what was replayed is of any age"
    assert looked.is_recent("acme", 10)
    ledger.sizes["acme"] = 50
    ledger.now += 1
    looked.look()
    assert looked.is_recent("acme", 10)
    ledger.now += UNCOVERED_SECONDS_MAX - 2
    looked.look()
    assert looked.is_recent("acme", 10)
    ledger.now += 2
    looked.look()
    assert not looked.is_recent("acme", 10)
    assert not looked.is_recent("acme", 49)
    assert looked.is_recent("acme", 50)


def test_a_new_tenants_first_leaves_are_new() -> None:
    """A log that came to be while it was looked at is sent from its genesis on."""
    ledger = _Ledger()
    looked = Sizes(ledger.status, lambda: ledger.now)
    ledger.sizes["acme"] = 7
    ledger.now += 1
    assert looked.look() == ["acme"]
    assert looked.is_recent("acme", 1)


def test_a_look_that_came_late_takes_leaves_for_older() -> None:
    """Where nobody looked for minutes, what is new since then may be as old as the last look."""
    ledger = _Ledger(acme=1)
    looked = Sizes(ledger.status, lambda: ledger.now)
    ledger.sizes["acme"] = 9
    ledger.now += 2 * UNCOVERED_SECONDS_MAX
    looked.look()
    assert not looked.is_recent("acme", 1)
    assert looked.is_recent("acme", 9)
