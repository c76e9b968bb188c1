"""Who may import whom, and how large things may grow, as a test.

Each rule reads sources as text, so that it can also be shown a deliberate violation.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILE_LINES_MAX, FUNCTION_LINES_MAX = 300, 70

SCHEMAS, BRIDGE = "intentproof_schemas", "otel_bridge"
STORE, RECEIVER = "intentproof_store", "intentproof_receiver"
FOLDERS = {
    SCHEMAS: ROOT / "schemas",
    BRIDGE: ROOT,
    STORE: ROOT / "store",
    RECEIVER: ROOT / "receiver",
}
ROOMS = {SCHEMAS: set[str](), BRIDGE: {SCHEMAS}, STORE: {SCHEMAS}, RECEIVER: {SCHEMAS, STORE}}
OTHERS = {
    SCHEMAS: {"orjson", "rfc8785"},
    BRIDGE: {"opentelemetry", "orjson"},
    STORE: {
        *("cryptography", "duckdb", "jsonschema", "numpy", "orjson", "pyarrow"),
        *("rfc3161_client", "zstandard"),
    },
    RECEIVER: {
        *(
            "cramjam",
            "cryptography",
            "fastapi",
            "google",
            "grpc",
            "grpc_health",
            "numpy",
            "opentelemetry",
            "orjson",
            "prometheus_client",
        ),
        *("ptars", "pyarrow", "starlette", "uvicorn", "yaml", "zstandard"),
    },
}
# What one module may import beyond its room.
MORE = {
    "otel_bridge.grpc_transport": {"grpc", "google"},
    "otel_bridge.http_transport": {"requests", "google"},
    "intentproof_receiver.smoke_client": {"requests"},  # the session of OpenTelemetry's exporter
    # A customer's program, which the demo copies and runs: it uses the bridge as customers do.
    "intentproof_receiver.demo.story": {BRIDGE},
}
# Nobody imports these where a module begins: they bring a network library, or are no part of us.
LAZY = {"otel_bridge.grpc_transport", "otel_bridge.http_transport"}
NEVER_IMPORTED = {"intentproof_receiver.demo.story"}
ONLY_STANDARD_LIBRARY = {"intentproof_receiver.cli"}

# What `verify` may use of the store, whole modules or single names: nothing that writes.
PURE: dict[str, set[str] | None] = {
    **dict.fromkeys(
        (
            *(
                "anchors",
                "bloom",
                "columns",
                "cosignature",
                "cosigned",
                "errors",
                "extension",
                "files",
                "footers",
            ),
            *("frames", "layout", "merkle", "note", "period", "policy", "ranges", "receipt"),
            "tokens",
        )
    ),
    **dict.fromkeys(f"bundle.{name}" for name in ("archive", "content", "files", "proof")),
    "hotlog": {"hot_files", "hot_writers", "read_hot"},
    "present": {"cell", "shown"},
    "proofrecords": None,
    "rowcheck": None,
    "identity": {"last_checkpoints", "read_hot_key", "read_vkeys", "trusted_keys"},
    "segments": {
        *("Segment", "SegmentProblem", "file_sha256", "find_segments", "read_segment_note"),
    },
    "tree": {"tile_hashes"},
}
PENS = (
    *("ledger", "writer", "clerk", "recovery", "replay", "sameness", "tenantlog", "logfactory"),
    *("rows", "leafcolumns", "events", "arrivals", "rounds", "rotation"),
)


@dataclass(frozen=True)
class Import:
    """`name` of `module`, absolute; of `import a.b` the name is empty."""

    module: str
    name: str
    line: int
    at_top: bool
    is_relative: bool

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


@dataclass(frozen=True)
class Source:
    """One module's text."""

    module: str
    text: str
    is_package: bool = False

    @property
    def room(self) -> str:
        return self.module.partition(".")[0]

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def imports(self) -> list[Import]:
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                of = self._absolute(node) if isinstance(node, ast.ImportFrom) else ""
                relative = isinstance(node, ast.ImportFrom) and node.level > 0
                for one in node.names:
                    module, name = (of, one.name) if of else (one.name, "")
                    at_top = node in self.tree.body
                    found.append(Import(module, name, node.lineno, at_top, relative))
        return found

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.module.split(".")
        base = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*base, *([node.module] if node.module else [])])


Sources = dict[str, Source]
Rule = Callable[[Sources], Iterator[str]]


def target(imported: Import, sources: Sources) -> str:
    """The module that an import reaches: `from . import x` reaches x where that is a module."""
    inner = f"{imported.module}.{imported.name}"
    return inner if inner in sources else imported.module


def rooms_know_only_their_neighbours(sources: Sources) -> Iterator[str]:
    """A room imports the rooms and libraries that the architecture draws, and no others."""
    for source in sources.values():
        allowed = ROOMS[source.room] | OTHERS[source.room] | MORE.get(source.module, set())
        allowed |= {source.room} | sys.stdlib_module_names
        for one in source.imports:
            if one.top not in allowed:
                yield f"{source.module}:{one.line} imports {one.module}"


def rooms_are_entered_by_the_front_door(sources: Sources) -> Iterator[str]:
    """Across rooms only `from room import name`, of names that the room's face has."""
    for source in sources.values():
        for one in source.imports:
            if one.top in ROOMS and one.top != source.room:
                face = sources.get(one.top)
                known = face is None or one.name in names_of_all(face)
                if one.module != one.top or not one.name or not known:
                    yield f"{source.module}:{one.line} reaches into {one.module}.{one.name}"


def inside_a_room_imports_are_relative(sources: Sources) -> Iterator[str]:
    """A module names its own room by dots."""
    for source in sources.values():
        for one in source.imports:
            if one.top == source.room and not one.is_relative:
                yield f"{source.module}:{one.line} imports {one.module} absolutely"


def network_libraries_come_late(sources: Sources) -> Iterator[str]:
    """What brings a network library into a customer's program is imported inside a function."""
    for source in sources.values():
        for one in source.imports:
            reached = target(one, sources)
            if reached in NEVER_IMPORTED or (reached in LAZY and one.at_top):
                yield f"{source.module}:{one.line} imports {reached}"


def the_judge_knows_only_the_pure_parts(sources: Sources) -> Iterator[str]:
    """`verify` imports what is pure, and reaches no module of the writer by any way."""
    for source in sources.values():
        if not source.module.startswith(f"{STORE}.verify"):
            continue
        for one in source.imports:
            reached = target(one, sources)
            if one.top != STORE or reached.startswith(f"{STORE}.verify"):
                continue
            part = reached.removeprefix(STORE).lstrip(".")
            names = PURE.get(part, set())
            if part not in PURE or (names is not None and one.name not in names):
                yield f"{source.module}:{one.line} imports {one.name} of {reached}"
        for pen in sorted(reachable(source.module, sources) & {f"{STORE}.{pen}" for pen in PENS}):
            yield f"{source.module} reaches {pen}"


def reachable(start: str, sources: Sources) -> set[str]:
    """Every module of ours that importing `start` needs; packages above it do not count."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        source = sources.get(waiting.pop())
        if source is None or source.module in seen:
            continue
        seen.add(source.module)
        waiting += [target(one, sources) for one in source.imports]
    return seen


def the_command_line_needs_nothing(sources: Sources) -> Iterator[str]:
    """The console script imports the standard library alone."""
    for source in sources.values():
        if source.module in ONLY_STANDARD_LIBRARY:
            for one in source.imports:
                if one.top not in sys.stdlib_module_names:
                    yield f"{source.module}:{one.line} imports {one.module}"


def imports_have_no_cycles(sources: Sources) -> Iterator[str]:
    """No module imports itself by any way, functions included."""
    for source in sources.values():
        for one in source.imports:
            first = target(one, sources)
            if first in sources and source.module in reachable(first, sources):
                yield f"{source.module}:{one.line} is imported by {first}"


def names_of_all(source: Source) -> list[str]:
    for node in source.tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
    return []


def faces_hold_no_code(sources: Sources) -> Iterator[str]:
    """`__init__.py` has a docstring, imports, and `__all__` with exactly what is imported."""
    for source in sources.values():
        if not source.is_package:
            continue
        if not ast.get_docstring(source.tree):
            yield f"{source.module} has no docstring"
        imported = []
        for node in source.tree.body[1:]:
            if isinstance(node, ast.ImportFrom):
                imported += [one.asname or one.name for one in node.names]
            elif ast.unparse(node).partition(" = ")[0] != "__all__":
                yield f"{source.module}:{node.lineno} is code"
        if sorted(imported) != sorted(names_of_all(source)):
            odd = set(imported) ^ set(names_of_all(source))
            yield f"{source.module}: __all__ and imports differ in {sorted(odd)}"


def things_stay_small(sources: Sources) -> Iterator[str]:
    """Files have at most 300 lines, functions 70 without their docstring."""
    for source in sources.values():
        lines = len(source.text.splitlines())
        if lines > FILE_LINES_MAX:
            yield f"{source.module} has {lines} lines"
        for node in ast.walk(source.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if ast.get_docstring(node) is not None:
                    doc = node.body[0]
                    length -= (doc.end_lineno or 0) - doc.lineno + 1
                if length > FUNCTION_LINES_MAX:
                    yield f"{source.module}:{node.lineno} {node.name} has {length} lines"


def each_test_says_what_it_shows(sources: Sources) -> Iterator[str]:
    """Each test has a docstring of one sentence."""
    for source in sources.values():
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if node.name.startswith("test_"):
                words = " ".join((ast.get_docstring(node) or "").split())
                if not words.endswith((".", "?")) or re.search(r"[.?!] [A-Z]", words):
                    yield f"{source.module}:{node.lineno} {node.name}: {words!r}"


RULES: list[Rule] = [
    rooms_know_only_their_neighbours,
    rooms_are_entered_by_the_front_door,
    inside_a_room_imports_are_relative,
    network_libraries_come_late,
    the_judge_knows_only_the_pure_parts,
    the_command_line_needs_nothing,
    imports_have_no_cycles,
    faces_hold_no_code,
    things_stay_small,
]


def read_sources(folder: Path, package: str) -> Sources:
    sources = {}
    for path in sorted((folder / package).rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        sources[module] = Source(module, path.read_text(), is_package)
    return sources


@pytest.fixture(scope="module")
def ours() -> Sources:
    """Every module of the four rooms."""
    found: Sources = {}
    for room, folder in FOLDERS.items():
        found |= read_sources(folder, room)
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.__name__))
def test_the_house(rule: Rule, ours: Sources) -> None:
    """All four rooms keep the rule."""
    assert list(rule(ours)) == []


def test_the_tests() -> None:
    """Every test of ours has a docstring of one sentence."""
    assert list(each_test_says_what_it_shows(read_sources(ROOT, "tests"))) == []


@pytest.mark.parametrize("room", ROOMS)
def test_faces(room: str, ours: Sources) -> None:
    """What a room's `__all__` names can be imported."""
    module = import_module(room)
    assert [name for name in names_of_all(ours[room]) if not hasattr(module, name)] == []


def test_every_module_is_read(ours: Sources) -> None:
    """The rules look at every room, and the exceptions name modules that exist."""
    assert {source.room for source in ours.values()} == set(ROOMS)
    assert set(MORE) | LAZY | NEVER_IMPORTED | ONLY_STANDARD_LIBRARY <= set(ours)
    assert {f"{STORE}.{part}" for part in (*PURE, *PENS)} <= set(ours)


def house(**texts: str) -> Sources:
    """Sources by module name, `__` for a dot; a name that ends so is a package."""
    found: Sources = {}
    for key, text in texts.items():
        name = key.removesuffix("__").replace("__", ".")
        found[name] = Source(name, text, key.endswith("__"))
    return found


LONG = "def f() -> None:\n" + "    x = 1\n" * 70
ACROSS = rooms_know_only_their_neighbours
DOOR = rooms_are_entered_by_the_front_door
JUDGE = the_judge_knows_only_the_pure_parts
DOC = '"""Doc."""\n'


@pytest.mark.parametrize(
    ("rule", "bad"),
    [
        (ACROSS, house(intentproof_schemas__leaf="import intentproof_store")),
        (ACROSS, house(intentproof_schemas__leaf="def f():\n    import duckdb")),
        (ACROSS, house(intentproof_store__ledger="from intentproof_receiver import Outcome")),
        (ACROSS, house(intentproof_receiver__serve="from otel_bridge import proof")),
        (ACROSS, house(otel_bridge__processor="import grpc")),
        (DOOR, house(intentproof_receiver__x="from intentproof_store.ledger import Ledger")),
        (DOOR, house(intentproof_receiver__x="import intentproof_store.ledger")),
        (DOOR, house(intentproof_receiver__x="import intentproof_store")),
        (
            DOOR,
            house(
                intentproof_store__="__all__ = ['Ledger']",
                intentproof_receiver__x="from intentproof_store import ledger",
            ),
        ),
        (
            inside_a_room_imports_are_relative,
            house(otel_bridge__x="from otel_bridge.intent import intent_span"),
        ),
        (inside_a_room_imports_are_relative, house(otel_bridge__x="import otel_bridge.intent")),
        (
            network_libraries_come_late,
            house(otel_bridge__x="from .grpc_transport import GrpcTransport"),
        ),
        (
            network_libraries_come_late,
            house(
                intentproof_receiver__demo__command="from . import story",
                intentproof_receiver__demo__story="",
            ),
        ),
        (JUDGE, house(intentproof_store__verify__judge="from ..ledger import Ledger")),
        (JUDGE, house(intentproof_store__verify__judge="from ..hotlog import HotLog")),
        (JUDGE, house(intentproof_store__verify__judge="from .. import hotlog")),
        (JUDGE, house(intentproof_store__verify__judge="from .. import Ledger")),
        (
            JUDGE,
            house(
                intentproof_store__verify__judge="from ..segments import find_segments",
                intentproof_store__segments="def f():\n    from .clerk import Clerk",
                intentproof_store__clerk="",
            ),
        ),
        (the_command_line_needs_nothing, house(intentproof_receiver__cli="import orjson")),
        (the_command_line_needs_nothing, house(intentproof_receiver__cli="from . import serve")),
        (
            imports_have_no_cycles,
            house(
                intentproof_store__a="from .b import x",
                intentproof_store__b="from . import c",
                intentproof_store__c="def f():\n    from .a import y",
            ),
        ),
        (faces_hold_no_code, house(otel_bridge__=f"{DOC}VERSION = 1")),
        (faces_hold_no_code, house(otel_bridge__="from .a import b\n__all__ = ['b']")),
        (faces_hold_no_code, house(otel_bridge__=f"{DOC}from .a import b, c\n__all__ = ['b']")),
        (faces_hold_no_code, house(otel_bridge__=f"{DOC}from .a import b\n__all__ = ['b', 'c']")),
        (things_stay_small, house(otel_bridge__x=LONG)),
        (things_stay_small, house(otel_bridge__x="x = 1\n" * 301)),
        (each_test_says_what_it_shows, house(tests__x="def test_x(): pass")),
        (each_test_says_what_it_shows, house(tests__x="def test_x():\n    'No full stop'")),
        (
            each_test_says_what_it_shows,
            house(tests__x="def test_x():\n    'One thing. And another.'"),
        ),
    ],
)
def test_a_violation_is_caught(rule: Rule, bad: Sources) -> None:
    """Each rule catches what it is there for."""
    assert len(list(rule(bad))) >= 1


@pytest.mark.parametrize("rule", [*RULES, each_test_says_what_it_shows])
def test_what_is_right_passes(rule: Rule) -> None:
    """No rule complains of a small house that is in order."""
    good = house(
        intentproof_schemas__=f"{DOC}from .leaf import leaf\n__all__ = ['leaf']",
        intentproof_schemas__leaf="import orjson\nfrom .errors import E",
        intentproof_schemas__errors="class E(Exception): ...",
        otel_bridge__sender="def f():\n    from .grpc_transport import G",
        otel_bridge__grpc_transport="import grpc",
        intentproof_store__verify__judge="from ..merkle import root\nfrom .report import R",
        intentproof_store__verify__report="from ..hotlog import read_hot",
        intentproof_store__hotlog="from .durable import sync_folder",
        intentproof_receiver__serve="from intentproof_schemas import leaf",
        intentproof_receiver__cli="import sys\nNAME = 'intentproof_store.commands'",
        intentproof_receiver__x=LONG.replace("    x = 1\n", f"    {DOC}", 1),
    )
    assert list(rule(good)) == []
