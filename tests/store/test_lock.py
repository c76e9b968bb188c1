"""One process a writer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from intentproof_store import Ledger, LedgerLocked
from intentproof_store.lock import WriterLock

from tests.store.support import append, event, place

HOLD = """
import sys
from pathlib import Path
from intentproof_store.lock import WriterLock
with WriterLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
TRY = """
import sys
from pathlib import Path
from intentproof_store import Ledger, LedgerLocked, LedgerSettings
root = Path(sys.argv[1])
try:
    Ledger.open(LedgerSettings(store=root / "proofs", home=root / sys.argv[2], hot=root / "hot"))
except LedgerLocked as error:
    print(error)
    sys.exit(3)
"""


def test_another_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    """A lock held by a living process is refused with that process's pid, and free when it dies."""
    path = tmp_path / "home" / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LedgerLocked, match=rf"pid {holder.pid} on "):
            WriterLock(path)
        holder.kill()
        holder.wait()
        WriterLock(path).close()


@pytest.mark.parametrize("home", ["home", "another-home"])
def test_a_second_ledger_process_is_refused(tmp_path: Path, home: str) -> None:
    """A second process on the same home, or the same hot folder, is refused, naming the first."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        append(ledger, [event()])
        done = subprocess.run(
            [sys.executable, "-c", TRY, str(here.root), home],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 3, done.stderr
        assert f"pid {os.getpid()} on " in done.stdout
        append(ledger, [event(2)])


def test_a_closed_ledger_frees_its_locks(tmp_path: Path) -> None:
    """After close, the same process opens the store again; closing twice does no harm."""
    here = place(tmp_path)
    ledger = Ledger.open(here.settings())
    with pytest.raises(LedgerLocked):
        Ledger.open(here.settings())
    ledger.close()
    ledger.close()
    with here.ledger():
        pass


def test_a_refused_opening_frees_what_it_took(tmp_path: Path) -> None:
    """Where the second of two locks is held, the first is given back."""
    here = place(tmp_path)
    here.hot.mkdir(parents=True)
    with WriterLock(here.hot / "lock"), pytest.raises(LedgerLocked):
        Ledger.open(here.settings())
    WriterLock(here.home / "lock").close()
