"""Marks of event ids: the same for the same id, others for any other, whoever chose them."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_store.verify.event_ids import Marker, new_seed, repeated

from tests.examples import examples

IDS = st.lists(st.text(max_size=70), max_size=30)


def marked(marker: Marker, ids: list[str]) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for a, b in marker.marks(pa.array(ids, pa.string()))]


@given(IDS, st.integers(0, 2**128 - 1))
@settings(max_examples=examples(300))
def test_marks_are_equal_where_ids_are(ids: list[str], seed: int) -> None:
    """Whatever stands beside an id, its mark is its own."""
    together = marked(Marker(seed), ids)
    alone = [marked(Marker(seed), [each])[0] for each in ids]
    assert together == alone
    assert len(set(together)) == len(set(ids))


@given(IDS)
@settings(max_examples=examples(300))
def test_each_repetition_is_found_with_its_first(ids: list[str]) -> None:
    """What `repeated` names is what a look at the ids themselves finds."""
    found = repeated(Marker(1).marks(pa.array(ids, pa.string())))
    first: dict[str, int] = {}
    expected = []
    for place, each in enumerate(ids):
        if each in first:
            expected.append((place, first[each]))
        first.setdefault(each, place)
    assert sorted(found) == expected


def test_ids_that_only_differ_in_zeros_differ() -> None:
    """The length counts, so that what is filled up to a word is no other id."""
    ids = ["", "\0", "\0\0", "\0" * 4, "a", "a\0", "a" * 256, "a" * 257, "a" * 258]
    assert repeated(Marker(2).marks(pa.array(ids, pa.string()))) == []


def test_a_part_of_a_column_has_the_marks_of_its_ids() -> None:
    """A slice shares its buffers with the whole."""
    whole = pa.array([f"event-{number}" for number in range(100)], pa.string())
    marker = Marker(3)
    assert (marker.marks(whole.slice(40, 20)) == marker.marks(whole)[40:60]).all()


def test_marks_of_two_runs_have_nothing_in_common() -> None:
    """A producer cannot look for two ids with one mark: the next run draws other numbers."""
    one, other = Marker(new_seed()), Marker(new_seed())
    assert marked(one, ["e"]) != marked(other, ["e"])
