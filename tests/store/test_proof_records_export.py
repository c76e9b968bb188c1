"""`export --format proof-records`: what is written is verified, and nothing else is."""

import argparse
import hashlib
import json
import random
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_store import recordexport
from intentproof_store.export import Export
from intentproof_store.export_commands import register
from intentproof_store.lookups import Told, told_of_trace
from intentproof_store.proofrecords import Asked
from intentproof_store.proofrecords.record import Record
from intentproof_store.proofrecords.recordcheck import check_record
from intentproof_store.proving import Places
from intentproof_store.recordexport import records_of, write_proof_records

from tests.examples import examples
from tests.store.proof_support import (
    KEY,
    OTHER,
    REPOSITORY,
    SIGNED,
    Document,
    payload,
    sha256,
    verify,
)
from tests.store.reader_support import START_NS, Run, Site, event

GUIDE = REPOSITORY / "docs" / "proof-records.md"
TRACE = event(1).trace_id
EVENTS = [
    event(0),
    event(
        1, correlation_id="", inputs='{"n":0.1,"nested":[{"a":null}]}', output=None, status="error"
    )._replace(error='{"message":"declined","name":"CardError"}'),
    event(2, attributes='{"gen_ai.agent.id":" agent-7 ","x":"\u2028<&>"}', intent="Über\x1b"),
    event(3, run_id="run-1", stage="pay", stream_id="s", sequence=7, started_ns=START_NS - 1),
]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path / "site")
    made.keep(EVENTS)
    return made


@pytest.fixture
def run(site: Site, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*argv: str) -> tuple[int, str, str]:
        parser = argparse.ArgumentParser()
        register(parser.add_subparsers(required=True))
        places = argparse.Namespace(store=site.store, home=site.home, hot=site.hot)
        args = parser.parse_args(["export", "--tenant", "acme", *argv], places)
        capsys.readouterr()
        code = args.run(args)
        out, err = capsys.readouterr()
        return code, out, err

    return command


def pem(folder: Path, key: Any = KEY) -> Path:
    path = folder / "key.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def exported(run: Run, folder: Path, *flags: str) -> tuple[int, str, str]:
    asked = ("--trace", TRACE, "--format", "proof-records", "-o", str(folder))
    return run(*asked, *flags)


def records_in(folder: Path) -> list[Document]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("0*.json"))]


@pytest.fixture
def bundle(run: Run, tmp_path: Path) -> Path:
    """A signed export."""
    code, out, err = exported(run, tmp_path / "b", "--sign-key", str(pem(tmp_path)))
    assert (code, out) == (0, "")
    assert "4 records" in err
    return tmp_path / "b"


def test_what_is_exported_is_verified(bundle: Path) -> None:
    """As a bundle, as a chain, record by record, strictly, and with its signatures."""
    for flags in ((), ("--bundle",), ("--strict", *SIGNED), ("--chain", "--strict", *SIGNED)):
        assert verify(bundle, *flags)[0] == 0
    assert verify(bundle, "--chain", *SIGNED)[1] == "Chain intact. 4 records. No gaps.\n"
    paths = [bundle / "chain.json", *sorted(bundle.glob("0*.json"))]
    assert len(paths) == 5
    for path in paths:
        assert verify(path, "--strict", *SIGNED)[0] == 0
    (bundle / "manifest.json").unlink()
    assert verify(bundle, "--strict", *SIGNED)[0] == 0


def test_a_record_says_what_was_meant_and_what_ran(bundle: Path) -> None:
    """Intent, action, data, outcome and times in the event; how it is known in the metadata."""
    first = records_in(bundle)[1]
    assert first["record_type"] == "tool_invocation"
    assert first["source"] == first["source_product"] == "intentproof-otel"
    assert first["timestamp"] == "2026-11-21T12:00:00Z"
    assert first["event"] == {
        "event_id": "event-0",
        "intent": "Return captured funds",
        "action": "stripe.refund.create",
        "inputs": {"amount": 0},
        "output": {"id": "re_1"},
        "status": "ok",
        "started_at": "2026-11-21T12:00:00.000000Z",
        "completed_at": "2026-11-21T12:00:00.001500Z",
        "duration_ms": 1.5,
        "correlation_id": "order-0",
        "trace_id": TRACE,
        "span_id": f"{1:016x}",
        "attributes": {"http.response.status_code": 200, "service.name": "refunds"},
    }
    metadata = first["metadata"]
    assert metadata["provenance"] == "declared"
    assert metadata["mapping_rule"] == "intentproof/1"
    assert (metadata["tenant"], metadata["log_index"], metadata["kind"]) == ("acme", 1, "event")
    assert metadata["event_hash"].startswith("sha256:")
    assert first["relationship"]["parent_ref"] == {"kind": "trace", "id": TRACE}
    assert first["controls"] == {"permissions_enforced": False}


def test_what_an_event_lacks_its_record_lacks(bundle: Path) -> None:
    """No output and no correlation id are left out, an error and a stage are told."""
    before, _, failed, agent = records_in(bundle)
    assert before["timestamp"] == "2026-11-21T11:59:59Z"  # the floor, also of the second
    assert (before["event"]["run_id"], before["event"]["stage"]) == ("run-1", "pay")
    assert (before["metadata"]["stream_id"], before["metadata"]["sequence"]) == ("s", 7)
    assert failed["event"]["error"] == {"message": "declined", "name": "CardError"}
    assert failed["event"]["inputs"] == {"n": 0.1, "nested": [{"a": None}]}
    assert not {"output", "correlation_id"} & failed["event"].keys()
    assert agent["agent_id"] == "agent-7"
    assert agent["event"]["intent"] == "Über\x1b"


def test_hashes_of_an_export_are_those_of_the_specification(bundle: Path) -> None:
    """A second implementation finds the same hashes, ids and links."""
    previous = ""
    for made in records_in(bundle):
        assert made["integrity"].get("previous_record_hash", "") == previous
        previous = made["integrity"]["record_hash"]
        assert previous == "sha256:" + sha256(payload(made))
        names = ("timestamp", "source", "source_product", "record_type", "event")
        digest = sha256({"agent_id": made.get("agent_id", ""), **{n: made[n] for n in names}})
        assert made["record_id"] == f"prf-{made['timestamp']}-{digest[:8]}"
    assert json.loads((bundle / "chain.json").read_text())["head_hash"] == previous


def test_the_head_is_told_and_shows_a_cut_off_end(run: Run, tmp_path: Path) -> None:
    """Who kept the hash that export told sees an end that was cut off and mended."""
    _, _, err = exported(run, tmp_path / "b")
    head = json.loads((tmp_path / "b" / "chain.json").read_text())["head_hash"]
    assert head in err
    assert verify(tmp_path / "b", "--head", head)[0] == 0
    cut = tmp_path / "cut"
    cut.mkdir()
    for path in sorted((tmp_path / "b").glob("0*.json"))[:-1]:
        shutil.copy(path, cut)
    assert verify(cut)[0] == 0
    assert verify(cut, "--head", head)[0] == 2


@settings(max_examples=examples(200), deadline=None)
@given(data=st.data())
def test_an_edit_of_an_export_is_refused(data: st.DataObject, site_export: Path) -> None:
    """Any byte of any file changed, added or cut off, and any file gone, is refused."""
    with Edited(site_export) as folder:
        path = data.draw(st.sampled_from(sorted(folder.iterdir())))
        raw = path.read_bytes()
        at = data.draw(st.integers(0, len(raw) - 1))
        edit = data.draw(st.sampled_from(["flip", "cut", "add", "gone"]))
        if edit == "gone":
            path.unlink()
        elif edit == "cut":
            path.write_bytes(raw[:at])
        elif edit == "add":
            path.write_bytes(raw[:at] + b"0" + raw[at:])
        else:
            bit = 1 << data.draw(st.integers(0, 7))
            path.write_bytes(raw[:at] + bytes([raw[at] ^ bit]) + raw[at + 1 :])
        assert verify(folder, "--bundle", "--chain", *SIGNED)[0] != 0


class Edited:
    """A copy of a folder for the length of one edit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.copy = folder.with_name("edited")

    def __enter__(self) -> Path:
        return Path(shutil.copytree(self.folder, self.copy))

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.copy)


@pytest.fixture(scope="module")
def site_export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed export, made once."""
    root = tmp_path_factory.mktemp("export")
    where = Site(root / "site")
    where.keep(EVENTS)
    export_of(where, root / "b", sign_key=pem(root))
    return root / "b"


def export_of(site: Site, output: Path, **changes: Any) -> None:
    with site.reader() as reader:
        told = told_of_trace(reader, "acme", TRACE)
        places = Places(store=site.store, hot=site.hot, home=site.home)
        export = Export(
            places=places,
            reader=reader,
            tenant="acme",
            asked_by="trace_id",
            asked=TRACE,
            told=iter(told),
            output=output,
        )
        write_proof_records(replace(export, **changes), clock_ns=lambda: START_NS)


def test_an_export_is_the_same_each_time(site: Site, tmp_path: Path) -> None:
    """The same events at the same time give the same bytes, signatures too."""
    for name in ("a", "b"):
        export_of(site, tmp_path / name, sign_key=pem(tmp_path))
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(files) == 6
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_withheld_payload_is_not_in_the_export(site: Site, tmp_path: Path) -> None:
    """No input, output or error, nor a hash from which they could be guessed."""
    export_of(site, tmp_path / "b", without_payload=True)
    assert verify(tmp_path / "b", "--strict")[0] == 0
    for made in records_in(tmp_path / "b"):
        assert not {"inputs", "output", "error"} & made["event"].keys()
        assert "event_hash" not in made["metadata"]
        assert made["metadata"]["withheld"] == ["payload"]
    texts = b"".join(path.read_bytes() for path in (tmp_path / "b").iterdir())
    assert b"re_1" not in texts
    assert b"amount" not in texts


def test_a_payload_is_withheld_from_the_command_line(run: Run, tmp_path: Path) -> None:
    """`--without payload` is heard."""
    assert exported(run, tmp_path / "b", "--without", "payload")[0] == 0
    assert all("inputs" not in made["event"] for made in records_in(tmp_path / "b"))


def told_with(**changes: Any) -> Told:
    base = Told(
        event=event(1),
        service_name="",
        writer="w-00000001",
        log_index=1,
        received_ns=START_NS,
        is_event=True,
        disputed=False,
        context_erased=False,
        payload_erased=False,
    )
    return replace(base, **changes)


def one(told: Told) -> Record:
    (made,) = records_of([told], tenant="acme", key=None)
    check_record(made, Asked(strict=True))
    return made


def test_erased_halves_are_named_and_not_shown() -> None:
    """What is gone is left out, and there is no hash from which it could be guessed."""
    gone = event(1)._replace(inputs="", output=None, error=None)
    made = one(told_with(event=gone, payload_erased=True))
    assert made.event is not None
    assert made.metadata is not None
    assert not {"inputs", "output", "error"} & made.event.keys()
    assert made.metadata["erased"] == ["payload"]
    assert "event_hash" not in made.metadata
    gone = event(1)._replace(intent="", correlation_id="", attributes="")
    made = one(told_with(event=gone, context_erased=True))
    assert made.event is not None
    assert made.metadata is not None
    assert not {"intent", "correlation_id", "attributes"} & made.event.keys()
    assert made.metadata["erased"] == ["context"]


def test_a_conflict_is_a_record_of_its_own() -> None:
    """It says that it is one."""
    made = one(told_with(is_event=False, disputed=True))
    assert made.metadata is not None
    assert (made.metadata["kind"], made.metadata["disputed"]) == ("conflict", True)


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=examples(300), deadline=None)
@given(intent=_TEXT, action=_TEXT.filter(bool), value=_TEXT, ns=st.integers(-(2**62), 2**62))
def test_any_event_makes_a_record_that_holds(intent: str, action: str, value: str, ns: int) -> None:
    """Whatever the texts and times, the record is strictly right."""
    made = event(1)._replace(
        intent=intent,
        action=action,
        started_ns=ns,
        completed_ns=ns + 5,
        inputs=json.dumps({"v": value}),
        trace_id="",
    )
    assert one(told_with(event=made)).source_product == "intentproof-otel"


def test_the_deepest_event_makes_a_chain_that_holds(tmp_path: Path) -> None:
    """An input of as many levels as an event may have is within what `verify` reads."""
    site = Site(tmp_path / "site")
    deep = '{"a":' * 64 + "1" + "}" * 64
    site.keep([event(1, inputs=deep, attributes='{"n":9007199254740991,"x":1e-7}')])
    export_of(site, tmp_path / "b", sign_key=pem(tmp_path))
    assert verify(tmp_path / "b", "--strict", "--chain", *SIGNED)[0] == 0


_REFUSED: dict[str, Callable[[Path], list[str]]] = {
    "stdout": lambda folder: ["-o", "-"],
    "a folder with files": lambda folder: ["-o", str(_filled(folder / "full"))],
    "a file": lambda folder: ["-o", str(pem(folder))],
    "no key": lambda folder: ["-o", str(folder / "b"), "--sign-key", str(folder / "none.pem")],
    "no PEM": lambda folder: ["-o", str(folder / "b"), "--sign-key", str(_text(folder))],
    "another kind of key": lambda folder: ["-o", str(folder / "b"), "--sign-key", _x25519(folder)],
    "a key for another format": lambda folder: [
        *("-o", str(folder / "b"), "--format", "jsonl"),
        *("--sign-key", str(pem(folder))),
    ],
}


def _filled(folder: Path) -> Path:
    folder.mkdir()
    (folder / "x").write_text("x")
    return folder


def _text(folder: Path) -> Path:
    (folder / "key.txt").write_text("text")
    return folder / "key.txt"


def _x25519(folder: Path) -> str:
    return str(pem(folder, x25519.X25519PrivateKey.generate()))


@pytest.mark.parametrize("case", _REFUSED)
def test_what_cannot_be_written_is_invalid_input(run: Run, tmp_path: Path, case: str) -> None:
    """Exit code 6, one line, and nothing was written."""
    folder = tmp_path / "here"
    folder.mkdir()
    flags = _REFUSED[case](folder)
    before = sorted(folder.rglob("*"))
    code, out, err = run("--trace", TRACE, "--format", "proof-records", *flags)
    assert (code, out, err.count("\n")) == (6, "", 1)
    assert sorted(folder.rglob("*")) == before


def test_an_empty_folder_is_written_to(run: Run, tmp_path: Path) -> None:
    """One that is there and has nothing takes the export."""
    (tmp_path / "b").mkdir()
    assert exported(run, tmp_path / "b")[0] == 0
    assert verify(tmp_path / "b")[0] == 0


def test_too_much_for_one_chain_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit nothing is written, and the message says what to do."""
    monkeypatch.setattr(recordexport, "CHAIN_BYTES_MAX", 1000)
    code, _, err = exported(run, tmp_path / "b")
    assert code == 6
    assert "--period" in err
    assert not (tmp_path / "b").exists()


def test_a_failed_write_leaves_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full leaves neither the folder nor what was to become it."""

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recordexport, "write_files", full)
    code, _, err = exported(run, tmp_path / "out" / "b")
    assert code == 6
    assert "No space left" in err
    assert list((tmp_path / "out").iterdir()) == []


def test_files_are_listed_with_their_hashes(bundle: Path) -> None:
    """The manifest has every file but itself, by `sha256sum`'s own digests."""
    entries = json.loads((bundle / "manifest.json").read_text())["files"]
    found = {entry["path"]: entry["sha256"] for entry in entries}
    there = {path.name: path.read_bytes() for path in bundle.iterdir()}
    del there["manifest.json"]
    assert found == {name: hashlib.sha256(raw).hexdigest() for name, raw in there.items()}


def test_an_export_is_checked_without_our_software(bundle: Path, tmp_path: Path) -> None:
    """The guide's lines with sha256sum and openssl pass an export, and fail a changed one."""
    (block,) = re.findall(r"```sh\n(set -eu.*?)```", GUIDE.read_text(), re.DOTALL)
    public = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (bundle / "public.pem").write_bytes(public)

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", block], cwd=bundle, capture_output=True, text=True, check=False
        )

    done = check()
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": OK") == 5
    assert done.stdout.count("Signature Verified Successfully") == 4
    record = bundle / "00000002.json"
    whole = record.read_bytes()
    record.write_bytes(whole.replace(b'"ok"', b'"no"'))
    assert check().returncode != 0
    record.write_bytes(whole)
    other = OTHER.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (bundle / "public.pem").write_bytes(other)
    assert check().returncode != 0


def test_a_shuffled_export_is_no_chain(bundle: Path) -> None:
    """Record files under each other's names are another order, with `chain.json` or without."""
    paths = sorted(bundle.glob("0*.json"))
    contents = [path.read_bytes() for path in paths]
    random.Random(4).shuffle(contents)
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    for name in ("manifest.json", "chain.json"):
        (bundle / name).unlink()
        assert verify(bundle)[0] == 2
