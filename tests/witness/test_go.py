"""Go's own note tools open what we sign and cosign."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from intentproof_store.cosignature import WitnessKey, cosign

from tests.witness.support import Log

SOURCE = Path(__file__).parent / "go" / "main.go"
SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(33, 65)))
WITNESS = WitnessKey("witness.example/1", SECRET.public_key().public_bytes_raw())
LOG = Log()


@pytest.fixture(scope="module")
def opener(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that opens a note with golang.org/x/mod/sumdb/note, built without a network."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("needs Go: `apt-get install golang`")
    cache = subprocess.run([go, "env", "GOMODCACHE"], capture_output=True, text=True, check=True)
    modules = sorted(Path(cache.stdout.strip(), "golang.org", "x").glob("mod@*"))
    if not modules:
        pytest.skip("needs golang.org/x/mod in Go's module cache: `make collector` brings it")
    folder = tmp_path_factory.mktemp("go")
    shutil.copy(SOURCE, folder)
    (folder / "go.mod").write_text(
        "module opener\n\ngo 1.22\n\nrequire golang.org/x/mod v0.0.0\n\n"
        f"replace golang.org/x/mod => {modules[-1]}\n"
    )
    program = folder / "opener"
    environ = os.environ | {"GOPROXY": "off", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
    built = subprocess.run(
        [go, "build", "-o", str(program), "."],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return program


def opened(program: Path, note: bytes) -> "subprocess.CompletedProcess[bytes]":
    """What Go says of a note."""
    command = [str(program), LOG.vkey(), WITNESS.vkey()]
    return subprocess.run(command, input=note, capture_output=True, check=False)


def test_go_opens_a_cosigned_checkpoint(opener: Path) -> None:
    """Both the log's signature and the witness's cosignature hold for Go's note package."""
    text = LOG.checkpoint(5).text()
    line = cosign(text, name=WITNESS.name, key=SECRET, time_s=1_795_233_600)
    done = opened(opener, LOG.note(5) + line)
    assert done.returncode == 0, done.stderr
    names = [told.split()[0].decode() for told in done.stdout.splitlines()]
    assert names == [LOG.origin, WITNESS.name]


def test_go_refuses_a_cosignature_of_another_checkpoint(opener: Path) -> None:
    """And a cosignature that is not of this text spoils the note there as it does here."""
    other = LOG.checkpoint(6).text()
    line = cosign(other, name=WITNESS.name, key=SECRET, time_s=1_795_233_600)
    assert opened(opener, LOG.note(5) + line).returncode == 1
