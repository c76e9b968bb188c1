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

_COPIED = ("otel_bridge", "receiver", "store", "schemas", "tests", "fuzz")
_LINKED = ("collector", "docs", "examples")
_ROOMS = ("", "receiver", "store", "schemas")
_SECONDS = 900
_TEST_SECONDS = 90  # a break may let a test wait for what never comes
# FAILED is a test whose own code failed. An ERROR is one that never began: it has noticed nothing.
_FAILED = re.compile(r"^FAILED (\S+?::\w+)", re.MULTILINE)
# Loaded before any test: broken code that cannot even be imported ends here, and no test fails.
_FIRST = ("intentproof_receiver.doctor", "intentproof_receiver.quarantine_commands")
_OPTIONS = ("-q", "--tb=no", *(f"-p{name}" for name in ("no:cacheprovider", *_FIRST)))
_COMMAND = Path(sys.executable).with_name("intentproof-otel")


def main() -> int:
    """Print a line a rule, as soon as it is known."""
    _check_paths()
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
        done = _test(copy, tests)
    if done.returncode != 0:
        return f"WRONG with nothing broken: {done.stdout}{done.stderr}", False
    return f"{len(tests)} tests pass with nothing broken", True


def _tell(rule: Rule, breaks: Sequence[Break]) -> tuple[str, bool]:
    noticed: set[str] = set()
    wrong = []
    for number, one in enumerate(breaks, 1):
        with _copied() as copy:
            (copy / one.file).write_text(one.text())
            done = _test(copy, rule.tests)
        failed = set(_FAILED.findall(done.stdout))
        if not failed:
            lines = (done.stdout + done.stderr).splitlines()[-3:]
            wrong.append(f"break {number} noticed by none ({' '.join(lines)})")
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
        for folder in _COPIED:
            shutil.copytree(ROOT / folder, copy / folder, ignore=_unneeded)
        for folder in _LINKED:
            if (ROOT / folder).is_dir():
                (copy / folder).symlink_to(ROOT / folder)
        (copy / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
        (Path(name) / "shared").symlink_to(ROOT.parent / "shared")
        yield copy


def _unneeded(_: str, names: list[str]) -> set[str]:
    return {"node_modules"} & set(names)


def _test(copy: Path, tests: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    options = (*_OPTIONS, f"--timeout={_TEST_SECONDS}")
    return _run(copy, sys.executable, "-m", "pytest", *options, *tests)


def _check_paths() -> None:
    """Raises where a copy's code is not what its commands run."""
    with _copied() as copy:
        place = copy / "receiver" / "intentproof_receiver" / "cli.py"
        place.write_text("def main(): print(__file__)")
        done = _run(copy, _COMMAND)
    if done.stdout.strip() != str(place):
        raise RuntimeError(f"{_COMMAND} runs {done.stdout}{done.stderr}, not {place}")


def _run(copy: Path, *argv: "str | Path") -> "subprocess.CompletedProcess[str]":
    # Before the editable installation in site-packages, in processes that tests start too.
    paths = os.pathsep.join(str(copy / room) for room in _ROOMS)
    return subprocess.run(
        argv,
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
