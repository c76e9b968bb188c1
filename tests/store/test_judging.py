"""Sameness judges batches by columns as a simple model judges one event after the other."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_schemas import ExecutionEvent
from intentproof_store import event_columns
from intentproof_store.columns import SEGMENT_SCHEMA
from intentproof_store.digests import Digests
from intentproof_store.leafcolumns import event_texts
from intentproof_store.records import StoredTellings, Verdict
from intentproof_store.rows import RowMaker
from intentproof_store.sameness import Sameness

from tests.store.support import DAY_NS, NOON_NS, TENANT, WRITER, event

TODAY = "2026-11-21"
ASIDE = Path(tempfile.gettempdir())


class Telling(NamedTuple):
    """Which event, with which content, under which number of which stream."""

    which: int
    content: int
    number: int
    stream: str

    def event(self) -> ExecutionEvent:
        one = event(self.which, inputs=f'{{"n":{self.content}}}')
        if self.which % 3 == 0:  # not every id is a UUID
            one = one._replace(event_id=f"id {self.which}")
        return one._replace(sequence=self.number, stream_id=self.stream)


class Model:
    """What contents and numbers of each event are known, and nothing clever."""

    def __init__(self) -> None:
        self.contents: dict[int, set[int]] = {}
        self.numbers: dict[int, set[tuple[str, int]]] = {}

    def judge(self, told: Telling) -> Verdict:
        contents = self.contents.setdefault(told.which, set())
        numbers = self.numbers.setdefault(told.which, set())
        new, other = not contents, told.content not in contents
        further = bool(told.number) and (told.stream, told.number) not in numbers
        contents.add(told.content)
        if told.number:
            numbers.add((told.stream, told.number))
        if new:
            return Verdict.NEW
        if other:
            return Verdict.CONFLICT
        return Verdict.NUMBERED if further else Verdict.DUPLICATE


TELLINGS = st.builds(
    Telling,
    st.integers(0, 7),
    st.integers(0, 2),
    st.integers(0, 3),
    st.sampled_from(["", "s", "t"]),
)
AFTERWARDS = st.sampled_from(["nothing", "commit", "cut", "refused", "restart"])


def look_up(ids: Sequence[str], paths: Sequence[Path]) -> pa.RecordBatch:
    raise AssertionError("nothing is sealed")


def judge(sameness: Sameness, told: Sequence[Telling]) -> list[Verdict]:
    columns = event_columns([each.event() for each in told])
    return [Verdict(each) for each in sameness.judge(columns, event_texts(columns), TODAY)]


def replayed(groups: list[list[tuple[Telling, Verdict]]]) -> Sameness:
    """A new process that learns the rows that the groups left in the hot log."""
    sameness = Sameness(look_up=look_up, today=TODAY, aside=ASIDE)
    for group in groups:
        maker = RowMaker(TENANT, WRITER, NOON_NS)
        for told, verdict in group:
            columns = event_columns([told.event()])
            if verdict is Verdict.NUMBERED:
                maker.add_numbered(columns)
            elif verdict is not Verdict.DUPLICATE:
                kind = "event" if verdict is Verdict.NEW else "conflict"
                maker.add_events(columns, event_texts(columns), kind)
        if maker:
            sameness.restore(maker.batch(1))
    return sameness


@given(st.lists(st.tuples(st.lists(TELLINGS, min_size=1, max_size=12), AFTERWARDS), max_size=8))
@settings(deadline=None, max_examples=150)
def test_batches_are_judged_as_their_events_one_by_one(
    batches: list[tuple[list[Telling], str]],
) -> None:
    """In any splitting into batches, groups, segments and lives, the verdicts are the model's."""
    sameness, model = Sameness(look_up=look_up, today=TODAY, aside=ASIDE), Model()
    groups: list[list[tuple[Telling, Verdict]]] = []
    for told, afterwards in batches:
        if afterwards == "refused":  # which takes back what its group judged before, too
            sameness.commit()
        verdicts = judge(sameness, told)
        if afterwards == "refused":
            sameness.discard()
            assert judge(sameness, told) == verdicts
        assert verdicts == [model.judge(each) for each in told]
        groups.append(list(zip(told, verdicts, strict=True)))
        if afterwards != "nothing":  # the next batch is of the same group
            sameness.commit()
        if afterwards == "cut":
            sameness.cut(TODAY, TODAY)
        if afterwards == "restart":
            sameness = replayed(groups)


@pytest.mark.parametrize("count", [1, 700])
def test_what_was_refused_is_new_again(count: int) -> None:
    """A batch that was discarded leaves nothing behind, and what was known before stays."""
    sameness = Sameness(look_up=look_up, today=TODAY, aside=ASIDE)
    old, new = ([Telling(n, 0, n, "s") for n in range(at, at + count)] for at in (0, 1000))
    judge(sameness, old)
    sameness.commit()
    for _ in range(3):
        assert judge(sameness, new + old) == [Verdict.NEW] * count + [Verdict.DUPLICATE] * count
        assert judge(sameness, new) == [Verdict.DUPLICATE] * count
        sameness.discard()


def test_many_small_segments_are_looked_up_not_remembered() -> None:
    """Only the last segments' ids stay as they are; an older one is found in its segment."""
    asked: list[tuple[list[str], list[Path]]] = []
    stored: dict[Path, pa.RecordBatch] = {}

    def from_segments(ids: Sequence[str], paths: Sequence[Path]) -> pa.RecordBatch:
        asked.append((list(ids), list(paths)))
        rows = pa.concat_batches([stored[path] for path in paths])
        return rows.filter(pc.is_in(rows.column("event_id"), value_set=pa.array(ids)))

    sameness = Sameness(look_up=from_segments, today=TODAY, aside=ASIDE)
    for number in range(30):
        told = Telling(number, 0, 1, "s")
        assert judge(sameness, [told]) == [Verdict.NEW]
        sameness.commit()
        maker = RowMaker(TENANT, WRITER, NOON_NS)
        columns = event_columns([told.event()])
        maker.add_events(columns, event_texts(columns), "event")
        path = Path(f"{number}")
        stored[path] = maker.batch(number)
        sameness.sealed(sameness.cut(TODAY, TODAY), path)
    assert len(sameness._older) <= 8
    assert asked == []
    again = [
        Telling(1, 0, 1, "s"),
        Telling(2, 9, 1, "s"),
        Telling(4, 0, 2, "s"),
        Telling(29, 0, 1, "s"),
    ]
    assert judge(sameness, again) == [
        *(Verdict.DUPLICATE, Verdict.CONFLICT, Verdict.NUMBERED, Verdict.DUPLICATE)
    ]
    assert [ids for ids, _ in asked] == [sorted(told.event().event_id for told in again[:3])]


@pytest.mark.parametrize("started_first", [True, False])
@pytest.mark.parametrize(
    ("completed_ns", "early"),
    [
        (NOON_NS + DAY_NS + 1, False),
        (NOON_NS + 3 * DAY_NS // 2 - 1, False),
        (NOON_NS + 3 * DAY_NS // 2, True),
        (NOON_NS + 2 * DAY_NS, True),
        (NOON_NS - 2 * DAY_NS, False),
    ],
)
def test_only_an_id_whose_day_a_resend_may_miss_is_early(
    completed_ns: int, *, early: bool, started_first: bool
) -> None:
    """Early is what completes two dates after its receipt or later, until that was told."""
    sameness = Sameness(look_up=look_up, today=TODAY, aside=ASIDE)
    times = {"started_ns": 0, "completed_ns": completed_ns}
    if not started_first:  # an event is complete at the later of its times
        times = {"started_ns": completed_ns, "completed_ns": 0}
    columns = event_columns([event(1, **times), event(2)])
    expected = [event(1).event_id] if early else []
    assert sameness.early(columns, NOON_NS) == expected
    sameness.add_early(expected)
    assert sameness.early(columns, NOON_NS) == []


def test_a_second_telling_whose_payload_was_erased_adds_nothing() -> None:
    """What is not there of a stored conflict is not compared, nor taken for an empty content."""
    columns = event_columns([event(1), event(1, inputs="{}", stream_id="s", sequence=2)])
    maker = RowMaker(TENANT, WRITER, NOON_NS)
    maker.add_events(columns, event_texts(columns), pa.array(["event", "conflict"]))
    rows = maker.batch(1).to_pylist()
    rows[1] |= dict.fromkeys(("inputs", "output", "error", "payload_salt"))
    stored = pa.RecordBatch.from_pylist(rows, SEGMENT_SCHEMA)
    told = StoredTellings(stored, event_texts(stored), Digests())
    record = told.onto(b"", 0)
    assert told.onto(record, 1) == record


@pytest.mark.parametrize("life", ["cut", "restart"])
def test_a_group_refused_first_takes_back_itself_only(life: str) -> None:
    """The first group after a cut or a restart, refused, is new again; what was before is known."""
    sameness = Sameness(look_up=look_up, today=TODAY, aside=ASIDE)
    old, new = [Telling(n, 0, 0, "") for n in range(3)], [Telling(n, 0, 0, "") for n in (7, 8)]
    judge(sameness, old)
    sameness.commit()
    if life == "cut":
        sameness.cut(TODAY, TODAY)
    else:
        sameness = replayed([[(told, Verdict.NEW) for told in old]])
    for _ in range(2):
        assert judge(sameness, new) == [Verdict.NEW] * 2
        sameness.discard()
    assert judge(sameness, old) == [Verdict.DUPLICATE] * 3
