"""Keys and digests of sameness: nobody outside the process can aim at one, and none is mistaken."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from intentproof_store import event_columns
from intentproof_store.digests import Digests
from intentproof_store.idtable import IdKeys
from intentproof_store.leafcolumns import event_texts
from intentproof_store.records import StoredTellings, Tellings
from intentproof_store.rows import RowMaker

from tests.store.support import NOON_NS, TENANT, WRITER, add_event, event

UUID = "f41a19c7-e5c4-85c6-a890-910c422fcd5c"
NO_UUIDS = [
    UUID.upper(),
    f"F{UUID[1:]}",
    UUID.replace("-", ""),
    f"{UUID}\n",
    f"{UUID}0",
    f"{UUID[:-2]} 5",
    f"-{UUID[:8]}{UUID[9:]}",
    f"{{{UUID}}}",
    f"--{UUID[2:]}",
]


def keys(ids: list[str]) -> list[bytes]:
    return DIGESTS.ids(pa.array(ids, pa.string())).texts()


DIGESTS = Digests()


@pytest.mark.parametrize("other", NO_UUIDS, ids=repr)
def test_only_a_uuid_as_we_write_it_is_its_bytes(other: str) -> None:
    """What differs from a UUID in capitals, dashes or spaces has a key of its own."""
    assert keys([UUID]) == [bytes.fromhex(UUID.replace("-", ""))]
    assert keys([other, UUID])[1] == keys([UUID])[0]
    for seen in (keys([other]), keys([other, UUID]), keys([other, other])):
        assert seen[0] == keys([other, "x"])[0] != keys([UUID])[0]
        assert keys(["x", other])[1] == seen[0]


def test_texts_of_uneven_length_are_no_uuids() -> None:
    """Two texts that are two UUIDs only when written side by side have keys of their own."""
    two = [UUID[:-1], UUID[-1] + UUID]
    assert keys(two) == [keys([each])[0] for each in two] != keys([UUID, UUID])


def test_an_absent_id_is_no_text() -> None:
    """An absent id has the key of an empty text, and of no other."""
    absent, empty, other = DIGESTS.ids(pa.array([None, "", "x"], pa.string())).texts()
    assert absent == empty != other


@pytest.mark.parametrize("words", [(1, 0), (0, 1), (1 << 63, 0), (0, 1 << 63), (1 << 63, 1 << 63)])
def test_no_two_keys_have_one_hash_under_every_secret(words: tuple[int, int]) -> None:
    """Each half of a key is in its hash, and no difference in one cancels one in the other."""
    raw = np.array([(5, 9), (5 ^ words[0], 9 ^ words[1])], np.uint64).tobytes()
    one, two = Digests().keyed(raw).hashes
    assert one != two


def contents(digests: Digests, **changes: Any) -> bytes:
    made: bytes = digests.contents(event_texts(event_columns([event(1, **changes)]))).tobytes()
    return made


def test_digests_of_contents_and_numbers_are_the_process_own() -> None:
    """Two processes have other digests of one content, and of one stream number."""
    assert contents(Digests()) != contents(Digests())
    columns = event_columns([event(1, stream_id="s", sequence=1)])
    one, two = Digests().numbers(columns), Digests().numbers(columns)
    assert one is not None
    assert two is not None
    assert one.tobytes() != two.tobytes()


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"run_id": "ab", "stage": "c"}, {"run_id": "a", "stage": "bc"}),
        ({"run_id": "a", "stage": ""}, {"run_id": "", "stage": "a"}),
        ({"dropped_events_count": 1}, {"dropped_links_count": 1}),
        ({"run_id": "a\n", "stage": "b"}, {"run_id": "a", "stage": "\nb"}),
    ],
    ids=str,
)
def test_text_cannot_move_between_members(one: dict[str, Any], two: dict[str, Any]) -> None:
    """Two contents that are one text without what stands between members are two."""
    assert contents(DIGESTS, **one) != contents(DIGESTS, **two)


def test_a_number_is_of_its_stream() -> None:
    """One number in two streams, or in none, and two numbers of one stream, all differ."""
    told = [("s", 1), ("t", 1), ("", 1), ("s", 2), ("", 2)]
    columns = event_columns([event(1, stream_id=s, sequence=n) for s, n in told])
    made = DIGESTS.numbers(columns)
    assert made is not None
    assert len({row.tobytes() for row in made}) == len(told)


def test_the_record_of_a_stored_telling_is_that_of_the_arrived_one() -> None:
    """A stored event, and its number where it has one, makes the record that it made arriving."""
    for one in (event(1), event(1, stream_id="s", sequence=3)):
        columns = event_columns([one])
        arrived = Tellings(columns, event_texts(columns), DIGESTS)
        maker = RowMaker(TENANT, WRITER, NOON_NS)
        add_event(maker, one)
        rows = maker.batch(1)
        stored = StoredTellings(rows, event_texts(rows), DIGESTS)
        assert stored.onto(b"", 0) == arrived.first(0)


def test_one_hash_is_not_one_id() -> None:
    """Two ids whose hashes are equal are marked as perhaps the same, and are still two keys."""
    ids = IdKeys(DIGESTS.ids(pa.array(["x", "y"])).keys, np.array([7, 7], np.uint64))
    assert ids.repeated().all()
    assert len(set(ids.texts())) == 2
