"""The answer to a query as a table, as JSON and as CSV."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intentproof_store.formats import as_csv, as_json, as_table
from intentproof_store.present import shown
from intentproof_store.query import Answer, ask

from tests.store.reader_support import Site, event


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.keep([event(1), event(2)], tenant="acme")
    site.keep([event(3, inputs='"SECRET"')], tenant="globex")
    return site


def answer(*values: Any, names: tuple[str, ...] | None = None) -> Answer:
    columns = names or tuple(f"c{at}" for at in range(len(values)))
    return Answer(columns, ("",) * len(values), iter([[values]]))


def test_json_is_one_array_of_objects(site: Site) -> None:
    """JSON has numbers as numbers, times in UTC with microseconds, blobs as hex."""
    with site.reader() as reader:
        found = json.loads(
            "".join(
                as_json(
                    ask(
                        reader,
                        "SELECT log_index, received_ns, started_at, 1.50::DECIMAL(9, 2) d, "
                        "from_hex('00ff') b, NULL n, true t, [1, 2] l, {'a': 1} s, date, "
                        "'NaN'::DOUBLE x, 170141183460469231731687303715884105727::HUGEINT h, 1, 1 "
                        "FROM events ORDER BY 1 LIMIT 1",
                    )
                )
            )
        )
    assert found[0].pop("received_ns") > 1 << 60
    assert found[0].pop("date") == "2026-11-21"
    assert found == [
        {
            "log_index": 1,
            "started_at": "2026-11-21T12:00:00.001000Z",
            "d": 1.5,
            "b": "00ff",
            "n": None,
            "t": True,
            "l": [1, 2],
            "s": {"a": 1},
            "x": "NaN",
            "h": 170141183460469231731687303715884105727,
            "1": 1,
            "1_1": 1,
        }
    ]


def test_json_of_no_rows_is_an_empty_array() -> None:
    """Without rows the document is an empty array."""
    assert json.loads("".join(as_json(Answer(("a",), ("",), iter([]))))) == []


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_csv_texts_are_no_formulas(start: str) -> None:
    """A text that a spreadsheet would run is quoted, a negative number is not."""
    text = f"{start}1+1"
    lines = list(
        csv.reader(io.StringIO("".join(as_csv(answer(text, -1, None, names=(text, "b", "c"))))))
    )
    assert lines == [[f"'{text}", "b", "c"], [f"'{text}", "-1", ""]]


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
        min_size=1,
        max_size=4,
    )
)
def test_csv_keeps_every_text(values: list[str]) -> None:
    """Whatever the texts, a CSV reader gets them back, but for the leading quote."""
    out = "".join(as_csv(answer(*values)))
    read = list(csv.reader(io.StringIO(out, newline="")))[1]
    assert [v.removeprefix("'") if v[1:2] in set("=+-@") else v for v in read] == [
        v.removeprefix("'") if v[1:2] in set("=+-@") else v for v in values
    ]


def test_table_shows_controls_as_text() -> None:
    """What would move a terminal's cursor or turn text around is written out."""
    table = "".join(as_table(answer("a\x1b[2J\u202eb\x9b\n", names=("x\r",))))
    assert table == "x\\u000d\na\\u001b[2J\\u202eb\\u009b\\u000a\n(1 row)\n"


@given(st.text())
def test_shown_text_has_no_controls(text: str) -> None:
    """Text for people holds no C0, C1 or bidi control."""
    left = shown(text)
    assert not any(
        ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or 0x202A <= ord(c) <= 0x202E for c in left
    )


def test_rows_stream(site: Site) -> None:
    """The first lines of a large answer come before its last rows are made."""
    with site.reader() as reader:
        pieces = as_csv(ask(reader, "SELECT range FROM range(1000000000000)"))
        assert next(pieces) == "range\r\n"
        assert next(pieces).startswith("0\r\n1\r\n")
        del pieces
