"""Break each rule of receiver/README.md's table on purpose, and see its tests fail.

`make conformance`; names of rules on the command line are those to look at. Works on copies of the
sources. Exits with 1 if a test did not notice its rule broken under any break of the rule, if a
break was noticed by no test, or if a test fails where nothing is broken.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.conformance.table import ROOT, Break, Rule, read_breaks, read_rules

_PACKAGES = ("otel_bridge", "receiver", "store", "schemas", "tests")
_LINKED = ("collector", "examples")
_ROOMS = ("", "receiver", "store", "schemas")
_SECONDS = 900
_TEST_SECONDS = 90  # a break may let a test wait for what never comes
# FAILED is a test whose own code failed. An ERROR is one that never began: it has noticed nothing.
_FAILED = re.compile(r"^FAILED (\S+?::\w+)", re.MULTILINE)
# That the broken code runs at all, and is the copy's: also in commands that tests start.
_PROBE = (
    "import intentproof_receiver.doctor, intentproof_receiver.serve, intentproof_store.commands, sys; "
    "print(intentproof_receiver.serve.__file__, intentproof_store.__file__)"
)


def main() -> int:
    """Print a line a rule, as soon as it is known."""
    wanted = sys.argv[1:]
    rules = [rule for rule in read_rules() if not wanted or rule.name in wanted]
    breaks = read_breaks()
    found = True
    with ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool:
        unbroken = pool.submit(_unbroken, sorted({test for rule in rules for test in rule.tests}))
        told = [
            pool.submit(_tell, rule, [one for one in breaks if one.rule == rule.name])
            for rule in rules
        ]
        for future in told:
            line, good = future.result()
            print(line, flush=True)  # noqa: T201 - a command that prints
            found = found and good
        line, good = unbroken.result()
        print(line)  # noqa: T201 - a command that prints
    return 0 if found and good else 1


def _unbroken(tests: Sequence[str]) -> tuple[str, bool]:
    """All tests, with nothing broken: one that fails anyway notices nothing."""
    with _copied() as copy:
        failed = _failed(copy, tests)
    if failed:
        return f"FAIL with nothing broken: {', '.join(sorted(failed))}", False
    return f"{len(tests)} tests pass with nothing broken", True


def _tell(rule: Rule, breaks: Sequence[Break]) -> tuple[str, bool]:
    noticed: set[str] = set()
    wrong = []
    for number, one in enumerate(breaks, 1):
        with _copied() as copy:
            (copy / one.file).write_text(one.text())
            if _runs(copy):
                failed = _failed(copy, rule.tests)
            else:
                failed = set()
                wrong.append(f"break {number} does not run")
        if not failed:
            wrong.append(f"break {number} noticed by none")
        noticed |= failed
    wrong += [f"not noticed by {test}" for test in rule.tests if test not in noticed]
    if not wrong:
        return f"ok    {rule.name}: {len(breaks)} breaks, {len(rule.tests)} tests", True
    return f"WRONG {rule.name}: {'; '.join(wrong)}", False


@contextmanager
def _copied() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "copy"
        copy.mkdir()
        for folder in _PACKAGES:
            shutil.copytree(ROOT / folder, copy / folder, ignore=_unneeded)
        for folder in _LINKED:
            if (ROOT / folder).is_dir():
                (copy / folder).symlink_to(ROOT / folder)
        (copy / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
        (Path(name) / "shared").symlink_to(ROOT.parent / "shared")
        yield copy


def _unneeded(_: str, names: list[str]) -> set[str]:
    return {"node_modules"} & set(names)


def _runs(copy: Path) -> bool:
    """Whether the code of a copy can be imported, and is that of the copy."""
    done = _python(copy, "-c", _PROBE)
    return done.returncode == 0 and all(
        place.startswith(str(copy)) for place in done.stdout.split()
    )


def _failed(copy: Path, tests: Sequence[str]) -> set[str]:
    options = ("-q", "-p", "no:cacheprovider", "--tb=no", f"--timeout={_TEST_SECONDS}")
    return set(_FAILED.findall(_python(copy, "-m", "pytest", *options, *tests).stdout))


def _python(copy: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    # Before the editable installation in site-packages, in processes that tests start too.
    paths = os.pathsep.join(str(copy / room) for room in _ROOMS)
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": paths},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main())
