"""Paths: what names say, and which tenants may have a folder."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intentproof_store import Layout, TenantInvalid
from intentproof_store.layout import (
    DAY_NS,
    SegmentName,
    check_tenant,
    date_of,
    day_number,
    day_text,
    parse_checkpoint,
    parse_date_folder,
    parse_segment_file,
    parse_segment_note,
    quarantine_file,
    tile_path,
)

from tests.store.support import NOON_NS, WRITER

LAYOUT = Layout(Path("proofs"))
NAME = SegmentName(WRITER, 0, 41, 2)


@pytest.mark.parametrize("tenant", ["a", "acme", "a-1", "_system", "a" * 63])
def test_a_tenant_id_may_be_a_folder(tenant: str) -> None:
    """Ids that the contract allows are taken as they are."""
    assert check_tenant(tenant) == tenant


NO_TENANTS = ("", "A", "1a", "-a", "a/b", "../b", "..", ".", "a.b", "a_b", "a\n", "a ", "\u00e9")
NOR_THESE = ("_other", "x' UNION", "a\x00", "a=b", "a" * 64)


@pytest.mark.parametrize("tenant", [*NO_TENANTS, *NOR_THESE])
def test_what_is_no_tenant_id_never_becomes_a_path(tenant: str) -> None:
    """No path is made of a name that the contract does not allow, and the error names it."""
    for make in (check_tenant, LAYOUT.tenant_events, LAYOUT.tenant_log, LAYOUT.quarantine):
        with pytest.raises(TenantInvalid) as caught:
            make(tenant)
        assert repr(tenant) in str(caught.value)


def test_paths_are_those_of_the_contract() -> None:
    """Segments, notes, logs and quarantine stand where the contract says."""
    day = "2026-11-21"
    first, last = "0" * 20, "0" * 18 + "41"
    assert LAYOUT.segment("acme", day, NAME) == Path(
        f"proofs/events/tenant=acme/date={day}/{WRITER}-{first}-{last}-000002.parquet"
    )
    assert LAYOUT.log("acme", WRITER) == Path(f"proofs/log/acme/{WRITER}")
    assert NAME.note() == f"segment.{first}-{last}-000002"
    assert LAYOUT.quarantine("acme") == Path("proofs/quarantine/acme")
    assert LAYOUT.events not in LAYOUT.unfinished.parents
    assert quarantine_file("sha256:ab") == "ab"


@given(st.integers(0, 10**20 - 1), st.integers(0, 10**20 - 1), st.integers(0, 999_999))
def test_segment_names_read_back(first: int, last: int, rev: int) -> None:
    """A segment's file and note give its name again."""
    name = SegmentName(WRITER, first, last, rev)
    assert parse_segment_file(name.file()) == name
    assert parse_segment_note(name.note(), WRITER) == name
    assert name.rows == last - first + 1


@pytest.mark.parametrize(
    "name",
    [
        NAME.file() + ".tmp",
        "." + NAME.file(),
        NAME.file().replace(WRITER, "Host-00000001"),
        NAME.file().replace(WRITER, "host"),
        NAME.file().replace("-000002", "-02"),
        NAME.file().replace("-000002", "-000002\n"),
        NAME.file().replace("000002", "00000\u0662"),
    ],
)
def test_other_names_are_no_segments(name: str) -> None:
    """A file that is not exactly named like a segment is none."""
    assert parse_segment_file(name) is None


@pytest.mark.parametrize("name", ["segment.0-1-0", NAME.note() + ".x", "x" + NAME.note()])
def test_other_names_are_no_segment_notes(name: str) -> None:
    """A file that is not exactly named like a segment's note is none."""
    assert parse_segment_note(name, WRITER) is None


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("checkpoint.0", 0),
        ("checkpoint.42", 42),
        ("checkpoint", None),
        ("checkpoint.", None),
        ("checkpoint.042", None),
        ("checkpoint.42.0aefbc0f", None),
        (".checkpoint.42.17.tmp", None),
        ("checkpoint.\u0664", None),
    ],
)
def test_a_checkpoints_name_has_a_plain_size(name: str, size: int | None) -> None:
    """Only `checkpoint.<plain decimal>` is a checkpoint; a cosignature's file is not."""
    assert parse_checkpoint(name) == size


def test_date_folders_are_dates() -> None:
    """A date folder says its date, anything else says none."""
    assert parse_date_folder("date=2026-11-21") == "2026-11-21"
    assert parse_date_folder("date=2026-1-2") is None
    assert parse_date_folder("2026-11-21") is None


@pytest.mark.parametrize(
    ("ns", "day"),
    [
        (NOON_NS, "2026-11-21"),
        (0, "1970-01-01"),
        (-1, "1969-12-31"),
        (DAY_NS - 1, "1970-01-01"),
        (2**63 - 1, "2262-04-11"),
        (-(2**63), "1677-09-21"),
    ],
)
def test_every_nanosecond_has_its_utc_date(ns: int, day: str) -> None:
    """Dates are UTC, before 1970 too, over all of int64."""
    assert date_of(ns) == day
    assert day_text(day_number(ns)) == day


@pytest.mark.parametrize(
    ("level", "index", "width", "path"),
    [
        (0, 0, 256, "0/000"),
        (0, 5, 7, "0/005.p/7"),
        (1, 999, 256, "1/999"),
        (0, 1000, 256, "0/x001/000"),
        (0, 1_234_067, 256, "0/x001/x234/067"),
        (2, 1_234_067, 1, "2/x001/x234/067.p/1"),
    ],
)
def test_tiles_are_named_as_c2sp_names_them(level: int, index: int, width: int, path: str) -> None:
    """Tile paths are those of C2SP tlog-tiles."""
    assert tile_path(level, index, width) == path


def test_only_tenants_and_writers_are_found(tmp_path: Path) -> None:
    """Folders whose names are no tenants or writers are passed over, files too."""
    layout = Layout(tmp_path)
    assert layout.tenants() == []
    layout.log("acme", WRITER).mkdir(parents=True)
    (tmp_path / "log" / "acme" / "lost+found").mkdir()
    (tmp_path / "log" / "Not A Tenant").mkdir()
    (tmp_path / "log" / "file").touch()
    layout.tenant_events("beta").mkdir(parents=True)
    (layout.events / "tenant=UP").mkdir()
    assert layout.tenants() == ["acme", "beta"]
    assert layout.writers("acme") == [WRITER]
    assert layout.writers("beta") == []
