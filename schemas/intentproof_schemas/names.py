"""The names that producers, the receiver and readers share.

The same attributes stand, in OpenTelemetry's own model, in `registry/intentproof.yaml`;
a test keeps the two alike.
"""

# Attributes that a producer sets on a span.
INTENT = "intentproof.intent"
ACTION = "intentproof.action"
CORRELATION_ID = "intentproof.correlation_id"
INPUTS = "intentproof.inputs"
OUTPUT = "intentproof.output"
EVENT_ID = "intentproof.event_id"
STREAM_ID = "intentproof.stream_id"
SEQUENCE = "intentproof.sequence"
RUN_ID = "intentproof.run_id"
STAGE = "intentproof.stage"

PRODUCER_ATTRIBUTES = (
    INTENT,
    ACTION,
    CORRELATION_ID,
    INPUTS,
    OUTPUT,
    EVENT_ID,
    STREAM_ID,
    SEQUENCE,
    RUN_ID,
    STAGE,
)

# Attributes that the mapping writes into an event; a span that brings them is not believed.
SPAN_KIND = "intentproof.span_kind"
SCOPE_NAME = "intentproof.scope.name"
SCOPE_VERSION = "intentproof.scope.version"
LINKS = "intentproof.links"
OTHER = "intentproof.other"
DUPLICATE_KEYS = "intentproof.duplicate_keys"
TRACE_ID = "intentproof.trace_id"
SPAN_ID = "intentproof.span_id"

MAPPED_ATTRIBUTES = (
    SPAN_KIND,
    SCOPE_NAME,
    SCOPE_VERSION,
    LINKS,
    OTHER,
    DUPLICATE_KEYS,
    TRACE_ID,
    SPAN_ID,
)

SERVICE_NAME = "service.name"

# Resource attributes that an event keeps.
RESOURCE_ATTRIBUTES = (
    SERVICE_NAME,
    "service.namespace",
    "service.version",
    "service.instance.id",
    "deployment.environment.name",
)

SPAN_KINDS = ("", "internal", "server", "client", "producer", "consumer")
