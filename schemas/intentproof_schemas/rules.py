"""The mapping rules, as data: which span is an action, and where its parts stand.

A rule never changes: a change is a new rule with the next number.
"""

from typing import NamedTuple


class Rule(NamedTuple):
    """One convention. Sources are attribute keys, first present one first.

    `json_types` pairs a source with the attribute that says whether its text is JSON; a source
    without such an attribute is read as JSON where it is JSON.
    """

    name: str
    marker: tuple[str, str]
    action: tuple[str, ...]
    intent: tuple[str, ...]
    inputs: tuple[str, ...]
    output: tuple[str, ...]
    json_types: tuple[tuple[str, str], ...] = ()

    def sources(self) -> frozenset[str]:
        """Every attribute that the rule names as a source of intent, inputs or output."""
        return frozenset((*self.intent, *self.inputs, *self.output))


DECLARED = "intentproof/1"

_GEN_AI_SOURCES = (
    ("gen_ai.tool.name",),
    ("gen_ai.tool.description",),
    ("gen_ai.tool.call.arguments",),
    ("gen_ai.tool.call.result",),
)

# In order of precedence (contract §2). The strings are copied: the constants are deprecated
# in the OpenTelemetry packages while their new home is still moving.
CONVENTIONS = (
    Rule("gen_ai/1", ("gen_ai.operation.name", "execute_tool"), *_GEN_AI_SOURCES),
    Rule("mcp/1", ("mcp.method.name", "tools/call"), *_GEN_AI_SOURCES),
    Rule(
        "openinference/1",
        ("openinference.span.kind", "TOOL"),
        action=("tool.name",),
        intent=("tool.description",),
        inputs=("input.value", "tool.parameters"),
        output=("output.value",),
        json_types=(
            ("input.value", "input.mime_type"),
            ("output.value", "output.mime_type"),
        ),
    ),
    Rule(
        "openllmetry/1",
        ("traceloop.span.kind", "tool"),
        action=("traceloop.entity.name",),
        intent=(),
        inputs=("traceloop.entity.input", "mcp.request.argument"),
        output=("traceloop.entity.output", "mcp.response.value"),
    ),
)

MARKERS = frozenset(rule.marker[0] for rule in CONVENTIONS)
