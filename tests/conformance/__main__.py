"""Break each rule of receiver/README.md's table on purpose, and see its tests fail.

`make conformance`. Works on a copy of the sources; exits with 1 if a test did not notice.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conformance.table import ROOT, Break, Rule, read_breaks, read_rules

_SOURCES = ("otel_bridge", "receiver", "store", "schemas", "tests", "examples", "collector")
_ROOMS = ("", "receiver", "store", "schemas")
_SECONDS = 600
_SUMMARY = re.compile(r"^(FAILED|ERROR) (\S+?::\w+)", re.MULTILINE)


def main() -> int:
    """Print a line a rule. Names on the command line are the rules to look at."""
    breaks = read_breaks()
    rules = [rule for rule in read_rules() if not sys.argv[1:] or rule.name in sys.argv[1:]]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        unnoticed = list(
            pool.map(
                lambda rule: _unnoticed(rule, [b for b in breaks if b.rule == rule.name]), rules
            )
        )
    for rule, tests in zip(rules, unnoticed, strict=True):
        told = f"NOT NOTICED by {', '.join(tests)}" if tests else f"{len(rule.tests)} noticed"
        print(f"{told}: {rule.name}")  # noqa: T201 - a command that prints
    return 1 if any(unnoticed) else 0


def _unnoticed(rule: Rule, breaks: list[Break]) -> list[str]:
    """The tests of a rule that fail under none of its breaks."""
    noticed: set[str] = set()
    for one in breaks:
        noticed |= _failures(rule, one)
    return [test for test in rule.tests if test not in noticed]


def _failures(rule: Rule, one: Break) -> set[str]:
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "broken"
        _copy(copy)
        (Path(name) / "shared").symlink_to(ROOT.parent / "shared")
        (copy / one.file).write_text(one.text())
        argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *rule.tests]
        paths = os.pathsep.join(str(copy / room) for room in _ROOMS)
        done = subprocess.run(
            argv,
            cwd=copy,
            env=os.environ | {"PYTHONPATH": paths},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    return {test for _, test in _SUMMARY.findall(done.stdout)}


def _copy(copy: Path) -> None:
    copy.mkdir()
    for folder in _SOURCES:
        if (ROOT / folder).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    for file in ROOT.glob("*.*"):
        if file.is_file():
            shutil.copy(file, copy)


if __name__ == "__main__":
    sys.exit(main())
