"""Sets of log indexes: what they hold is what a set of integers holds."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_store.ranges import INDEX_MAX, Ranges

from tests.examples import examples

INDEXES = st.lists(st.integers(0, 40), max_size=30)
PAIRS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5)), max_size=8)


def numbers(ranges: Ranges) -> set[int]:
    return {number for first, last in ranges.pairs for number in range(first, last + 1)}


@given(PAIRS, PAIRS, st.integers(0, 45), st.integers(0, 6))
@settings(max_examples=examples(300), deadline=None)
def test_a_set_of_ranges_is_a_set(
    some: list[tuple[int, int]], others: list[tuple[int, int]], first: int, more: int
) -> None:
    """Membership, meeting, covering and lacking are those of the integers."""
    one = Ranges.of((low, low + size) for low, size in some)
    other = Ranges.of((low, low + size) for low, size in others)
    inside = numbers(one)
    asked = set(range(first, first + more + 1))
    assert inside == {n for low, size in some for n in range(low, low + size + 1)}
    assert all(b[0] > a[1] + 1 for a, b in zip(one.pairs, one.pairs[1:], strict=False))
    assert len(one) == len(inside)
    assert one.contains(np.arange(60)).tolist() == [n in inside for n in range(60)]
    assert one.meets(first, first + more) is bool(inside & asked)
    assert one.covers(first, first + more) is (asked <= inside)
    assert one.meets_any(other) is bool(inside & numbers(other))
    lacked = {n for low, high in one.lacks(first, first + more) for n in range(low, high + 1)}
    assert lacked == asked - inside


@given(INDEXES, st.integers(1, 60), st.integers(1, 7))
@settings(max_examples=examples(200), deadline=None)
def test_lists_and_parts_are_the_whole(indexes: list[int], bytes_max: int, most: int) -> None:
    """Read back, or put together from its parts, a set is itself."""
    ranges = Ranges.of_indexes(indexes)
    assert ranges == Ranges.read(ranges.listed())
    assert ranges == Ranges.of_sorted(np.unique(np.array(indexes, np.int64)))
    assert ranges == Ranges.of(pair for part in ranges.pieces(bytes_max) for pair in part.pairs)
    parts = list(ranges.parts(most))
    assert all(0 < len(part) <= most for part in parts)
    assert ranges == Ranges.of(pair for part in parts for pair in part.pairs)


@pytest.mark.parametrize(
    ("listed", "below", "pairs"),
    [
        ([1, "2", 2.0, True, None, [3], [4, 5, 6], {}], 100, ((1, 1),)),
        ([[5, 2], [-3, 1], -1], 100, ((0, 1),)),
        ([[0, 2**70]], 7, ((0, 6),)),
        ([[0, 2**70]], INDEX_MAX + 1, ((0, INDEX_MAX),)),
        ([7, 9], 8, ((7, 7),)),
        ("1", 100, ()),
        (None, 100, ()),
    ],
)
def test_a_strange_list_is_read_for_what_it_holds(
    listed: Any, below: int, pairs: tuple[tuple[int, int], ...]
) -> None:
    """What is no index, no range, or not below the limit is passed over, however large."""
    assert Ranges.read(listed, below=below).pairs == pairs
