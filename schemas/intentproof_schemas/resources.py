"""The JSON Schemas that ship as data."""

import json
from functools import cache
from importlib import resources
from typing import Any

_SUFFIX = ".schema.json"


def schema_names() -> tuple[str, ...]:
    """Names of the schemas that ship, such as `execution_event.v1`. Reads the package's data."""
    folder = resources.files(__package__) / "data"
    found = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX)))


@cache
def schema(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of that name. Raises FileNotFoundError for an unknown one."""
    folder = resources.files(__package__) / "data"
    document: dict[str, Any] = json.loads((folder / f"{name}{_SUFFIX}").read_text("utf-8"))
    return document
