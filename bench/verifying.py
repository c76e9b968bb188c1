"""`verify` of a store in a process of its own: how much memory it takes at most."""

import re
import subprocess
import sys
from pathlib import Path

from .reading import run_verify


def peak_mib(events: int, folder: Path) -> float:
    """The highest resident memory of a process that does nothing else, in MiB."""
    command = [sys.executable, "-m", "bench.verifying", str(events), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


if __name__ == "__main__":
    run_verify(int(sys.argv[1]), Path(sys.argv[2]))
    # Not `ru_maxrss`, in which a process that was forked has what its parent took.
    status = Path("/proc/self/status").read_text()
    print(int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024)
