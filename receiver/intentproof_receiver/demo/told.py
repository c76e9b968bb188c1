"""What the demo says: numbered steps, command lines and their output."""

import os
import sys
import time
from dataclasses import dataclass, field

from ..errors import ReceiverError

_HEAD = 2  # lines


class Differs(ReceiverError):
    """Something did not go as told; `exit_code` is the demo's own."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass
class Told:
    """What the demo says: numbered steps, command lines, output. Colour only on a terminal."""

    began: float = field(default_factory=time.monotonic)
    steps: int = 0

    def title(self, text: str) -> None:
        """Say what begins, or what came of it."""
        self._write(f"\n{self._styled(text, '1')}\n")

    def step(self, text: str) -> None:
        """Begin the next step."""
        self.steps += 1
        self._write("\n" + self._styled(f"{self.steps}. {text}", "1") + "\n")

    def shell(self, command: str) -> None:
        """Show a command line that anyone can repeat in the demo's folder."""
        self._write("   " + self._styled(f"$ {command}", "36") + "\n")

    def line(self, text: str) -> None:
        """Say a line."""
        self._write(f"   {text}\n")

    def output(self, text: str, *, about: str = "") -> None:
        """Show what a command wrote: all of it, or its head and the lines about one thing."""
        lines = text.splitlines()
        shown = lines[:_HEAD] + [line for line in lines[_HEAD:] if about in line]
        for each in shown:
            self.line(each)
        if len(shown) < len(lines):
            self.line(f"  … and {len(lines) - len(shown)} lines more")

    def _styled(self, text: str, style: str) -> str:
        plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ
        return text if plain else f"\033[{style}m{text}\033[0m"

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
