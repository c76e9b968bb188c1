"""A bundle is checked without our software: each command of its README.txt is run here."""

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.store.bundle_support import (
    TRACE,
    WRITER,
    Files,
    commander,
    content,
    exported,
    files_of,
    memory_log,
    mended,
    opened,
    story,
)
from tests.store.reader_support import Site

GOOD = files_of(content(memory_log(30), sizes=(2, 33)))
GO_MODULE = "golang.org/x/mod@v0.39.0"
TOOLS = ("sha256sum", "openssl", "base64", "cmp", "sed")
Check = Callable[[str, Files], subprocess.CompletedProcess[str]]


def blocks(readme: str) -> list[str]:
    """The indented blocks of a README between blank lines, each as one may paste it."""
    found = re.findall(r"(?<=\n\n)(?:    .*\n|\n(?=    ))+", readme)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in found]


BLOCKS = blocks(GOOD["README.txt"].decode())
MANIFEST, SIGNATURES, COMMITMENTS, INCLUSION = BLOCKS[1:5]
PROGRAM = next(block for block in BLOCKS if block.startswith("package main"))


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Runs a block in a folder that holds a bundle's files."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")

    def run(block: str, files: Files) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "bundle"
        shutil.rmtree(folder, ignore_errors=True)
        unpacked(files, folder)
        argv = ["sh", "-ec", block]
        return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)

    return run


def unpacked(files: Files, folder: Path) -> Path:
    for name, raw in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    return folder


def touched(name: str, old: bytes, new: bytes) -> Files:
    """The bundle with one text replaced, MANIFEST mended."""
    assert old in GOOD[name]
    return mended({**GOOD, name: GOOD[name].replace(old, new)})


def other_last_byte(raw: bytes) -> bytes:
    return raw[:-1] + bytes([raw[-1] ^ 1])


def test_every_block_is_tried_here() -> None:
    """README.txt has these commands and no others."""
    assert [block.split()[0] for block in BLOCKS] == [
        *("intentproof-otel", "sha256sum", "head", "(", "(", "package", "./check"),
    ]
    assert SIGNATURES.count("openssl pkeyutl -verify") == 2
    assert "events/*.context" in COMMITMENTS
    assert "events/*.payload" in COMMITMENTS


@pytest.mark.parametrize("block", [MANIFEST, SIGNATURES, COMMITMENTS, INCLUSION])
def test_each_step_holds_for_a_good_bundle(check: Check, block: str) -> None:
    """Every block ends without an error."""
    done = check(block, GOOD)
    assert (done.returncode, done.stderr) == (0, "")


def test_sha256sum_finds_a_damaged_file(check: Check) -> None:
    """Step 1 fails when a byte is not as it was written."""
    done = check(MANIFEST, {**GOOD, "report.html": GOOD["report.html"] + b"x"})
    assert done.returncode != 0
    assert "report.html" in done.stdout


def test_openssl_finds_a_forged_checkpoint(check: Check) -> None:
    """Step 2 fails for another root, and for another text than the one that is signed."""
    stem = f"logs/{WRITER}/checkpoint.33"
    body = GOOD[f"{stem}.body"]
    note = GOOD[stem]
    assert check(SIGNATURES, {**GOOD, stem: note.replace(b"\n33\n", b"\n34\n")}).returncode != 0
    both = {stem: note.replace(b"\n33\n", b"\n34\n"), f"{stem}.body": body.replace(b"33", b"34")}
    assert check(SIGNATURES, {**GOOD, **both}).returncode != 0
    for name in (f"{stem}.body", next(n for n in GOOD if n.endswith("sig"))):
        assert check(SIGNATURES, {**GOOD, name: other_last_byte(GOOD[name])}).returncode != 0


def test_sha256sum_finds_other_data(check: Check) -> None:
    """Step 3 fails where a half is not the one that its leaf commits to."""
    for name in ("events/000001.context", "events/000003.payload"):
        touched_half = {**GOOD, name: other_last_byte(GOOD[name])}
        assert check(COMMITMENTS, touched_half).returncode != 0


def test_the_shell_finds_a_leaf_that_is_not_in_the_log(check: Check) -> None:
    """Step 4 fails for another leaf, place, hash or root."""
    proof = "proofs/000003.tlog-proof"
    for files in (
        touched("events/000002.leaf", b'"status":"ok"', b'"status":"no"'),
        touched(proof, b"\nindex 2\n", b"\nindex 3\n"),
        touched(proof, GOOD[proof].splitlines()[4], GOOD[proof].splitlines()[5]),
        touched(proof, b"\n33\n", b"\n34\n"),
        touched(f"logs/{WRITER}/checkpoint.33", b"\n33\n", b"\n34\n"),
    ):
        assert check(INCLUSION, files).returncode != 0


def test_a_bundle_without_data_has_its_own_commands(check: Check) -> None:
    """Where payloads are held back, the README asks for none, and its steps hold."""
    made = content(memory_log(0), indexes=(0,))
    (receipt,) = made.events
    bare = replace(
        made,
        head=replace(made.head, without_payload=True),
        events=(replace(receipt, payload=None),),
    )
    files = files_of(bare)
    found = blocks(files["README.txt"].decode())
    assert "payload" not in found[3]
    for block in found[1:5]:
        assert check(block, files).returncode == 0


@pytest.fixture(scope="session")
def go_check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of README.txt, built as README.txt says, with Go's own note and tlog packages."""
    if shutil.which("go") is None:
        pytest.skip("needs Go 1.25+ on the PATH")
    folder = tmp_path_factory.mktemp("go")
    (folder / "main.go").write_text(PROGRAM)
    for argv in (
        ["go", "mod", "init", "check"],
        ["go", "get", GO_MODULE],
        ["go", "mod", "tidy"],
        ["go", "build", "-o", "check"],
    ):
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
        if argv[1] == "get" and done.returncode != 0:
            pytest.skip(f"needs {GO_MODULE}, which cannot be fetched here: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
    return folder / "check"


def run_go(program: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, folder], capture_output=True, text=True, check=False)


def test_go_takes_a_good_bundle(go_check: Path, tmp_path: Path) -> None:
    """`sumdb/note` and `sumdb/tlog` verify our checkpoints, proofs and consistency proofs."""
    done = run_go(go_check, unpacked(GOOD, tmp_path / "good"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "every proof holds" in done.stdout


def test_go_takes_a_bundle_of_a_real_store(
    go_check: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `export` writes is taken as it is."""
    site = Site(tmp_path)
    site.keep(story())
    raw = exported(commander(site, capsys), tmp_path / "b.tar.zst", "--trace", TRACE)
    done = run_go(go_check, unpacked(opened(raw), tmp_path / "real"))
    assert (done.returncode, done.stderr) == (0, "")


def test_go_refuses_what_was_touched(go_check: Path, tmp_path: Path) -> None:
    """Another leaf, place, root, signature, consistency proof or key is refused."""
    stem = f"logs/{WRITER}"
    growth = GOOD[f"{stem}/growth.2-33"].splitlines()
    proof = "proofs/000001.tlog-proof"
    cases = [
        touched("events/000002.leaf", b'"status":"ok"', b'"status":"no"'),
        touched(proof, b"\nindex 0\n", b"\nindex 1\n"),
        touched(proof, b"\n2\n", b"\n3\n"),
        touched(f"{stem}/growth.2-33", growth[1], growth[2]),
        touched(f"{stem}/checkpoint.2", b"\n2\n", b"\n1\n"),
        {name: raw for name, raw in GOOD.items() if not name.endswith(".vkey")},
    ]
    for number, files in enumerate(cases):
        done = run_go(go_check, unpacked(files, tmp_path / str(number)))
        assert done.returncode != 0, number
