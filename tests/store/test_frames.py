"""Hot frames: what is written reads back, and whatever befalls the bytes is noticed."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from intentproof_store import FrameInvalid
from intentproof_store import frames as frames_module
from intentproof_store import hotlog as hotlog_module
from intentproof_store.frames import (
    Damage,
    Frame,
    encode_frame,
    own_rows,
    read_frame,
    read_rows,
    scan,
    write_rows,
)
from intentproof_store.hotlog import HotLog, NewFrame, hot_files, read_hot
from intentproof_store.rows import RowMaker

from tests.store.support import KEY, NOON_NS, TENANT, WRITER, add_event, event


def batch(first: int, rows: int) -> pa.RecordBatch:
    maker = RowMaker(TENANT, WRITER, NOON_NS)
    for number in range(first, first + rows):
        one = event(number)
        add_event(maker, one)
    return maker.batch(first)


def frame(number: int, body: bytes | memoryview, tenant: str = TENANT, key: bytes = KEY) -> bytes:
    return encode_frame(number, tenant, body, key=key, writer=WRITER)


def whole(path: Path) -> list[tuple[int, str, bytes]]:
    """The authentic frames of a file."""
    found = []
    for each in scan(path):
        if isinstance(each, Frame):
            try:
                each.authenticate(KEY, WRITER)
            except FrameInvalid:
                continue
            found.append((each.number, each.tenant, bytes(each.body)))
    return found


def test_rows_come_back_from_a_frame() -> None:
    """The rows of a frame are those that were written, column by column."""
    rows = batch(7, 3)
    read = read_frame(frame(9, write_rows(rows)), 0)
    read.authenticate(KEY, WRITER)
    assert (read.number, read.tenant) == (9, TENANT)
    assert read.rows().equals(rows)


@given(
    st.lists(
        st.tuples(st.integers(0, 2**64 - 1), st.text(max_size=9), st.binary(max_size=50)),
        max_size=5,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_frames_come_back_from_a_file(tmp_path: Path, frames: list[tuple[int, str, bytes]]) -> None:
    """A file of frames gives each of them, in order, whatever their bodies hold."""
    path = tmp_path / "x.frames"
    path.write_bytes(b"".join(frame(number, body, tenant) for number, tenant, body in frames))
    assert whole(path) == frames


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    """After any single bit flip, one frame is refused and the two others are whole."""
    path = tmp_path / "x.frames"
    bodies = [b"first", b"second IPF1 ", b"third"]
    frames = [frame(number, body) for number, body in enumerate(bodies)]
    kept = [(number, TENANT, body) for number, body in enumerate(bodies)]
    raw = b"".join(frames)
    ends = [sum(map(len, frames[:count])) for count in (1, 2, 3)]
    for bit in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        hit = next(place for place, end in enumerate(ends) if bit // 8 < end)
        assert whole(path) == kept[:hit] + kept[hit + 1 :], f"bit {bit}"


def test_a_flip_in_rows_is_found_by_the_checksum_alone(tmp_path: Path) -> None:
    """Without any key, a flipped bit in real rows is damage: Arrow alone would miss most."""
    raw = frame(1, write_rows(batch(0, 2)))
    path = tmp_path / "x.frames"
    for bit in range(60 * 8, len(raw) * 8, 13):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        assert not [each for each in scan(path) if isinstance(each, Frame)]


def test_a_file_cut_anywhere_gives_the_whole_frames_before(tmp_path: Path) -> None:
    """Truncated at any byte, a file gives exactly the frames that end before it."""
    path = tmp_path / "x.frames"
    frames = [frame(number, body) for number, body in enumerate([b"one", b"", b"three" * 20])]
    raw = b"".join(frames)
    ends = [sum(map(len, frames[:count])) for count in (1, 2, 3)]
    for length in range(len(raw) + 1):
        path.write_bytes(raw[:length])
        found = list(scan(path))
        complete = sum(end <= length for end in ends)
        assert [each.number for each in found if isinstance(each, Frame)] == list(range(complete))
        damages = [each for each in found if isinstance(each, Damage)]
        assert [each.torn for each in damages] == ([] if length in (0, *ends) else [True])


def test_the_scan_goes_on_behind_damage(tmp_path: Path) -> None:
    """Bytes between whole frames are one damage with its place and length; it is not torn."""
    path = tmp_path / "x.frames"
    first, last = frame(1, b"a"), frame(2, b"b")
    junk = b"IPF1 no frame IPF1"
    path.write_bytes(first + junk + last)
    one, damage, two = scan(path)
    assert isinstance(one, Frame)
    assert isinstance(two, Frame)
    assert isinstance(damage, Damage)
    assert (damage.offset, damage.length, damage.torn) == (len(first), len(junk), False)


def test_a_frame_of_another_key_writer_number_or_tenant_is_refused() -> None:
    """A right checksum is not enough: key, writer, number and tenant are authenticated."""
    forged = read_frame(frame(1, b"rows", key=bytes(32)), 0)
    with pytest.raises(FrameInvalid, match="not written by this receiver"):
        forged.authenticate(KEY, WRITER)
    good = read_frame(frame(1, b"rows"), 0)
    with pytest.raises(FrameInvalid):
        good.authenticate(KEY, "other-00000001")
    for other in (
        Frame(2, TENANT, b"rows", good.mac, 0, 0),
        Frame(1, "acmf", b"rows", good.mac, 0, 0),
        Frame(1, TENANT, b"rowz", good.mac, 0, 0),
        Frame(1, TENANT + "r", b"ows", good.mac, 0, 0),
    ):
        with pytest.raises(FrameInvalid):
            other.authenticate(KEY, WRITER)


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_no_bytes_make_the_parser_fail_otherwise(raw: bytes) -> None:
    """Whatever the bytes, reading frames and rows fails with FrameInvalid and nothing else."""
    for read in (lambda: read_frame(b"IPF1" + raw, 0), lambda: read_rows(raw)):
        with pytest.raises(FrameInvalid):
            read()


def test_flipped_bits_in_a_body_raise_nothing_foreign() -> None:
    """Altered Arrow bytes are FrameInvalid or rows that a check can look at, never a crash."""
    body = write_rows(batch(0, 2))
    for bit in range(0, len(body) * 8, 7):
        changed = bytearray(body)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            rows = read_rows(bytes(changed))
        except FrameInvalid:
            continue
        assert rows.schema == batch(0, 1).schema


def hot_log(folder: Path, number: int = 1) -> HotLog:
    return HotLog(folder, WRITER, key=KEY, next_number=number)


def new_frames(*firsts: int) -> Sequence[NewFrame]:
    return [NewFrame(TENANT, batch(first, 2), "2026-11-21") for first in firsts]


def test_rows_of_our_own_frames_need_the_key() -> None:
    """Rows come back unchecked only where key, writer and bytes are those of the MAC."""
    whole_frame = read_frame(frame(1, write_rows(batch(0, 3))), 0)
    assert own_rows([whole_frame], KEY, WRITER) == [whole_frame.rows()]
    with pytest.raises(FrameInvalid):
        own_rows([whole_frame], bytes(32), WRITER)
    with pytest.raises(FrameInvalid):
        own_rows([whole_frame, replace(whole_frame, body=whole_frame.body[:-1])], KEY, WRITER)


def test_own_frames_without_rows_are_refused() -> None:
    """A frame has rows: one that has none would let another's stand in its place."""
    empty = read_frame(frame(1, write_rows(batch(0, 3).slice(0, 0))), 0)
    with pytest.raises(FrameInvalid, match="without rows"):
        own_rows([empty], KEY, WRITER)


def test_a_hot_log_reads_its_frames_back(tmp_path: Path) -> None:
    """Appended frames are numbered on, and each reads back from where it stands."""
    hot = hot_log(tmp_path, 5)
    refs = [*hot.append(new_frames(0, 2)), *hot.append(new_frames(4))]
    assert [(ref.first, ref.end) for ref in refs] == [(0, 2), (2, 4), (4, 6)]
    assert [rows.column("log_index")[0].as_py() for rows in hot.read(refs)] == [0, 2, 4]
    assert hot.next_number == 8
    numbers = [each.number for _, each in read_hot(tmp_path, WRITER) if isinstance(each, Frame)]
    assert numbers == [5, 6, 7]
    hot.close()
    assert len(hot_files(tmp_path, WRITER)) == 1


def test_a_hot_file_goes_when_none_of_its_frames_is_needed(tmp_path: Path) -> None:
    """Released frames free their file when the log is closed; needed ones keep it."""
    hot = hot_log(tmp_path)
    refs = hot.append(new_frames(0, 2))
    hot.release(refs[:1])
    hot.release(refs[1:])
    hot.close()
    assert hot_files(tmp_path, WRITER) == []


def test_a_replaced_frame_is_refused_when_read_back(tmp_path: Path) -> None:
    """A frame that was exchanged on disk is not what a seal reads."""
    hot = hot_log(tmp_path)
    one, two = hot.append([NewFrame(TENANT, batch(0, 2), ""), NewFrame(TENANT, batch(0, 2), "")])
    raw = one.path.read_bytes()
    with one.path.open("r+b") as file:
        file.write(raw.replace(raw[: one.length], bytes(one.length)))
    with pytest.raises(FrameInvalid):
        list(hot.read([one]))
    assert [rows.num_rows for rows in hot.read([two])] == [2]
    hot.close()


def test_a_body_of_bytes_that_are_no_text_is_refused() -> None:
    """Rows whose text is not UTF-8 are refused, though the library reads them."""
    rows = batch(0, 1)
    at = rows.schema.get_field_index("action")
    rows = rows.set_column(at, rows.schema.field(at), pa.array([b"\xff"]).view(pa.string()))
    with pytest.raises(FrameInvalid, match="cannot be read"):
        read_rows(write_rows(rows))


def test_a_length_that_no_frame_has_is_no_torn_frame(tmp_path: Path) -> None:
    """A head whose body would be over 1 GiB is damage, not a frame that the file's end cut."""
    raw = bytearray(frame(1, b"body"))
    raw[17] |= 0x80  # the highest byte of the body's length
    path = tmp_path / "x.frames"
    path.write_bytes(raw)
    (found,) = scan(path)
    assert isinstance(found, Damage)
    assert not found.torn


def test_a_whole_frame_with_a_wrong_checksum_is_no_torn_frame(tmp_path: Path) -> None:
    """Altered bytes at a file's end are damage, which is told, and not what a kill leaves."""
    path = tmp_path / "x.frames"
    path.write_bytes(frame(1, b"body")[:-1] + b"x")
    (found,) = scan(path)
    assert isinstance(found, Damage)
    assert not found.torn


def test_a_recovered_file_stands_for_all_before_it(tmp_path: Path) -> None:
    """From the last file that recovery made on, files count; also beside one of the same number."""
    folder = tmp_path / WRITER
    folder.mkdir()
    for name in ("01", "02-r", "03", "07", "07-r", "08", "09"):
        (folder / f"{name}.frames").touch()
    (folder / "08-r.unfinished").touch()
    names = [path.name for path in hot_files(tmp_path, WRITER)]
    assert names == ["07-r.frames", "08.frames", "09.frames"]
    (folder / "02-r.frames").unlink()
    (folder / "07-r.frames").unlink()
    assert len(hot_files(tmp_path, WRITER)) == 5


def test_a_file_that_was_sealed_meanwhile_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hot file that is gone when it is read is no damage: its rows are in segments."""
    folder = tmp_path / WRITER
    folder.mkdir()
    for name in ("1", "2"):
        (folder / f"{name}.frames").write_bytes(frame(int(name), b"body"))

    def scan_late(path: Path) -> Iterator[Frame | Damage]:
        if path.name == "1.frames":
            path.unlink()
        return scan(path)

    monkeypatch.setattr(hotlog_module, "scan", scan_late)
    found = [each for _, each in read_hot(tmp_path, WRITER)]
    assert [each.number for each in found if isinstance(each, Frame)] == [2]
    assert len(found) == 1


def test_a_frame_that_no_reader_would_take_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be read back must not be acknowledged."""
    monkeypatch.setattr(frames_module, "_BODY_BYTES_MAX", 100)
    assert frame(1, b"x" * 100)
    with pytest.raises(FrameInvalid, match="101 bytes"):
        frame(1, b"x" * 101)
