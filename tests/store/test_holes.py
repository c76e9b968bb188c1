"""Numbers that producers gave and that did not arrive are told by the log, once they stood."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_schemas import schema
from intentproof_store import Reader
from intentproof_store.holes import Holes
from jsonschema import Draft202012Validator

from tests.examples import examples
from tests.store.support import (
    TENANT,
    Clock,
    Place,
    append,
    check_sealed,
    event,
    place,
    read_log,
    until,
    verified,
)


def numbers(*given: int, stream: str = "s-1") -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {"stream_id": [stream] * len(given), "sequence": list(given)},
        schema=pa.schema([("stream_id", pa.string()), ("sequence", pa.int64())]),
    )


def told(where: Place) -> list[dict[str, Any]]:
    found = [json.loads(text) for text in read_log(where).details("gap")]
    for detail in found:
        Draft202012Validator(schema("gap.v1")).validate(detail)
    return found


def send(ledger: Any, *sequences: int) -> None:
    append(ledger, [event(n, stream_id="s-1", sequence=n) for n in sequences])


def test_a_hole_that_stands_is_told_once(tmp_path: Path) -> None:
    """Numbers that did not come within the time are in one gap leaf; the view has them, too."""
    here = place(tmp_path)
    with here.ledger(Clock(), hole_seconds=0.2) as ledger:
        send(ledger, 1, 2, 5, 6, 9)
        until(lambda: ledger.status().tenants[TENANT].size == 7)
        send(ledger, 10)
    log = check_sealed(here)
    assert log.kinds() == ["genesis", *["event"] * 5, "gap", "event"]
    (gap,) = told(here)
    assert gap["reason"] == "sequence_hole"
    ranges = [(hole["stream_id"], hole["first"], hole["last"]) for hole in gap["holes"]]
    assert ranges == [("s-1", 3, 4), ("s-1", 7, 8)]
    verified(here)


def test_a_number_that_comes_late_closes_its_hole(tmp_path: Path) -> None:
    """Within the time nothing is told; after it the view forgets the hole and the leaf stays."""
    here = place(tmp_path)
    with here.ledger(Clock(), hole_seconds=1e9) as ledger:
        send(ledger, 1, 3)
        send(ledger, 2)
    assert told(here) == []
    with here.ledger(Clock(), hole_seconds=0.0) as ledger:
        send(ledger, 4, 6)
        until(lambda: ledger.status().tenants[TENANT].size == 7)
        send(ledger, 5)
    assert [hole["first"] for hole in told(here)[0]["holes"]] == [5]
    with Reader(here.layout.root, hot=here.hot, home=here.home) as reader:
        assert reader.rows("SELECT source FROM gaps") == [{"source": "log"}]


def test_beside_another_receiver_no_hole_is_told(tmp_path: Path) -> None:
    """Where another log of the tenant grows, its receiver may have the number."""
    here = place(tmp_path)
    (here.layout.tenant_log(TENANT) / "other-00000000").mkdir(parents=True)
    with here.ledger(Clock(), hole_seconds=0.0) as ledger:
        send(ledger, 1, 3)
        append(ledger, [event(1, stream_id="s-1", sequence=3)], tenant="beta")
        append(ledger, [event(2, stream_id="s-1", sequence=5)], tenant="beta")
        until(lambda: ledger.status().tenants["beta"].size == 4)
    assert told(here) == []


BATCHES = st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=12), max_size=12)


@settings(max_examples=examples(300), deadline=None)
@given(BATCHES)
def test_what_is_told_is_what_never_came(batches: list[list[int]]) -> None:
    """In whatever order numbers come, what is left is each number after the first that did not."""
    holes = Holes()
    for batch in batches:
        holes.see(numbers(*batch), 0.0)
    seen = {number for batch in batches for number in batch}
    first = min(batches[0]) if batches else 1
    wanted = {n for n in range(first, max(seen, default=0)) if n not in seen}
    found = {n for hole in holes.take(0.0, 0.0) for n in range(hole["first"], hole["last"] + 1)}
    assert found == wanted
    assert holes.take(0.0, 0.0) == []


def test_memory_is_bounded() -> None:
    """Of very many streams and holes the oldest are forgotten; a leaf has so many and no more."""
    holes = Holes()
    for number in range(6_000):
        holes.see(numbers(1, 3, stream=f"s-{number}"), 0.0)
    holes.see(numbers(*range(1, 2_000, 2), stream="s-5999"), 0.0)
    taken = []
    while more := holes.take(0.0, 1.0):
        assert len(more) <= 64
        taken += more
    assert len(taken) == 4_095 + 64
    assert not holes.is_due(0.0, 1.0)


def test_late_numbers_split_a_hole_into_no_more_than_are_kept() -> None:
    """Of a stream the newest 64 holes are kept, also where late numbers make many of one."""
    holes = Holes()
    holes.see(numbers(1, 1_000), 0.0)
    holes.see(numbers(*range(3, 1_000, 2)), 1.0)
    found = []
    while part := holes.take(0.0, 2.0):
        found += [(each["first"], each["last"]) for each in part]
    assert found == [(number, number) for number in range(872, 999, 2)]
