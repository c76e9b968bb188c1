"""What the heads of the other examples claim, seen to be so."""

from collections.abc import Callable, Mapping

import pytest

from tests.collector.application import (
    DECLARED,
    expected_events,
    send,
    spans_of_one_trace,
    stored_events,
    trace_id_of,
    wait_until_delivery_failed,
    wait_until_stored,
)
from tests.collector.examples import EXAMPLES
from tests.collector.processes import Collector, Process, Receiver

MakeExample = Callable[..., Collector]

pytestmark = [
    pytest.mark.collector,
    pytest.mark.long,
    pytest.mark.timeout(900),  # the first test may have to build the Collector
]


@pytest.mark.parametrize(
    ("end", "told"),
    [(Process.kill, False), (Process.stop, True)],
    ids=["crash", "restart"],
)
def test_minimal_loses_what_waits_when_it_ends(
    example_collector: MakeExample,
    receiver: Receiver,
    *,
    end: Callable[[Process], None],
    told: bool,
) -> None:
    """Without a disk, spans acknowledged while the receiver was down are gone with the process."""
    lost, later = spans_of_one_trace(DECLARED), spans_of_one_trace(DECLARED)
    collector = example_collector(EXAMPLES["minimal"])

    with collector.collecting() as collecting:
        send(lost, collector)
        wait_until_delivery_failed(collecting)
        end(collecting)
    with receiver.serving() as serving, collector.collecting():
        send(later, collector)
        wait_until_stored(receiver, serving, trace_id_of(later), count=len(DECLARED))
        events = stored_events(receiver, trace_id_of(lost))

    assert events == []
    assert ("Dropping data" in collector.log.read_text()) is told


def test_tls_is_the_default(example_collector: MakeExample, receiver: Receiver) -> None:
    """Nothing goes in clear unless INTENTPROOF_INSECURE says so; it waits instead."""
    spans = spans_of_one_trace(DECLARED)
    collector = example_collector(EXAMPLES["durable queue"], INTENTPROOF_INSECURE="false")

    with receiver.serving(), collector.collecting() as collecting:
        send(spans, collector)
        wait_until_delivery_failed(collecting)
        events = stored_events(receiver, trace_id_of(spans))

    assert events == []


# Tool spans and what becomes of each: provenance, intent, action, inputs, output.
TOOL = {"gen_ai.operation.name": "execute_tool"}
CALL = {"gen_ai.tool.call.arguments": '{"charge":"ch_1"}', "gen_ai.tool.call.result": '"re_1"'}
MARKED: list[tuple[Mapping[str, str], tuple[str, str, str, str, str]]] = [
    (
        {**TOOL, "gen_ai.tool.name": "issue_refund", **CALL},
        ("declared", "Return captured funds", "issue_refund", '{"charge":"ch_1"}', '"re_1"'),
    ),
    (
        {
            "mcp.method.name": "tools/call",
            "gen_ai.tool.name": "lookup_order",
            "gen_ai.tool.description": "Look an order up",
            **CALL,
        },
        ("declared", "Look an order up", "lookup_order", '{"charge":"ch_1"}', '"re_1"'),
    ),
    (
        {**TOOL, "gen_ai.tool.name": "no_words", **CALL},
        ("observed", "no_words", "no_words", '{"charge":"ch_1"}', '"re_1"'),
    ),
    (
        {**TOOL, "gen_ai.tool.name": "blank_words", "gen_ai.tool.description": " \t", **CALL},
        ("observed", "blank_words", "blank_words", '{"charge":"ch_1"}', '"re_1"'),
    ),
    (
        {**TOOL, "gen_ai.tool.name": "many_words", "gen_ai.tool.description": "ab" * 2049, **CALL},
        ("observed", "ab" * 2048, "many_words", '{"charge":"ch_1"}', '"re_1"'),
    ),
    (
        {**TOOL, "gen_ai.tool.name": "n" * 257, "gen_ai.tool.description": "Long name"},
        ("declared", "Long name", "call", "{}", "null"),
    ),
    (
        {**TOOL, "gen_ai.tool.name": "issue_refund", "intentproof.intent": "Its own", **CALL},
        ("declared", "Its own", "call", "{}", "null"),
    ),
]


def test_marked_tool_spans_are_declared_in_the_words_of_the_configuration(
    example_collector: MakeExample, receiver: Receiver
) -> None:
    """Marked spans carry intent, action, inputs and output once; no span is quarantined for it."""
    spans = spans_of_one_trace([attributes for attributes, _ in MARKED])
    trace_id = trace_id_of(spans)
    collector = example_collector(EXAMPLES["marked tool spans"])
    columns = "span_id, provenance, intent, action, inputs, output, attributes"

    with receiver.serving() as serving, collector.collecting():
        send(spans, collector)
        wait_until_stored(receiver, serving, trace_id, count=len(MARKED))
        rows = receiver.sql(f"SELECT {columns} FROM events WHERE trace_id = '{trace_id}'")

    stored = {row["span_id"]: row for row in rows}
    for attributes, (provenance, *told) in MARKED:
        ((span_id, _),) = expected_events(spans, provenance, [attributes])
        row = stored.pop(span_id)
        assert [row["provenance"], *(row[c] for c in columns.split(", ")[2:6])] == [
            provenance,
            *told,
        ]
        assert ("gen_ai.tool.call" in row["attributes"]) is (told[0] == "Its own")
    assert not stored


def test_marked_and_unmarked_copies_are_a_conflict(
    example_collector: MakeExample, receiver: Receiver
) -> None:
    """A tool span that comes once by a marking Collector and once by another is disputed."""
    spans = spans_of_one_trace([MARKED[0][0]])
    trace_id = trace_id_of(spans)
    marking = example_collector(EXAMPLES["marked tool spans"])
    plain = example_collector(EXAMPLES["durable queue"])

    with receiver.serving() as serving, marking.collecting(), plain.collecting():
        send(spans, plain)
        wait_until_stored(receiver, serving, trace_id, count=1)
        send(spans, marking)
        serving.wait_for(
            lambda: receiver.sql("SELECT count(*) AS n FROM conflicts") == [{"n": 1}],
            what="conflict",
        )
        rows = receiver.sql(f"SELECT provenance, disputed FROM events WHERE trace_id='{trace_id}'")

    assert rows == [{"provenance": "observed", "disputed": True}]
