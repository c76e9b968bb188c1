"""Hot bytes that were damaged, forged or removed: what survives, and what the log says of it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from intentproof_schemas import schema
from intentproof_store import Appended, event_columns
from intentproof_store.checkpoints import checkpoint_sizes
from intentproof_store.frames import Frame, encode_frame, scan, write_rows
from intentproof_store.hotlog import HotLog
from intentproof_store.leafcolumns import event_texts
from intentproof_store.rows import RowMaker
from jsonschema import Draft202012Validator

from tests.store.support import (
    NOON_NS,
    TENANT,
    Place,
    add_event,
    append,
    check_log,
    check_sealed,
    event,
    events,
    place,
    until,
    watched_logs,
)

GROUPS = 5
ROWS = 3
# Frame 0 holds the genesis, frame n the events of group n: leaves 1 + 3(n-1) and on.


def group(number: int) -> list[Any]:
    return events((number - 1) * ROWS, number * ROWS)


def ids(*numbers: int) -> list[str]:
    return [one.event_id for number in numbers for one in group(number)]


def leaves(frame: int) -> set[int]:
    return {0} if frame == 0 else set(range(1 + (frame - 1) * ROWS, 1 + frame * ROWS))


def killed(tmp_path: Path, *, signed: int = 0) -> Place:
    """Five groups of three events that a kill left hot; a checkpoint covers the first `signed`."""
    here = place(tmp_path)
    with watched_logs() as logs, here.ledger() as ledger:
        for number in range(1, GROUPS + 1):
            append(ledger, group(number))
            if number == signed:
                logs[TENANT].checkpoint_due = 0.0
                until(lambda: checkpoint_sizes(here.log())[-1] == 1 + signed * ROWS)
        return here.crash_image()


def frames(where: Place) -> list[Frame]:
    (path,) = where.hot_files()
    return [each for each in scan(path) if isinstance(each, Frame)]


def raw_frames(where: Place) -> list[bytes]:
    (path,) = where.hot_files()
    raw = path.read_bytes()
    return [raw[each.offset : each.offset + each.length] for each in frames(where)]


def rewrite(where: Place, pieces: Sequence[bytes]) -> None:
    (path,) = where.hot_files()
    path.write_bytes(b"".join(pieces))


def flip(raw: bytes) -> bytes:
    at = len(raw) // 2
    return raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1 :]


def hot_key(where: Place) -> bytes:
    return (where.home / "hot.key").read_bytes()


def goes_on(where: Place, *, kept: list[str], holes: set[int], gaps: int) -> None:
    """Recovered, written to, closed, opened again: what was kept is there, and the log is sound."""
    old = {path.name for path in where.hot_files()}
    with where.ledger() as ledger:
        assert append(ledger, [event(99)]) == Appended(stored=1)
    if gaps:
        aside = where.hot / where.writer / "set-aside"
        assert old <= {path.name for path in aside.iterdir()}, "the old files are not set aside"
    log = check_sealed(where, holes=sorted(holes))
    assert log.ids() == [*kept, event(99).event_id]
    assert len(log.details("gap")) == gaps
    for detail in map(json.loads, log.details("gap")):
        Draft202012Validator(schema("gap.v1")).validate(detail)
    with where.ledger() as ledger:
        assert append(ledger, [event(99)]) == Appended(duplicates=1)
    again = check_sealed(where, holes=sorted(holes))
    assert again.size == log.size, "the second opening told of the same damage again"


def test_an_undamaged_kill_leaves_no_gap(tmp_path: Path) -> None:
    """Whole frames come back as they are, and nothing is said."""
    goes_on(killed(tmp_path), kept=ids(1, 2, 3, 4, 5), holes=set(), gaps=0)


@pytest.mark.parametrize("cut", [1, 30, 59, 60, 200])
def test_a_torn_last_frame_is_no_problem(tmp_path: Path, cut: int) -> None:
    """A frame that the kill cut short was never acknowledged: the rest is taken, no gap."""
    where = killed(tmp_path)
    pieces = raw_frames(where)
    rewrite(where, [*pieces, pieces[-1][:cut]])
    goes_on(where, kept=ids(1, 2, 3, 4, 5), holes=set(), gaps=0)


@pytest.mark.parametrize("signed", [0, 2, GROUPS])
@pytest.mark.parametrize("frame", [0, 1, 3, GROUPS])
def test_a_flipped_byte_costs_one_frame(tmp_path: Path, frame: int, signed: int) -> None:
    """Only its own rows are lost, a gap tells, and under a checkpoint later ones keep places."""
    where = killed(tmp_path, signed=signed)
    pieces = raw_frames(where)
    pieces[frame] = flip(pieces[frame])
    rewrite(where, pieces)
    kept = ids(*(number for number in range(1, GROUPS + 1) if number != frame))
    holes = {leaf for leaf in leaves(frame) if leaf < 1 + signed * ROWS}
    goes_on(where, kept=kept, holes=holes, gaps=1)


@pytest.mark.parametrize("signed", [0, GROUPS])
@pytest.mark.parametrize("frame", [0, 1, 3])
def test_a_removed_frame_is_told(tmp_path: Path, frame: int, signed: int) -> None:
    """A frame that was cut out cleanly is missed all the same."""
    where = killed(tmp_path, signed=signed)
    pieces = raw_frames(where)
    del pieces[frame]
    rewrite(where, pieces)
    kept = ids(*(number for number in range(1, GROUPS + 1) if number != frame))
    holes = {leaf for leaf in leaves(frame) if leaf < 1 + signed * ROWS}
    goes_on(where, kept=kept, holes=holes, gaps=1)


def test_a_removed_frame_is_told_by_its_number_alone(tmp_path: Path) -> None:
    """A tenant's last frame, cut out between others', leaves a hole in the numbers: a gap tells."""
    here = place(tmp_path)
    with here.ledger() as ledger:
        append(ledger, [event(1)])
        append(ledger, [event(1)], tenant="beta")
        append(ledger, [event(2)], tenant="beta")
        append(ledger, [event(2)])
        where = here.crash_image()
    pieces = raw_frames(where)
    assert [each.tenant for each in frames(where)] == [TENANT] * 2 + ["beta"] * 3 + [TENANT]
    del pieces[4]
    rewrite(where, pieces)
    with where.ledger():
        pass
    assert len(check_sealed(where, "beta").details("gap")) == 1


@pytest.mark.parametrize("at", [1, 3, GROUPS + 1])
def test_a_forged_frame_is_not_taken(tmp_path: Path, at: int) -> None:
    """A frame with a right checksum under another key is left out, set aside and told."""
    where = killed(tmp_path)
    maker = RowMaker(TENANT, where.writer, NOON_NS)
    forged = event(77)
    add_event(maker, forged)
    first = 1 + (at - 1) * ROWS
    number = frames(where)[min(at, GROUPS)].number + (at > GROUPS)
    body = write_rows(maker.batch(first))
    pieces = raw_frames(where)
    pieces.insert(at, encode_frame(number, TENANT, body, key=bytes(32), writer=where.writer))
    rewrite(where, pieces)
    goes_on(where, kept=ids(1, 2, 3, 4, 5), holes=set(), gaps=1)


def test_authentic_rows_that_contradict_themselves_are_not_taken(tmp_path: Path) -> None:
    """Even under the right key, a row whose columns do not follow from its leaf is left out."""
    where = killed(tmp_path)
    maker = RowMaker(TENANT, where.writer, NOON_NS)
    columns = event_columns([event(77)])
    others = event_texts(event_columns([event(78)]))
    maker.add_events(columns, replace(event_texts(columns), context=others.context), "event")
    number = frames(where)[-1].number + 1
    body = write_rows(maker.batch(1 + GROUPS * ROWS))
    pieces = raw_frames(where)
    pieces.append(encode_frame(number, TENANT, body, key=hot_key(where), writer=where.writer))
    rewrite(where, pieces)
    goes_on(where, kept=ids(1, 2, 3, 4, 5), holes=set(), gaps=1)


@pytest.mark.parametrize(("source", "at"), [(2, GROUPS + 1), (GROUPS, 2), (3, 4), (0, 3)])
def test_a_replayed_frame_is_not_taken_twice_and_told(tmp_path: Path, source: int, at: int) -> None:
    """An old authentic frame that was put in again is out of sequence: left out, and told."""
    where = killed(tmp_path)
    pieces = raw_frames(where)
    pieces.insert(at, pieces[source])
    rewrite(where, pieces)
    goes_on(where, kept=ids(1, 2, 3, 4, 5), holes=set(), gaps=1)


def test_frames_in_another_order_are_told(tmp_path: Path) -> None:
    """Two frames that changed places are out of sequence, and none of their leaves stands twice."""
    where = killed(tmp_path)
    pieces = raw_frames(where)
    pieces[2], pieces[3] = pieces[3], pieces[2]
    rewrite(where, pieces)
    with where.ledger() as ledger:
        append(ledger, [event(99)])
    log = check_sealed(where)
    assert len(log.details("gap")) == 1
    assert set(ids(1, 4, 5)) <= set(log.ids())
    assert len(log.ids()) == len(set(log.ids()))


def test_a_frame_of_an_earlier_life_is_not_taken(tmp_path: Path) -> None:
    """An authentic frame of leaves that were sealed long ago, put back alone, adds nothing."""
    where = killed(tmp_path)
    pieces = raw_frames(where)
    name = where.hot_files()[0].name
    with where.ledger():
        pass
    before = check_sealed(where)
    (where.hot / where.writer / name).write_bytes(pieces[2])
    with where.ledger() as ledger:
        append(ledger, [event(99)])
    log = check_sealed(where)
    assert log.ids() == [*before.ids(), event(99).event_id]


def test_everything_lost_under_a_checkpoint_leaves_a_hole(tmp_path: Path) -> None:
    """If all hot frames are junk, the signed leaves are a hole and the log goes on behind it."""
    where = killed(tmp_path, signed=GROUPS)
    pieces = raw_frames(where)
    rewrite(where, [flip(piece) for piece in pieces[:-1]] + [pieces[-1]])
    holes = set(range(1 + (GROUPS - 1) * ROWS))
    goes_on(where, kept=ids(GROUPS), holes=holes, gaps=1)


def test_lost_events_can_be_sent_again(tmp_path: Path) -> None:
    """An event that was lost with its frame is new when its client sends it again."""
    where = killed(tmp_path, signed=GROUPS)
    pieces = raw_frames(where)
    pieces[2] = flip(pieces[2])
    rewrite(where, pieces)
    with where.ledger() as ledger:
        assert append(ledger, events(0, GROUPS * ROWS)) == Appended(stored=3, duplicates=12)
    log = check_sealed(where, holes=sorted(leaves(2)))
    assert sorted(log.ids()) == sorted(ids(1, 2, 3, 4, 5))


def test_damage_below_sealed_leaves_costs_nothing(tmp_path: Path) -> None:
    """Leaves that are sealed already do not need their damaged frames."""
    here = place(tmp_path)
    real = HotLog.release
    with here.ledger() as ledger:
        append(ledger, group(1))
        images: list[Place] = []

        def release(self: HotLog, refs: Any) -> None:
            images.append(here.crash_image())
            real(self, refs)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(HotLog, "release", release)
            ledger.close()
    (where,) = images
    pieces = raw_frames(where)
    rewrite(where, [flip(pieces[0]), *pieces[1:]])
    with where.ledger() as ledger:
        append(ledger, [event(99)])
    assert check_sealed(where).ids() == [*ids(1), event(99).event_id]


@pytest.mark.parametrize("signed", [0, GROUPS])
def test_a_kill_before_the_old_files_are_set_aside_brings_nothing_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signed: int
) -> None:
    """Recovery killed after its new file stands: the old files never count again."""
    where = killed(tmp_path, signed=signed)
    pieces = raw_frames(where)
    pieces[2] = flip(pieces[2])
    rewrite(where, pieces)

    class Kill(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Kill

    with monkeypatch.context() as patched:
        patched.setattr(HotLog, "set_aside", kill)
        with pytest.raises(Kill), where.ledger():
            pass
    for _ in range(3):
        with where.ledger() as ledger:
            append(ledger, [event(99)])
    holes = sorted(leaves(2)) if signed else []
    log = check_sealed(where, holes=holes)
    assert log.ids() == [*ids(1, 3, 4, 5), event(99).event_id]


def test_a_lost_hot_file_under_a_checkpoint_is_never_silent(tmp_path: Path) -> None:
    """If a file of signed hot leaves is gone altogether, the store is refused as behind."""
    from_intact = killed(tmp_path, signed=GROUPS)
    from_intact.hot_files()[0].unlink()
    with pytest.raises(Exception, match="leaves") as caught, from_intact.ledger():
        pass
    assert type(caught.value).__name__ == "LedgerBehind"


def test_an_image_that_was_never_opened_is_sound(tmp_path: Path) -> None:
    """What a kill leaves can be judged as it stands, before anything recovers it."""
    assert len(check_log(killed(tmp_path, signed=2)).ids()) == GROUPS * ROWS
