"""SQL from outside: exactly one SELECT, that reads nothing but the views (contract §7).

1. The engine's own parser finds one statement, a SELECT.
2. Every node of its syntax tree reads: since DuckDB 2.0 a CTE may hold an INSERT or a COPY.
3. Every table function is one that opens no file and runs no other SQL.
4. The engine may open the reader's segments and nothing else, and its settings are locked.

(4) alone keeps one tenant from another; (2) and (3) keep a query from writing over a segment.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from .errors import QueryFailed, QueryRefused
from .reader import Reader

_NODES = frozenset(("SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"))
_FUNCTIONS = frozenset(
    ("unnest", "range", "generate_series", "json_each", "json_tree", "repeat", "repeat_row")
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_ROWS_AT_ONCE = 1_000


@dataclass(frozen=True)
class Answer:
    """The rows of a query, in chunks as they come. Iterate once; then the engine is free."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    chunks: Iterator[Sequence[tuple[Any, ...]]]


def ask(reader: Reader, statement: str) -> Answer:
    """Run SQL from outside over the views.

    Locks the reader: it is for such queries from then on and cannot be refreshed. Raises
    QueryRefused for what is not one SELECT, QueryFailed for what the engine cannot do.
    """
    checked = check_select(statement)
    lock_down(reader)
    cursor = reader.cursor()
    try:
        cursor.execute(checked)
        described = cursor.description or []
    except duckdb.Error as error:
        cursor.close()
        raise QueryFailed(str(error)) from error
    names = tuple(column[0] for column in described)
    return Answer(names, tuple(str(column[1]) for column in described), _chunks(cursor))


def _chunks(cursor: duckdb.DuckDBPyConnection) -> Iterator[Sequence[tuple[Any, ...]]]:
    try:
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            yield rows
    except (duckdb.Error, ValueError, OverflowError) as error:  # values that Python cannot hold
        raise QueryFailed(str(error)) from error
    finally:
        cursor.close()


def lock_down(reader: Reader) -> None:
    """Let the reader's engine open its segments and nothing else, for good."""
    with reader.cursor() as cursor:
        locked = cursor.execute("SELECT current_setting('lock_configuration')").fetchone()
        if locked and locked[0]:
            return
        cursor.execute("SET allowed_paths = ?", [[str(path) for path in reader.paths]])
        cursor.execute("SET enable_external_access = false")
        cursor.execute("SET lock_configuration = true")


def check_select(statement: str) -> str:
    """The one SELECT that the text is, to be run as it stands here.

    Raises QueryRefused if it is anything else or does more than read, QueryFailed if it is no SQL.
    """
    if "\0" in statement or _SURROGATE.search(statement):
        raise QueryFailed("a NUL or a lone surrogate is no SQL")
    with duckdb.connect() as parser:
        try:
            found = parser.extract_statements(statement)
        except duckdb.Error as error:
            raise QueryFailed(str(error)) from error
        if len(found) != 1 or found[0].type != duckdb.StatementType.SELECT:  # (1)
            raise QueryRefused("exactly one SELECT is allowed")
        checked: str = found[0].query
        row = parser.execute("SELECT json_serialize_sql(?)", [checked]).fetchone()
    try:
        tree = json.loads(row[0] if row else "")
    except (ValueError, RecursionError) as error:
        raise QueryRefused("this query is too deep to be checked") from error
    if tree.get("error", True):
        raise QueryRefused(f"this cannot be checked: {tree.get('error_message', 'no tree')}")
    for node in _nodes(tree):
        _check_node(node)
    return checked


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object in a syntax tree, however deep."""
    left = [tree]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            yield node
            left.extend(node.values())
        elif isinstance(node, list):
            left.extend(node)


def _check_node(node: dict[str, Any]) -> None:
    kind = str(node.get("type", ""))
    if kind.endswith("_NODE") and kind not in _NODES:  # (2)
        raise QueryRefused(f"only reading is allowed, not {kind.removesuffix('_QUERY_NODE')}")
    if kind == "TABLE_FUNCTION":  # (3)
        name = str(node.get("function", {}).get("function_name", "")).lower()
        if name not in _FUNCTIONS:
            raise QueryRefused(f"the table function {name}() is not allowed")
