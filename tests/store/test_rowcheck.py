"""Every column of a row follows from its leaf, and the fast and the slow check agree on it."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_schemas import (
    VERSION,
    ExecutionEvent,
    canonical,
    leaf_bytes,
    read_leaf,
)
from intentproof_store import event_columns
from intentproof_store.columns import COLUMNS, SEGMENT_SCHEMA
from intentproof_store.fastcheck import unvouched_rows
from intentproof_store.rowcheck import check_batch, check_row
from intentproof_store.rows import RowMaker

from tests.examples import examples
from tests.store.support import NOON_NS, TENANT, WRITER, add_event, event

INT64_MAX = 2**63 - 1
QUOTED = 'say "yes", then \\ and \n stop: {"intent":"x"},"correlationId":"y"'
SPECIAL = '{"é\\"\\\\\\n":"\\u0001\u2028\U0001f600","z":[1,null,{"output":1}]}'
VARIED: list[ExecutionEvent] = [
    event(1),
    event(2, intent=QUOTED, action=QUOTED, correlation_id=QUOTED, stage='a"b', run_id="\\"),
    event(3, correlation_id="", attributes="", output=None),
    event(4, correlation_id="", output="null", inputs=SPECIAL),
    event(
        5,
        status="error",
        output=None,
        error='{"message":"no \\"funds\\"","name":"CardError","stack":"a\\nb"}',
        parent_span_id="00f067aa0ba902b7",
        run_id="run-1",
        stage="charge",
        stream_id="worker-1",
        sequence=7,
        dropped_attributes_count=1,
        dropped_events_count=2,
        dropped_links_count=3,
    ),
    event(6, trace_id="", span_id="", mapping_rule="rest/1", event_id='id "quoted" \\'),
    event(7, trace_id="", started_ns=0, completed_ns=0),
    event(8, started_ns=NOON_NS, completed_ns=NOON_NS - 999_999_999),
    event(9, started_ns=-1, completed_ns=1, provenance="observed"),
    event(10, attributes='{"service.name":"a \\"b\\" \\\\","x":"\\"service.name\\":\\"no\\""}'),
    event(11, attributes='{"service.name":7,"y":true}', inputs='{"intent":1,"inputs":{"error":2}}'),
    event(12, attributes='{"correlationId":"z","intent":"y"}', inputs='{"output":{"inputs":1}}'),
    event(13, attributes='{"service.name":""}', output='"text, \\"output\\":1"', error=None),
    event(14, inputs='{"n":1e+300,"m":-0.5}', output="[]", intent="\u00fc\u2029\x7f"),
    event(15, started_ns=4_000_000_000 * 10**9 + 1_001, completed_ns=5_000_000_000 * 10**9 + 7_777),
]


def varied_rows() -> list[dict[str, Any]]:
    maker = RowMaker(TENANT, WRITER, NOON_NS + 123_456_789)
    maker.add_detail("genesis", {"log_key": "k", "checkpoint_interval_ms": 1})
    for place, one in enumerate(VARIED):
        kind = "conflict" if place % 4 == 3 else "event"
        add_event(maker, one, kind)
    maker.add_numbered(event_columns([VARIED[4]]))
    maker.add_numbered(event_columns([VARIED[5]._replace(sequence=3)]))
    maker.add_detail("quarantine", {"reason": "bad", "sha256": "sha256:00", "size": 3})
    maker.add_detail("gap", {"reason": 'a "b"', "message": "\\"})
    rows: list[dict[str, Any]] = maker.batch(40).to_pylist()
    context = ("intent", "correlation_id", "attributes", "service_name", "context_salt")
    payload = ("inputs", "output", "error", "payload_salt")
    for place, columns in ((1, context), (2, payload), (5, context + payload)):
        rows.append(rows[place] | dict.fromkeys(columns))
    for index, row in enumerate(rows):
        row["log_index"] = index
    return rows


ROWS = varied_rows()
ERASED = {
    len(ROWS) - 3: {"context"},
    len(ROWS) - 2: {"payload"},
    len(ROWS) - 1: {"context", "payload"},
}


def as_batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, SEGMENT_SCHEMA)


def slow(row: dict[str, Any]) -> set[str]:
    """What the specification says of one row, by code."""
    shown = as_batch([row]).to_pylist()[0]
    try:
        leaf = read_leaf(shown["leaf"] or b"")
    except ValueError:
        return {"leaf_invalid"}
    if leaf["v"] != VERSION:
        return {"unsupported"}
    return {code for code, _ in check_row(shown, leaf, tenant=TENANT, writer=WRITER)}


def fast(rows: list[dict[str, Any]]) -> dict[int, set[str]]:
    report = check_batch(as_batch(rows), tenant=TENANT, writer=WRITER)
    found: dict[int, set[str]] = {index: {"unsupported"} for index in report.unsupported}
    for problem in report.problems:
        found.setdefault(problem.log_index, set()).add(problem.code)
    return found


def test_true_rows_have_no_problem() -> None:
    """Every kind of true row, erased halves included, passes both checks."""
    report = check_batch(as_batch(ROWS), tenant=TENANT, writer=WRITER)
    assert report.problems == []
    assert report.unknown_kinds == []
    erased: dict[int, set[str]] = {}
    for half, indexes in report.erased.items():
        for index in indexes:
            erased.setdefault(index, set()).add(half)
    assert erased == ERASED
    assert [slow(row) for row in ROWS] == [set()] * len(ROWS)


def test_an_all_zero_id_is_in_neither_leaf_nor_column() -> None:
    """An all-zero id, which a leaf leaves out, is absent from its column too."""
    maker = RowMaker(TENANT, WRITER, NOON_NS)
    one = event(1, trace_id="0" * 32, span_id="0" * 16, parent_span_id="0" * 16)
    add_event(maker, one)
    report = check_batch(maker.batch(0), tenant=TENANT, writer=WRITER)
    assert report.problems == []


def test_plain_events_are_vouched_for_by_the_fast_check() -> None:
    """The fast check vouches for ordinary events itself, or it would not be fast."""
    plain = [row for row in ROWS if row["event_id"] == VARIED[0].event_id][:1]
    assert unvouched_rows(as_batch(plain * 3), tenant=TENANT, writer=WRITER) == []
    erased = [ROWS[index] for index in ERASED]
    assert unvouched_rows(as_batch(plain + erased), tenant=TENANT, writer=WRITER) == []
    for row in erased:
        assert unvouched_rows(as_batch([row] * 3), tenant=TENANT, writer=WRITER) == []
    nowhere = as_batch([row | {"log_index": None} for row in erased])
    report = check_batch(nowhere, tenant=TENANT, writer=WRITER)
    assert (report.problems, report.erased) == ([], {"context": [-1, -1], "payload": [-1, -1]})


def test_a_slice_of_a_batch_is_checked_as_itself() -> None:
    """Rows of a sliced batch are judged by their own values."""
    report = check_batch(as_batch(ROWS).slice(2, 5), tenant=TENANT, writer=WRITER)
    assert report.problems == []
    assert len(report.leaf_hashes) == 5


def test_rows_of_another_log_are_misplaced() -> None:
    """True rows under another tenant or writer are reported, every one."""
    for tenant, writer in (("beta", WRITER), (TENANT, "other-00000001")):
        report = check_batch(as_batch(ROWS), tenant=tenant, writer=writer)
        assert {each.log_index for each in report.problems} == set(range(len(ROWS)))


changed_texts = st.sampled_from(
    ["x", "null", "{}", "0", '"', "event", "conflict", "error", '{"a":1}', "0" * 32]
)
changed_numbers = st.sampled_from([0, 1, -1, 7, INT64_MAX, -(2**63), NOON_NS])


@given(st.data())
@settings(max_examples=examples(600), deadline=None)
def test_any_altered_column_is_reported_and_both_checks_agree(data: st.DataObject) -> None:
    """A column set to null, changed or taken from another row is seen, fast and slow alike."""
    place = data.draw(st.integers(0, len(ROWS) - 1), label="row")
    column = data.draw(st.sampled_from([c for c in COLUMNS if c != "log_index"]), label="column")
    row = ROWS[place]
    value = altered_value(row, column, data)
    if value == row[column]:
        return
    altered = row | {column: value}
    said = fast([*ROWS[:place], altered, *ROWS[place + 1 :]])
    assert said.keys() == {place}
    assert said[place] == slow(altered)


@pytest.mark.parametrize("column", [c for c in COLUMNS if c != "log_index"])
def test_no_column_can_be_emptied_or_exchanged(column: str) -> None:
    """In every row, null or any other row's value in a column is seen, fast and slow alike."""
    for row in ROWS:
        for value in [None, *(other[column] for other in ROWS)]:
            if value == row[column]:
                continue
            altered = row | {column: value}
            said = fast([altered]).get(row["log_index"], set())
            assert said, f"{row['kind']} row {row['log_index']}: {value!r} goes unseen"
            assert said == slow(altered)


def altered_value(row: dict[str, Any], column: str, data: st.DataObject) -> Any:
    how = data.draw(st.sampled_from(["null", "swap", "change", "change"]), label="how")
    if how == "null":
        return None
    if how == "swap":
        return data.draw(st.sampled_from([each[column] for each in ROWS]), label="value")
    kind = SEGMENT_SCHEMA.field(column).type
    now = row[column]
    if pa.types.is_string(kind):
        near = [] if not now else [now + " ", now[:-1] or "y", now + now, now.upper(), " " + now]
        return data.draw(st.sampled_from(near) | changed_texts if near else changed_texts)
    if pa.types.is_binary(kind):
        raw = now or bytes(16)
        at = data.draw(st.integers(0, len(raw) - 1))
        flipped = raw[:at] + bytes([raw[at] ^ 1 << data.draw(st.integers(0, 7))]) + raw[at + 1 :]
        return data.draw(st.sampled_from([flipped, b"", raw + b"\0", raw[:-1]]))
    if pa.types.is_floating(kind):
        return data.draw(st.sampled_from([0.0, 1.5, -1.0, float("inf"), (now or 0.0) + 0.001]))
    if pa.types.is_timestamp(kind):
        numbers = as_batch([row]).column(column).cast(pa.int64()).to_pylist()
        shift = data.draw(st.sampled_from([1, -1, 1000, 86_400_000_000]))
        return pa.scalar((numbers[0] or 0) + shift, kind).as_py()
    return data.draw(changed_numbers | st.just((now or 0) + 1))


def splices() -> list[tuple[str, ExecutionEvent, dict[str, Any]]]:
    """Moves of text between columns that leave the joined text as it was."""
    whole = event(1, correlation_id="x", error='{"message":"m","name":"n"}')
    bare = event(2, correlation_id="", attributes="")
    attributes, inputs = whole.attributes, whole.inputs
    output, error = whole.output, whole.error
    inner = canonical({"a": 1}).decode()
    return [
        (
            "correlation into attributes",
            whole,
            {"attributes": f'{attributes},"correlationId":"x"', "correlation_id": None},
        ),
        (
            "correlation and intent into attributes",
            whole,
            {
                "attributes": f'{attributes},"correlationId":"x","intent":"Return captured funds"',
                "correlation_id": None,
                "intent": None,
            },
        ),
        (
            "output into inputs",
            whole,
            {"inputs": f'{inputs},"output":{output}', "output": None},
        ),
        (
            "inputs into error",
            whole,
            {"error": f'{error},"inputs":{inputs}', "inputs": None},
        ),
        (
            "inputs and output into error",
            whole,
            {"error": f'{error},"inputs":{inputs},"output":{output}', "inputs": "", "output": None},
        ),
        (
            "error out of nothing",
            bare._replace(inputs=f'{{"inputs":{inner}}}'),
            {"inputs": inner, "error": f'{{"inputs":{inner}}}'},
        ),
        (
            "inputs into output",
            whole._replace(error=None),
            {"inputs": "", "output": f'{inputs},"output":{output}'},
        ),
        (
            "output out of inputs",
            whole._replace(inputs='{"a":1,"output":2}', output=None, error=None),
            {"inputs": '{"a":1', "output": "2}"},
        ),
        (
            "output out of inputs, with braces in pairs",
            whole._replace(inputs='{"a":"}","c":{},"output":{"b":"{"}}', output=None, error=None),
            {"inputs": '{"a":"}","c":{}', "output": '{"b":"{"}}'},
        ),
        (
            "intent into correlation",
            bare,
            {"intent": None, "correlation_id": bare.intent},
        ),
        (
            "correlation as attributes",
            bare._replace(correlation_id="x"),
            {"attributes": '"x"', "correlation_id": None},
        ),
    ]


@pytest.mark.parametrize(("words", "one", "changes"), splices(), ids=[s[0] for s in splices()])
def test_text_moved_between_columns_is_reported(
    words: str, one: ExecutionEvent, changes: dict[str, Any]
) -> None:
    """Splicing a member's text into its neighbour's column is seen, fast and slow alike."""
    maker = RowMaker(TENANT, WRITER, NOON_NS)
    add_event(maker, one)
    row: dict[str, Any] = maker.batch(0).to_pylist()[0]
    assert fast([row]) == {}
    altered = row | changes
    said = fast([altered])
    assert said, words
    assert said[0] == slow(altered)


@pytest.mark.parametrize(
    ("row", "column"),
    [(row, column) for row in ROWS for column in ("correlation_id", "attributes", "service_name")],
)
def test_an_absent_text_is_null_and_not_empty(row: dict[str, Any], column: str) -> None:
    """An empty text in place of an absent one is reported."""
    if row[column] is None:
        assert row["log_index"] in fast([row | {column: ""}])


@pytest.mark.parametrize(
    "changes",
    [
        {"received_ns": "soon"},
        {"received_ns": "9" * 5000},
        {"received_ns": str(2**64)},
        {"started_ns": ""},
        {"completed_ns": "1e9"},
        {"extra": "key"},
        {"kind": "numbered"},
        {"tenant": "beta"},
        {"started_ns": "01"},
    ],
)
def test_a_canonical_leaf_of_nonsense_is_a_problem_and_no_crash(changes: dict[str, str]) -> None:
    """A leaf that is canonical and says nonsense is reported; nothing foreign is raised."""
    row = next(row for row in ROWS if row["event_id"] == VARIED[0].event_id)
    leaf = leaf_bytes(read_leaf(row["leaf"]) | changes)
    assert fast([row | {"leaf": leaf}])


def test_a_leaf_of_an_unknown_version_is_unsupported_and_no_problem() -> None:
    """A leaf with an unknown `v` is hashed and reported as unsupported."""
    leaf = leaf_bytes(read_leaf(ROWS[1]["leaf"]) | {"v": "intentproof.leaf.v2"})
    rows = [ROWS[1] | {"leaf": leaf}]
    report = check_batch(as_batch(rows), tenant=TENANT, writer=WRITER)
    assert (report.problems, report.unsupported) == ([], [rows[0]["log_index"]])
    assert len(report.leaf_hashes) == 1


def test_an_unknown_kind_is_reported_and_no_problem() -> None:
    """A kind that this verifier does not know is counted, not refused."""
    maker = RowMaker(TENANT, WRITER, NOON_NS)
    maker.add_detail("eclipse", {"message": "dark"})
    report = check_batch(maker.batch(5), tenant=TENANT, writer=WRITER)
    assert (report.problems, report.unknown_kinds) == ([], [(5, "eclipse")])


@pytest.mark.parametrize("kind", ["numbered", "gap", "eclipse"])
def test_the_leaf_of_an_event_cannot_pose_as_another_kind(kind: str) -> None:
    """An event's row whose leaf and column say that it is of another kind is reported."""
    row = ROWS[1] | {"kind": kind}
    row["leaf"] = leaf_bytes(read_leaf(row["leaf"]) | {"kind": kind})
    assert fast([row]) == {row["log_index"]: {"column_differs"}} == {row["log_index"]: slow(row)}


@pytest.mark.parametrize("inputs", ['{"a":1}', '{"inputs":1}'])
@given(started=st.integers(-(2**63), INT64_MAX), took=st.integers(-(2**40), 2**62))
@settings(deadline=None, max_examples=examples(150))
def test_times_anywhere_in_int64_are_no_problem(inputs: str, started: int, took: int) -> None:
    """Whatever int64 nanoseconds an event has, its true row passes, on the slow path too."""
    completed = min(max(started + took, -(2**63)), INT64_MAX)
    one = event(1, started_ns=started, completed_ns=completed, inputs=inputs)
    maker = RowMaker(TENANT, WRITER, NOON_NS)
    add_event(maker, one)
    report = check_batch(maker.batch(0), tenant=TENANT, writer=WRITER)
    assert report.problems == []


@pytest.mark.parametrize("column", COLUMNS[1:])
def test_a_column_altered_alike_in_all_rows_is_reported(column: str) -> None:
    """A value that every row of a batch shows is checked like one that stands alone."""
    rows = [dict(ROWS[1], log_index=index) for index in range(3)]
    other = next(
        (r[column] for r in ROWS if r[column] is not None and r[column] != rows[0][column]), None
    )
    for row in rows:
        row[column] = other
    if other == ROWS[1][column]:
        assert column == "error"  # no other value to show: covered by the splices
        return
    assert fast(rows) == {index: slow(row) for index, row in enumerate(rows)}
    assert len(fast(rows)) == len(rows)


def test_a_batch_without_rows_has_no_problem() -> None:
    """No rows, nothing to report."""
    assert fast([]) == {}


@pytest.mark.parametrize("digits", ["g" * 64, "A" * 64, "0" * 63, "0" * 63 + '"'])
def test_the_commitment_to_an_erased_half_is_one(digits: str) -> None:
    """What nobody can recompute any more is still 64 lower-case hex digits."""
    row = ROWS[len(ROWS) - 2]
    leaf = read_leaf(row["leaf"]) | {"payload": f"sha256:{digits}"}
    altered = row | {"leaf": leaf_bytes(leaf)}
    assert unvouched_rows(as_batch([altered]), tenant=TENANT, writer=WRITER) == [0]
