"""Ids in memory: exact whatever their hashes, and far smaller than Python's own objects."""

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_store.digests import Digests
from intentproof_store.idtable import IdKeys, IdTable

UUID = "f41a19c7-e5c4-85c6-a890-910c422fcd5c"


def keys_of(numbers: list[int], *, hash_bits: int) -> IdKeys:
    """Keys of numbers, of whose hashes only some bits differ: most of them collide."""
    keys = np.array([(number, number * 7 + 1) for number in numbers], np.uint64).reshape(-1, 2)
    return IdKeys(keys, keys[:, 0] & np.uint64((1 << hash_bits) - 1))


def cells(numbers: list[int]) -> Any:
    return np.array([(number, ~number & 0xFF) for number in numbers], np.uint64).reshape(-1, 2)


@given(
    st.lists(st.lists(st.integers(0, 5000), unique=True, max_size=300), max_size=12),
    st.integers(0, 13),
    st.integers(0, 2000),
)
@settings(deadline=None, max_examples=60)
def test_a_table_finds_what_was_added_and_nothing_else(
    batches: list[list[int]], hash_bits: int, kept: int
) -> None:
    """However hashes collide and whatever is taken back, an id is found exactly where it stands."""
    table, model = IdTable(), list[int]()
    for batch in batches:
        new = [number for number in batch if number not in set(model)]
        table.add(keys_of(new, hash_bits=hash_bits), cells(new), None)
        model += new
        everything = keys_of([*range(5001)], hash_bits=hash_bits)
        places = {number: place for place, number in enumerate(model)}
        assert table.find(everything).tolist() == [places.get(n, -1) for n in range(5001)]
    table.truncate(kept)
    model = model[:kept]
    assert len(table) == len(model)
    assert table.find(keys_of(model, hash_bits=hash_bits)).tolist() == [*range(len(model))]
    for place, number in enumerate(model[:20]):
        content, no_number = table.row(place)
        assert (content, no_number) == (cells([number]).tobytes(), bytes(16))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(0, 4))
def test_repeated_ids_are_all_marked(numbers: list[int], hash_bits: int) -> None:
    """Every row whose id stands twice is marked, and where hashes tell ids apart no other."""
    marked = keys_of(numbers, hash_bits=hash_bits).repeated().tolist()
    twice = [numbers.count(number) > 1 for number in numbers]
    assert [mark and again for mark, again in zip(marked, twice, strict=True)] == twice
    assert hash_bits < 4 or marked == twice


def test_an_id_costs_about_a_hundred_bytes() -> None:
    """A hundred thousand ids with content and number take at most 130 bytes each."""
    digests, table = Digests(), IdTable()
    for at in range(0, 100_000, 500):
        ids = digests.keyed(np.arange(2 * at, 2 * at + 1000, dtype=np.uint64).tobytes())
        table.add(ids, ids.keys, ids.keys)
    assert table.nbytes <= 130 * len(table)


@given(
    st.lists(
        st.one_of(
            st.sampled_from(["", UUID, UUID.upper(), UUID.replace("-", ""), UUID[:-1] + " "]),
            st.sampled_from([UUID.replace("-", "", 1) + "-", f"{{{UUID}}}", UUID[:-2] + "é"]),
            st.uuids().map(str),
            st.text(st.characters(codec="utf-8"), max_size=40),
        ),
        max_size=6,
    )
)
@settings(deadline=None)
def test_two_ids_have_one_key_only_if_they_are_the_same_text(ids: list[str]) -> None:
    """In one batch or in several, keys are equal exactly where texts are."""
    digests = Digests()
    together = digests.ids(pa.array(ids, pa.string())).texts()
    alone = [digests.ids(pa.array([each], pa.string())).texts()[0] for each in ids]
    assert together == alone
    assert len(set(together)) == len(set(ids))
    sliced = digests.ids(pa.array([UUID, *ids, "x"], pa.string()).slice(1, len(ids)))
    assert sliced.texts() == together


def test_keys_cannot_be_foreseen() -> None:
    """Two processes have other hashes for a UUID, and other keys for an id that is none."""
    one, two = Digests(), Digests()
    column = pa.array([UUID])
    assert one.ids(column).hashes[0] != two.ids(column).hashes[0]
    assert one.ids(pa.array(["x"])).texts() != two.ids(pa.array(["x"])).texts()


def test_identity_rests_on_both_halves_of_a_key() -> None:
    """Keys that share one half and their hash are found each at its own place, or not at all."""
    keys = np.array([(1, 1), (1, 2), (2, 1), (2, 2)], np.uint64)
    ids, table = IdKeys(keys, np.zeros(4, np.uint64)), IdTable()
    table.add(IdKeys(keys[:3], ids.hashes[:3]), keys[:3], None)
    assert table.find(ids).tolist() == [0, 1, 2, -1]
