"""`intent_span`: one block of the program, recorded as what it was meant to achieve."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from intentproof_schemas import names
from opentelemetry import baggage, context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode, Tracer

from .capture import json_text
from .guard import recording

SCOPE_NAME = "otel_bridge"


class Absent:
    """The type of ABSENT: no value was given, which is another thing than None."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()


class IntentSpan:
    """What `intent_span` yields. Its methods never raise; on an unrecorded span they do nothing."""

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def span(self) -> Span:
        """The OpenTelemetry span, for attributes, events and links of your own."""
        return self._span

    def set_output(self, value: Any) -> None:
        """Record what came out, as canonical JSON text; the last call wins."""
        with recording("set_output"):
            if self._span.is_recording():
                self._span.set_attribute(names.OUTPUT, json_text(value))


@contextmanager
def intent_span(
    intent: str,
    *,
    action: str | None = None,
    correlation_id: str | None = None,
    inputs: Any = ABSENT,
    attributes: Mapping[str, Any] | None = None,
    tracer: Tracer | None = None,
) -> Iterator[IntentSpan]:
    """Record the block as an intent span, in synchronous and in asynchronous code alike.

    `action` is a stable operation id and becomes the span's name; `inputs` is any value and is
    written as canonical JSON text. With a `correlation_id`, the spans begun within the block
    carry it too, also in other services, because it goes into W3C baggage: never use a secret.

    What leaves the block as an exception is recorded on the span, with status ERROR, and goes on
    unchanged; KeyboardInterrupt, task cancellation and their like too. Recording never raises.
    A blank intent is not refused here: its event goes into quarantine.
    """
    span = start_intent_span(
        intent,
        action=action,
        correlation_id=correlation_id,
        inputs=inputs,
        attributes=attributes,
        tracer=tracer,
    )
    token = context.attach(current_context(span, correlation_id))
    try:
        yield IntentSpan(span)
    except BaseException as error:
        record_failure(span, error)
        raise
    finally:
        context.detach(token)
        with recording("the end of a span"):
            span.end()


def start_intent_span(
    intent: str,
    *,
    action: str | None = None,
    correlation_id: str | None = None,
    inputs: Any = ABSENT,
    attributes: Mapping[str, Any] | None = None,
    tracer: Tracer | None = None,
) -> Span:
    """Start, but do not make current, an intent span; an invalid one where that fails.

    Everything is set at its start: that is what samplers see and what the processor remembers.
    """
    given: dict[str, Any] = {}
    with recording("attributes"):
        given.update(attributes or {})
    given[names.INTENT] = intent
    if action:
        given[names.ACTION] = action
    if correlation_id:
        given[names.CORRELATION_ID] = correlation_id
    if inputs is not ABSENT:
        given[names.INPUTS] = json_text(inputs)
    with recording("the start of a span"):
        tracer = tracer if tracer is not None else trace.get_tracer(SCOPE_NAME)
        return tracer.start_span(str(action or intent), attributes=given)
    return trace.INVALID_SPAN


def current_context(span: Span, correlation_id: str | None = None) -> Context:
    """The context in which `span` is current and its correlation id travels."""
    inside = trace.set_span_in_context(span)
    if correlation_id:
        return baggage.set_baggage(names.CORRELATION_ID, str(correlation_id), inside)
    return inside


def record_failure(span: Span, error: BaseException) -> None:
    """Record an exception as OpenTelemetry does.

    Never raises, whatever the exception's own methods do.
    """
    described = type(error).__name__
    with recording("an exception"):
        described = f"{described}: {error}"
    with recording("an exception"):
        span.record_exception(error)
    with recording("an exception"):
        span.set_status(Status(StatusCode.ERROR, described))
