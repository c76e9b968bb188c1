"""What a schema cannot say of an event, and that ours says the rest."""

import json
import math
from typing import Any

import pytest
from intentproof_schemas import EventInvalid, check_event, schema
from intentproof_schemas.checks import parse_time_us

from tests.schemas.support import validator, vectors

OK: dict[str, Any] = {
    "id": "evt_1",
    "intent": "Return captured funds",
    "action": "stripe.refund.create",
    "status": "ok",
    "inputs": {},
    "output": None,
    "startedAt": "2026-01-01T00:00:00Z",
    "completedAt": "2026-01-01T00:00:01Z",
    "durationMs": 1000,
}
FAILED: dict[str, Any] = {**OK, "status": "error", "error": {"name": "E", "message": ""}}


ANY_JSON: tuple[Any, ...] = (None, 0, "", [], {"a": [{}]}, False)


def issues(**changes: Any) -> tuple[str, ...]:
    with pytest.raises(EventInvalid) as caught:
        check_event({**OK, **changes})
    return caught.value.issues


@pytest.mark.parametrize(
    "event",
    [
        OK,
        FAILED,
        {**OK, "correlationId": " x "},
        {**OK, "attributes": {"a": "b", "c": 1, "d": 1.5, "e": True, "f": None}},
        {**FAILED, "error": {"name": "E", "message": "", "cause": {"name": "C", "message": "m"}}},
    ],
)
def test_a_sound_event_passes(event: dict[str, Any]) -> None:
    """Both the schema and the checks take it."""
    validator("execution_event.v1").validate(event)
    check_event(event)


# --- Times


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00z", 0),
        ("1970-01-01T00:00:00-00:00", 0),
        ("1970-01-01T01:30:00+01:30", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("1970-01-01T00:00:00.5Z", 500_000),
        ("1970-01-01T00:00:00.1234567Z", 123_456),
        ("1970-01-01T00:00:00.000000999999999999Z", 0),
        ("2016-12-31T23:59:60Z", 1_483_228_799_999_999),
        ("2016-12-31T23:59:60.25Z", 1_483_228_799_999_999),
        ("2017-01-01T00:59:60+01:00", 1_483_228_799_999_999),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000_000),
        ("0001-01-01T00:00:00+23:59", -62_135_683_140_000_000),
    ],
)
def test_a_time_is_read_in_microseconds(text: str, us: int) -> None:
    """RFC 3339, cut to microseconds; a leap second reads as :59.999999."""
    assert parse_time_us(text) == us


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-01-01 00:00:00Z",
        "2026-01-01T00:00Z",
        "2026-02-30T00:00:00Z",
        "2025-02-29T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:61Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00,5Z",
        "2026-01-01T00:00:00+0100",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00+00:60",
        "2026-01-01T00:00:00Z\n",
        " 2026-01-01T00:00:00Z",
        "\u0662\u0660\u0662\u0666-01-01T00:00:00Z",
        "2026-01-01T00:00:00.\u0663Z",
        "2026-W01-1T00:00:00Z",
        20260101,
        None,
        True,
    ],
    ids=ascii,
)
def test_what_is_no_rfc_3339_time(text: Any) -> None:
    """Other spellings, impossible dates and other types are no times."""
    assert parse_time_us(text) is None


def test_without_both_times_nothing_else_is_said_of_them() -> None:
    """A time that is none is one issue, whatever the duration says."""
    assert issues(startedAt="x", durationMs=-5) == ("startedAt: must be an RFC 3339 time",)
    assert len(issues(startedAt="x", completedAt=None)) == 2


def test_a_completion_before_the_start_is_an_issue() -> None:
    """An event does not complete before it starts."""
    found = issues(completedAt="2025-12-31T23:59:59.999999Z", durationMs=0)
    assert found == ("completedAt: before startedAt",)


def test_an_event_may_take_no_time() -> None:
    """Start and completion may be one moment, in different zones."""
    check_event({**OK, "completedAt": "2026-01-01T01:00:00+01:00", "durationMs": 0})


# --- Duration


@pytest.mark.parametrize(
    ("completed", "duration"),
    [
        ("2026-01-01T00:00:01Z", 999),
        ("2026-01-01T00:00:01Z", 1001),
        ("2026-01-01T00:00:01Z", 1000.5),
        ("2026-01-01T00:00:00.0014Z", 0),
        ("2026-01-01T00:00:00.0016Z", 3),
        ("2026-01-01T00:00:00.000001Z", 0.001),
        ("2026-01-01T00:00:00Z", 1),
    ],
)
def test_a_duration_may_be_off_by_a_millisecond(completed: str, duration: float) -> None:
    """Whole or broken, within 1 ms of the rounded difference of the times."""
    check_event({**OK, "completedAt": completed, "durationMs": duration})


@pytest.mark.parametrize("duration", [998.9, 998, 1001.1, 1002, 0, 1e300])
def test_a_duration_that_contradicts_the_times_is_an_issue(duration: float) -> None:
    """More than 1 ms off is a contradiction."""
    assert issues(durationMs=duration)[0].startswith("durationMs: ")


@pytest.mark.parametrize("duration", [math.nan, math.inf, -math.inf, None, "1000"])
def test_a_duration_that_is_no_finite_number_is_an_issue(duration: Any) -> None:
    """NaN and the infinities, which JSON parsers may let in, are no durations."""
    assert issues(durationMs=duration) == ("durationMs: must be a finite number",)


def test_a_duration_beyond_a_double_is_an_issue() -> None:
    """An integer that no double holds is refused like any other wrong duration."""
    assert issues(durationMs=10**400)[0].startswith("durationMs: ")


@pytest.mark.parametrize("fraction", ["", ".9"])
def test_a_leap_second_takes_part_in_the_duration(fraction: str) -> None:
    """From a leap second to midnight is a microsecond."""
    times = {
        "startedAt": f"2016-12-31T23:59:60{fraction}Z",
        "completedAt": "2017-01-01T00:00:00Z",
        "durationMs": 0,
    }
    check_event({**OK, **times})


# --- The rest


@pytest.mark.parametrize("blank", ["", " ", "\t\r\n "])
def test_a_blank_correlation_id_is_an_issue(blank: str) -> None:
    """A correlation id correlates something."""
    assert issues(correlationId=blank) == ("correlationId: must not be blank",)


def test_an_ok_event_with_an_error_is_an_issue() -> None:
    """Even a null error is one too many."""
    assert issues(error=None)[0] == "error: an event that is ok has none"


@pytest.mark.parametrize("value", [{}, [], {"a": 1}])
def test_a_nested_attribute_is_an_issue(value: Any) -> None:
    """Attributes are flat."""
    assert issues(attributes={"meta": value})[0].startswith("attributes.meta: ")


@pytest.mark.parametrize(
    "cause", [None, "x", [], {}, {"name": "C"}, {"message": "m"}, {"name": 1, "message": "m"}]
)
def test_a_cause_without_name_and_message_is_an_issue(cause: Any) -> None:
    """An error's cause is an error."""
    error = {"name": "E", "message": "", "cause": cause}
    assert issues(status="error", error=error) == (
        "error.cause: must be an object with a name and a message",
    )


def test_every_issue_is_named() -> None:
    """One answer tells all that is wrong."""
    found = issues(durationMs=5, correlationId=" ", attributes={"a": {}}, error={"name": "E"})
    assert [issue.partition(":")[0] for issue in found] == [
        "durationMs",
        "correlationId",
        "error",
        "attributes.a",
    ]


# --- The schema


def _without(event: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name != key}


@pytest.mark.parametrize(
    "event",
    [
        *(_without(OK, key) for key in OK),
        *({**OK, key: ""} for key in ("id", "intent", "action")),
        {**OK, "status": "unset"},
        {**OK, "inputs": []},
        {**OK, "inputs": None},
        {**OK, "error": {"name": "E", "message": ""}},
        {**OK, "traceId": "x"},
        {**OK, "startedAt": "yesterday"},
        {**OK, "durationMs": -1},
        {**OK, "durationMs": "1"},
        {**OK, "correlationId": ""},
        {**OK, "correlationId": None},
        *({**OK, "attributes": {key: 1}} for key in ("", "a b", "\u00e9", "k" * 257, "k\n")),
        {**OK, "attributes": {"a": []}},
        {**OK, "attributes": None},
        _without(FAILED, "error"),
        {**FAILED, "error": "boom"},
        {**FAILED, "error": {"message": ""}},
        {**FAILED, "error": {"name": "E"}},
        {**FAILED, "error": {"name": "", "message": ""}},
        {**FAILED, "error": {"name": "E", "message": "", "type": "E"}},
        {**FAILED, "error": {"name": "E", "message": "", "code": 5}},
        {**FAILED, "error": {"name": "E", "message": "", "stack": 5}},
        {**FAILED, "error": {"name": "E", "message": "", "cause": {"name": "C"}}},
    ],
    ids=lambda event: json.dumps(event)[-60:],
)
def test_the_schema_refuses(event: dict[str, Any]) -> None:
    """A member too few or too many, a wrong type or an empty name is no event."""
    assert not validator("execution_event.v1").is_valid(event)


@pytest.mark.parametrize(
    "event",
    [
        *({**OK, "output": value} for value in ANY_JSON),
        {**OK, "attributes": {"k" * 256: 1, "A-z_0.9:": None}},
        _without(FAILED, "output"),
        {**FAILED, "error": {"name": "E", "message": "m", "code": "c", "stack": None}},
        {**FAILED, "error": {"name": "E", "message": "", "cause": {"name": "C", "message": ""}}},
    ],
    ids=lambda event: json.dumps(event)[-60:],
)
def test_the_schema_takes(event: dict[str, Any]) -> None:
    """Any JSON value may come out; a stack may be null, a message empty."""
    validator("execution_event.v1").validate(event)


def _judge(event: dict[str, Any]) -> bool:
    if not validator("execution_event.v1").is_valid(event):
        return False
    try:
        check_event(event)
    except EventInvalid:
        return False
    return True


def test_the_cases_of_the_seed_spec_are_judged_alike() -> None:
    """The seed specification's events are valid and invalid here too."""
    lines = vectors("intentproof/seed_spec_v1/execution_event_cases.jsonl").read_text("utf-8")
    cases = [json.loads(line) for line in lines.splitlines()]
    wanted = {case["caseId"]: case["shouldValidate"] for case in cases}
    assert {case["caseId"]: _judge(case["event"]) for case in cases} == wanted


def test_our_schema_constrains_what_the_seed_spec_s_does() -> None:
    """Root members, what is required, and an error's members are the specification's."""
    text = vectors("intentproof/seed_spec_v1/execution_event.v1.schema.json").read_text("utf-8")
    theirs, ours = json.loads(text), schema("execution_event.v1")
    assert set(ours["properties"]) == set(theirs["properties"])
    assert set(ours["required"]) == set(theirs["required"])
    their_error, our_error = theirs["$defs"]["ExecutionError"], ours["$defs"]["error"]
    assert set(our_error["properties"]) == set(their_error["properties"])
    assert set(our_error["required"]) == set(their_error["required"])
    assert ours["$id"] != theirs["$id"]
