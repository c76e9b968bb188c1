"""What caused what: spans below their parents. Pure."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def span_tree(
    items: Sequence[Item], ids: Callable[[Item], tuple[str, str]]
) -> Iterator[tuple[int, Item]]:
    """Each item once, below its parent where that is known, with its depth.

    `ids` gives an item's span id and its parent's, "" where there is none. Siblings keep their
    order.
    """
    spans = {ids(each)[0]: each for each in reversed(items) if ids(each)[0]}
    children: dict[str, list[Item]] = {}
    for each in items:
        span, parent = ids(each)
        known = parent in spans and parent != span
        children.setdefault(parent if known else "", []).append(each)
    done: set[int] = set()
    # Spans that name each other as parents hang below no root: they come last, from the first on.
    for start in (*children.get("", ()), *items):
        waiting = [(0, start)]
        while waiting:
            depth, each = waiting.pop()
            if id(each) in done:
                continue
            done.add(id(each))
            yield depth, each
            span = ids(each)[0]
            if span and spans[span] is each:
                waiting += [(depth + 1, child) for child in reversed(children.get(span, ()))]
