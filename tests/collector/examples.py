"""The examples for Collectors, as the table of examples/collector/README.md lists them."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.collector.processes import ROOT, clean_environment

FOLDER = ROOT / "examples" / "collector"
README = FOLDER / "README.md"
_ROW = re.compile(r"^\| (?P<name>[^|]+) \|.*\| `(?P<command>--config=[^`|]+)` \|$", re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """One row: its name and the configurations of its command line, the base first."""

    name: str
    configs: tuple[str, ...]

    @property
    def over_http(self) -> bool:
        return "collector-config.http.yaml" in self.configs

    @property
    def forwards_keys(self) -> bool:
        return "examples/collector/many-tenants.yaml" in self.configs


def rows(readme: str) -> list[Example]:
    """Every example of the table."""
    return [
        Example(row["name"].strip(), tuple(re.findall(r"--config=(\S+)", row["command"])))
        for row in _ROW.finditer(readme)
    ]


EXAMPLES = {example.name: example for example in rows(README.read_text())}


def validate(binary: Path, *configs: str) -> subprocess.CompletedProcess[str]:
    """Let the Collector judge configurations, with nothing set in the environment."""
    return run_collector(binary, "validate", *configs)


def run_collector(binary: Path, command: str, *configs: str) -> subprocess.CompletedProcess[str]:
    """One command of the Collector over configurations, from the repository's root."""
    argv = [str(binary), command, *(f"--config={config}" for config in configs)]
    return subprocess.run(
        argv,
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
