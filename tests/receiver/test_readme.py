"""The README says what the code does."""

import re
from dataclasses import fields
from pathlib import Path

from intentproof_receiver.config import Config

ROOM = Path(__file__).parents[2] / "receiver"
README = (ROOM / "README.md").read_text(encoding="utf-8")


def test_every_setting_is_explained() -> None:
    """Each setting has a row with its default."""
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| `?([^`|]+?)`? \|", README, flags=re.M))
    assert list(rows) == [one.name for one in fields(Config)]
    for one in fields(Config):
        if one.name not in ("hot", "quotas", "witnesses"):
            assert rows[one.name] == shown(one.default)


def shown(default: object) -> str:
    """A default as the table writes it."""
    if isinstance(default, float):
        return f"{default:g}"
    return str(default).lower() if default is None or isinstance(default, bool) else str(default)
