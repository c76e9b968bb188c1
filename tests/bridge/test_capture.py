"""Any value as JSON text: never raising, always bounded, always canonical."""

import json
from collections import OrderedDict, deque, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intentproof_schemas import canonical

from otel_bridge.capture import CHARS_MAX, VALUES_MAX, json_text


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


@dataclass
class Order:
    number: int
    lines: list[str]


Point = namedtuple("Point", "x y")  # noqa: PYI024 - the kind that programs still have


class Plain:
    pass


class Hostile:
    """Raises wherever it is asked."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


class HostileMapping(OrderedDict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        ("é\ud800", '"é\ufffd"'),
        (2**53, '"9007199254740992"'),
        (-1.5, "-1.5"),
        (float("nan"), '"NaN"'),
        (float("-inf"), '"-Infinity"'),
        (b"\x00\xff", '"AP8="'),
        (bytearray(b"a"), '"YQ=="'),
        (Colour.RED, '"red"'),
        (Level.HIGH, "3"),
        (Decimal("12.50"), '"12.50"'),
        (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (date(2026, 11, 21), '"2026-11-21"'),
        (datetime(2026, 11, 21, tzinfo=UTC), '"2026-11-21T00:00:00+00:00"'),
        (timedelta(minutes=1.5), "90"),
        (PurePosixPath("/etc"), '"/etc"'),
        (Order(7, ["a"]), '{"lines":["a"],"number":7}'),
        (Point(1, 2), '{"x":1,"y":2}'),
        ({3, 1, 2}, "[1,2,3]"),
        (deque([1]), "[1]"),
        ({1: "a", None: "b", Colour.RED: "c"}, '{"1":"a","null":"b","red":"c"}'),
        (Order, "\"<class 'tests.bridge.test_capture.Order'>\""),
        (Plain(), '"<tests.bridge.test_capture.Plain>"'),
        (range(3), '"range(0, 3)"'),
        (Hostile(), '"(not readable: tests.bridge.test_capture.Hostile)"'),
        ([1, HostileMapping()], '[1,"(not readable: tests.bridge.test_capture.HostileMapping)"]'),
    ],
)
def test_values(value: Any, text: str) -> None:
    """Each kind of value has one text."""
    assert json_text(value) == text


def test_what_refers_to_itself_ends() -> None:
    """A cycle is named, and the same value twice is no cycle."""
    cycle: list[Any] = [1]
    cycle.append(cycle)
    twice = ["a"]
    assert json_text(cycle) == '[1,"(refers to itself)"]'
    assert json_text([twice, twice]) == '[["a"],["a"]]'


def test_depth_is_bounded() -> None:
    """What is nested without end is cut, and said to be."""
    value: list[Any] = []
    for _ in range(10_000):
        value = [value]
    assert "(nested too deeply)" in json_text(value)


def test_size_is_bounded() -> None:
    """Neither many values nor long texts can make an event that nobody takes."""
    assert json_text("x" * (CHARS_MAX + 1)) == f'"(left out: {CHARS_MAX + 1} characters)"'
    assert json_text(b"x" * (CHARS_MAX + 1)) == f'"(left out: {CHARS_MAX + 1} bytes)"'
    many = json.loads(json_text(list(range(VALUES_MAX * 2))))
    assert len(many) == VALUES_MAX
    assert many[-1] == "(left out: too many values)"
    assert len(json_text({str(number) * 100: "y" * 500 for number in range(5000)})) < 2**20


def test_iterators_are_not_consumed() -> None:
    """Looking at a value does not use it up."""
    iterator = iter([1, 2])
    json_text(iterator)
    assert list(iterator) == [1, 2]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner)
        ),
    )
)
def test_the_text_is_always_canonical(value: Any) -> None:
    """Whatever comes, the text is JSON in its canonical form."""
    text = json_text(value)
    # A double from 2^53 on is written without a point; only its type tells it from an integer.
    read = json.loads(
        text, parse_int=lambda digits: float(digits) if len(digits) > 15 else int(digits)
    )
    assert canonical(read).decode() == text
