"""What other conventions' tool spans become (contract §2)."""

from typing import Any

import pytest
from intentproof_schemas import (
    KeyValues,
)

from tests.schemas.support import (
    BARE,
    BLANK,
    GEN_AI,
    MCP,
    OPENINFERENCE,
    OPENLLMETRY,
    declared,
    kept,
    mapped,
    observed,
)

CONVENTIONS = [
    (
        rule,
        marker,
        {"gen_ai.tool.name": "search"},
        {"gen_ai.tool.description": "Find flights"},
        {"gen_ai.tool.call.arguments": '{"to":"OSL"}', "gen_ai.tool.call.result": "[1]"},
    )
    for rule, marker in (("gen_ai/1", GEN_AI), ("mcp/1", MCP))
] + [
    (
        "openinference/1",
        OPENINFERENCE,
        {"tool.name": "search"},
        {"tool.description": "Find flights"},
        {"input.value": '{"to":"OSL"}', "output.value": "[1]"},
    ),
    (
        "openllmetry/1",
        OPENLLMETRY,
        {"traceloop.entity.name": "search"},
        {},
        {"traceloop.entity.input": '{"to":"OSL"}', "traceloop.entity.output": "[1]"},
    ),
]
RULES = pytest.mark.parametrize(
    ("rule", "marker", "action", "intent", "payload"),
    CONVENTIONS,
    ids=[convention[0] for convention in CONVENTIONS],
)


@RULES
def test_a_convention_makes_an_event(
    rule: str,
    marker: tuple[str, str],
    action: dict[str, str],
    intent: dict[str, str],
    payload: dict[str, str],
) -> None:
    """A tool span is observed: name, description, arguments and result have their places."""
    pairs = (marker, *action.items(), *intent.items(), *payload.items())
    event = mapped(BARE._replace(attributes=pairs))
    assert (event.provenance, event.mapping_rule, event.action) == ("observed", rule, "search")
    assert event.intent == ("Find flights" if intent else "search")
    assert (event.inputs, event.output) == ('{"to":"OSL"}', "[1]")


@RULES
def test_a_convention_s_sources_leave_the_attributes(
    rule: str,
    marker: tuple[str, str],
    action: dict[str, str],
    intent: dict[str, str],
    payload: dict[str, str],
) -> None:
    """Sources of intent, inputs and output are not kept twice; the action's name and marker are."""
    pairs: Any = (marker, *action.items(), *intent.items(), *payload.items(), ("x", 1))
    assert kept(BARE._replace(attributes=pairs)) == {marker[0]: marker[1], **action, "x": 1}


@RULES
def test_a_convention_without_a_description_intends_its_action(
    rule: str,
    marker: tuple[str, str],
    action: dict[str, str],
    intent: dict[str, str],
    payload: dict[str, str],
) -> None:
    """The intent is the tool's description, else the action, be it only the span's name."""
    event = mapped(BARE._replace(attributes=(marker, *action.items())))
    assert (event.intent, event.action) == ("search", "search")
    nameless = mapped(BARE._replace(attributes=(marker,)))
    assert (nameless.intent, nameless.action) == ("refund", "refund")
    assert (nameless.inputs, nameless.output) == ("{}", "null")


@RULES
def test_a_declared_span_keeps_a_convention_s_attributes(
    rule: str,
    marker: tuple[str, str],
    action: dict[str, str],
    intent: dict[str, str],
    payload: dict[str, str],
) -> None:
    """With an intent the convention is no source: its attributes are facts like any other."""
    pairs: dict[str, Any] = {marker[0]: marker[1], **action, **intent, **payload}
    span = declared(*pairs.items())
    assert kept(span) == pairs
    event = mapped(span)
    assert (event.mapping_rule, event.action, event.inputs) == ("intentproof/1", "refund", "{}")


def test_sources_that_were_not_used_leave_too() -> None:
    """A second source of the inputs is not kept as an attribute where the first was there."""
    openinference: Any = (OPENINFERENCE, ("input.value", "[1]"), ("tool.parameters", "{}"))
    span = BARE._replace(attributes=openinference)
    assert mapped(span).inputs == '{"args":[1]}'
    assert kept(span) == {"openinference.span.kind": "TOOL"}
    openllmetry: Any = (
        OPENLLMETRY,
        ("mcp.request.argument", '{"a":1}'),
        ("mcp.response.value", "2"),
        ("traceloop.entity.input", " "),
    )
    span = BARE._replace(attributes=openllmetry)
    assert (mapped(span).inputs, mapped(span).output) == ('{"a":1}', "2")
    assert kept(span) == {"traceloop.span.kind": "tool"}


@pytest.mark.parametrize(
    ("first", "others"),
    [
        ("gen_ai/1", (OPENLLMETRY, OPENINFERENCE, MCP, GEN_AI)),
        ("mcp/1", (OPENLLMETRY, OPENINFERENCE, MCP)),
        ("openinference/1", (OPENLLMETRY, OPENINFERENCE)),
    ],
)
def test_conventions_have_an_order(first: str, others: Any) -> None:
    """GenAI before MCP before OpenInference before OpenLLMetry, in whatever order they stand."""
    assert mapped(BARE._replace(attributes=others)).mapping_rule == first


def test_a_convention_of_another_rule_leaves_that_rule_s_sources() -> None:
    """Only the rule that made the event takes its sources away."""
    span = observed(("input.value", "x"), ("gen_ai.tool.call.result", "1"))
    assert set(kept(span)) == {"gen_ai.operation.name", "input.value"}


def test_the_producer_s_own_attributes_win_over_a_convention_s() -> None:
    """On an observed span our attributes still say more than the convention's."""
    span = observed(
        ("gen_ai.tool.name", "search"),
        ("gen_ai.tool.call.arguments", "[1]"),
        ("gen_ai.tool.call.result", "[2]"),
        ("intentproof.action", "flights.search"),
        ("intentproof.inputs", '{"a":1}'),
        ("intentproof.output", "3"),
        ("intentproof.correlation_id", "c"),
        ("intentproof.sequence", 7),
    )
    event = mapped(span)
    assert (event.action, event.inputs, event.output) == ("flights.search", '{"a":1}', "3")
    assert (event.correlation_id, event.sequence, event.provenance) == ("c", 7, "observed")
    assert set(kept(span)) == {"gen_ai.operation.name", "gen_ai.tool.name"}


def test_a_convention_s_texts_are_cut_at_a_code_point() -> None:
    """What a convention supplied is cut to the limit, not refused."""
    span = observed(
        ("gen_ai.tool.description", "a" + "\u00e9" * 2048),
        ("gen_ai.tool.name", "a" + "\u20ac" * 100),
    )
    event = mapped(span)
    assert event.intent == "a" + "\u00e9" * 2047
    assert event.action == "a" + "\u20ac" * 85
    exact = observed(("gen_ai.tool.description", "\u00e9" * 2048), ("gen_ai.tool.name", "n" * 256))
    assert (mapped(exact).intent, mapped(exact).action) == ("\u00e9" * 2048, "n" * 256)


def test_a_convention_s_blank_texts_are_as_if_absent() -> None:
    """A blank description or tool name is none."""
    event = mapped(observed(("gen_ai.tool.description", BLANK), ("gen_ai.tool.name", "")))
    assert (event.intent, event.action) == ("refund", "refund")


def test_a_convention_s_arguments_may_be_any_value() -> None:
    """Arguments may arrive as a map and a result as an array."""
    span = observed(
        ("gen_ai.tool.call.arguments", KeyValues((("to", "OSL"),))),
        ("gen_ai.tool.call.result", [1, b"\0"]),
    )
    assert (mapped(span).inputs, mapped(span).output) == ('{"to":"OSL"}', '[1,"AA=="]')


@pytest.mark.parametrize(
    ("mime", "inputs"),
    [
        ("application/json", '{"args":[1]}'),
        ("Application/JSON; charset=utf-8", '{"args":[1]}'),
        ("application/problem+json", '{"args":[1]}'),
        ("text/plain", '{"value":"[1]"}'),
        (None, '{"args":[1]}'),
    ],
)
def test_openinference_s_mime_type_says_what_is_json(mime: Any, inputs: str) -> None:
    """Text that is said to be plain is not read as JSON."""
    pairs = (OPENINFERENCE, ("input.value", "[1]"), ("input.mime_type", mime))
    assert mapped(BARE._replace(attributes=pairs)).inputs == inputs
