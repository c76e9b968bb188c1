"""What the tests of bundles share: a log in memory that never changes, and ways to touch a bundle.

The log is built from the documentation's own formulas, with a key that everybody knows, so that a
test can also be an attacker who holds the log's key.
"""

import argparse
import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from intentproof_schemas import (
    CONTEXT_DOMAIN,
    PAYLOAD_DOMAIN,
    ExecutionEvent,
    commitment,
    context_text,
    event_leaf,
    payload_text,
)
from intentproof_store.bundle.archive import archive, pack, read_archive, unpack
from intentproof_store.bundle.content import Content
from intentproof_store.bundle.files import MANIFEST, bundle_files, manifest
from intentproof_store.bundle.head import Head
from intentproof_store.bundle.proof import prove
from intentproof_store.export_commands import register as register_export
from intentproof_store.extension import Extension
from intentproof_store.merkle import leaf_hash, root_of
from intentproof_store.note import Checkpoint, VerifierKey, sign_note
from intentproof_store.proofs import consistency_proof, inclusion_proof
from intentproof_store.receipt import Half, Receipt
from intentproof_store.verify.bundle_check import judge_bundle
from intentproof_store.verify.command import register as register_verify
from intentproof_store.verify.report import Outcome

from tests.store.reader_support import START_NS, Site, event

TENANT, WRITER = "acme", "host-00000001"
ORIGIN = f"log.example/{TENANT}/{WRITER}"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VKEY = VerifierKey(ORIGIN, KEY.public_key().public_bytes_raw())
TRACE = event(0).trace_id

Files = dict[str, bytes]
Run = Callable[..., tuple[int, str, str]]


@dataclass
class MemoryLog:
    """A log of a tenant and writer, signed with a key; leaves may be anything."""

    origin: str = ORIGIN
    key: Ed25519PrivateKey = KEY
    leaves: list[bytes] = field(default_factory=list)
    halves: list[tuple[Half, Half]] = field(default_factory=list)

    def add(self, one: ExecutionEvent, kind: str = "event", tenant: str = TENANT) -> None:
        """Append an event, with salts that follow from its place."""
        place = len(self.leaves)
        salts = [hashlib.sha256(b"%s %d" % (half, place)).digest()[:16] for half in (b"c", b"p")]
        context, payload = Half(salts[0], context_text(one)), Half(salts[1], payload_text(one))
        leaf = event_leaf(
            one,
            kind=kind,
            tenant=tenant,
            writer=self.origin.rpartition("/")[2],
            received_ns=START_NS + place,
            context=commitment(CONTEXT_DOMAIN, context.salt, context.text),
            payload=commitment(PAYLOAD_DOMAIN, payload.salt, payload.text),
        )
        self.leaves.append(leaf)
        self.halves.append((context, payload))

    def node(self, level: int, index: int) -> bytes:
        first = index << level
        return root_of([leaf_hash(leaf) for leaf in self.leaves[first : first + (1 << level)]])

    def checkpoint(self, size: int) -> Checkpoint:
        return Checkpoint(self.origin, size, root_of([leaf_hash(x) for x in self.leaves[:size]]))

    def note(self, size: int) -> bytes:
        return sign_note(self.checkpoint(size).text(), name=self.origin, key=self.key)

    def receipt(self, index: int, size: int) -> Receipt:
        context, payload = self.halves[index]
        proof = tuple(inclusion_proof(index, size, self.node))
        return Receipt(self.leaves[index], context, payload, index, proof, self.note(size))

    def growth(self, old: int, new: int) -> bytes:
        return Extension(
            old, tuple(consistency_proof(old, new, self.node)), self.note(new)
        ).encode()


def story() -> list[ExecutionEvent]:
    """A refund that calls two others, one of which fails; times and ids are fixed."""
    root = event(0, action="refund.handle", intent="Give the customer the money back")
    look = event(1, parent_span_id=root.span_id, action="charge.read", intent="Find the charge")
    give = event(
        2,
        parent_span_id=root.span_id,
        status="error",
        output=None,
        error='{"message":"card expired","name":"CardError"}',
    )
    return [root, look, give]


def memory_log(others: int = 4) -> MemoryLog:
    """The story among events of other traces."""
    log = MemoryLog()
    for one in (*story(), *(event(number) for number in range(10, 10 + others))):
        log.add(one)
    return log


def content(
    log: MemoryLog | None = None,
    *,
    sizes: Sequence[int] = (),
    indexes: Sequence[int] = (0, 1, 2),
    without_payload: bool = False,
    asked: tuple[str, str] = ("trace_id", TRACE),
) -> Content:
    """What a bundle of the story says; each event under the first checkpoint that covers it."""
    log = log or memory_log()
    sizes = sizes or (len(log.leaves),)
    files = {f"checkpoint.{size}": log.note(size) for size in sizes}
    files |= {f"growth.{old}-{new}": log.growth(old, new) for old, new in itertools.pairwise(sizes)}
    events = [log.receipt(index, min(s for s in sizes if s > index)) for index in indexes]
    head = Head(
        tenant=TENANT,
        asked_by=asked[0],
        asked=asked[1],
        without_payload=without_payload,
        disputed=(),
        events=len(events),
    )
    writer = log.origin.rpartition("/")[2]
    key = VerifierKey(log.origin, log.key.public_key().public_bytes_raw())
    return Content(head, tuple(events), {writer: files}, (key,))


def files_of(made: Content) -> Files:
    """All files of a bundle that says this."""
    return dict(bundle_files(prove(made)))


def plain(files: Mapping[str, bytes]) -> bytes:
    """The archive of these files, whatever they are."""
    return b"".join(archive(sorted(files.items())))


def packed(files: Mapping[str, bytes]) -> bytes:
    """The same, compressed."""
    return b"".join(pack([plain(files)]))


def opened(raw: bytes) -> Files:
    """The files of a compressed bundle."""
    return read_archive(unpack(raw))


def mended(files: Mapping[str, bytes]) -> Files:
    """The files with a MANIFEST that fits them, as a careful forger leaves them."""
    return {**files, MANIFEST: manifest(files)}


def code_of(raw: bytes, *, keys: Sequence[VerifierKey] = (VKEY,)) -> str:
    """The first problem code of a bundle, or its outcome where it has none."""
    report, _ = judge_bundle(raw, keys=keys)
    codes = [problem.code for log in report.logs for problem in log.problems]
    assert (report.outcome is Outcome.VERIFIED) == (not codes)
    return codes[0] if codes else report.outcome.value


def commander(site: Site, capsys: pytest.CaptureFixture[str]) -> Run:
    """The commands `export` and `verify`, over a site."""

    def command(*argv: object) -> tuple[int, str, str]:
        parser = argparse.ArgumentParser()
        subparsers = parser.add_subparsers(required=True)
        register_export(subparsers)
        register_verify(subparsers)
        places = argparse.Namespace(store=site.store, home=site.home, hot=site.hot)
        args = parser.parse_args([str(each) for each in argv], places)
        capsys.readouterr()
        code = args.run(args)
        out, err = capsys.readouterr()
        return code, out, err

    return command


def exported(run: Run, path: Path, *argv: object) -> bytes:
    """The bundle that `export` writes."""
    code, out, err = run("export", "--tenant", TENANT, "--format", "bundle", "-o", path, *argv)
    assert (code, out, err) == (0, "", "")
    return path.read_bytes()
