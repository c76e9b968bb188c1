"""OpenTelemetry's JavaScript exporters, installed once outside the tree."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

_HERE = Path(__file__).parent
_LISTS = ("package.json", "package-lock.json")


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    own = os.environ.get("INTENTPROOF_CACHE")
    return (Path(own) if own else Path(home) / "intentproof-otel") / "node"


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The folder with the packages of package-lock.json; npm fetches them the first time.

    Its name is made of the lists' SHA-256, and it appears by one rename: another list is another
    folder, and a broken installation is never taken for a finished one.
    """
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("needs Node 20.6 or newer and npm, to run OpenTelemetry's JavaScript SDK")
    lists = b"".join((_HERE / name).read_bytes() for name in _LISTS)
    folder = _cache() / hashlib.sha256(lists).hexdigest()[:12]
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as work:
            _install(Path(work) / "packages", folder)
    return folder / "node_modules"


def _install(work: Path, folder: Path) -> None:
    work.mkdir()
    for name in _LISTS:
        shutil.copy(_HERE / name, work)
    # No package's script runs here: none of these needs one.
    argv = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(argv, cwd=work, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        pytest.skip(f"needs Node's packages, and `npm ci` failed: {done.stderr[-1000:]}")
    try:
        work.rename(folder)
    except OSError:  # another process was first
        if not folder.exists():
            raise
