"""The table of rules is complete, and speaks of tests and code that exist.

That each test finds its rule broken takes minutes: `make conformance` shows it.
"""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.conformance.table import ROOT, Break, Rule, read_breaks, read_rules

RULES = read_rules()
BREAKS = read_breaks()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_no_cell_is_empty(rule: Rule) -> None:
    """Every rule has a behaviour and a test that exists."""
    assert rule.behaviour
    assert rule.tests
    for test in rule.tests:
        file, _, name = test.partition("::")
        assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE), test


def test_every_rule_has_a_break() -> None:
    """Every rule of the table, and no other, has a break; no rule stands there twice."""
    names = [rule.name for rule in RULES]

    assert Counter(names).most_common(1)[0][1] == 1
    assert {one.rule for one in BREAKS} == set(names)


@pytest.mark.parametrize("one", BREAKS, ids=lambda one: one.rule)
def test_breaks_fit_the_code(one: Break) -> None:
    """A break changes a place that stands in the code once, and changes it."""
    assert one.text() != (ROOT / one.file).read_text()


def test_breaks_are_code(tmp_path: Path) -> None:
    """A break compiles and uses no name that is not there: what fails is to be its rule."""
    for number, one in enumerate(BREAKS):
        (tmp_path / f"break_{number}_{one.file.name}").write_text(one.text())
    argv = [sys.executable, "-m", "ruff", "check", "--isolated", "--select=E9,F821"]
    done = subprocess.run([*argv, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
