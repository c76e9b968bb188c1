"""The table of rules in receiver/README.md, and the breaks that its tests were seen to find."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "receiver" / "README.md"
BREAKS = Path(__file__).with_name("breaks.yaml")
_HEAD = "| rule | behaviour | test |"
_TEST = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


@dataclass(frozen=True)
class Rule:
    """One row: a rule, what we do about it, and the tests that hold it, as pytest names them."""

    name: str
    behaviour: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Break:
    """An edit of one source file that breaks a rule; `find` stands in the file exactly once."""

    rule: str
    file: Path
    find: str
    replace: str

    def text(self) -> str:
        """The file with the rule broken. Raises ValueError unless `find` stands there once."""
        source = (ROOT / self.file).read_text()
        if source.count(self.find) != 1:
            raise ValueError(f"{self.rule}: {source.count(self.find)} times in {self.file}")
        return source.replace(self.find, self.replace)


def read_rules() -> list[Rule]:
    """The rows of every table that has the head `rule | behaviour | test`."""
    return [_rule(line) for line in _rows(README.read_text().splitlines())]


def _rows(lines: list[str]) -> Iterator[str]:
    inside = False
    for line in lines:
        inside = line == _HEAD or (inside and line.startswith("|"))
        if inside and line != _HEAD and not line.startswith("|---"):
            yield line


def _rule(line: str) -> Rule:
    name, behaviour, tests = (cell.strip() for cell in line.strip("|").split(" | "))
    return Rule(name, behaviour, tuple(_node(*found) for found in _TEST.findall(tests)))


def _node(file: str, test: str) -> str:
    (path,) = (ROOT / "tests").rglob(file)
    return f"{path.relative_to(ROOT)}::{test}"


def read_breaks() -> list[Break]:
    """What stands in breaks.yaml: a mapping of rules to their breaks."""
    entries = yaml.safe_load(BREAKS.read_text())
    return [
        Break(rule, Path(one["file"]), one["find"], one["replace"])
        for rule, several in entries.items()
        for one in several
    ]
