"""Generators under `@proof`: a span that is current only while the generator's own code runs.

A span left current across a `yield` would become the parent of whatever the consumer does.
"""

import functools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from types import TracebackType
from typing import Any, TypeAlias

from opentelemetry import context
from opentelemetry.trace import Span

from .guard import recording
from .intent import IntentSpan, current_context, record_failure

Start: TypeAlias = Callable[[Any, Any], Span]
_ENDS = (StopIteration, StopAsyncIteration, GeneratorExit)  # how a generator ends well


class _Iteration:
    """One generator's span: current while the generator's code runs, ended when it does."""

    def __init__(self, span: Span, *, counts: bool) -> None:
        self._span = span
        self._counts = counts
        self._inside = current_context(self._span)
        self.yielded = 0

    def __enter__(self) -> None:
        """Begin one run of the generator's own code."""
        self._token = context.attach(self._inside)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        context.detach(self._token)
        if error is not None and not isinstance(error, _ENDS):
            record_failure(self._span, error)

    def end(self) -> None:
        """End the span, whichever way the iteration ended."""
        if self._counts:
            IntentSpan(self._span).set_output({"yielded": self.yielded})
        with recording("the end of a span"):
            self._span.end()


def follow_generator(
    function: Callable[..., Any], start: Start, *, counts: bool
) -> Callable[..., Any]:
    """A generator function whose iterations are recorded; see `proof`."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        iteration = _Iteration(start(args, kwargs), counts=counts)
        try:
            generator = function(*args, **kwargs)
            resume, sent = generator.send, None
            while True:
                try:
                    with iteration:
                        item = resume(sent)
                    iteration.yielded += 1
                except StopIteration as stop:
                    return stop.value
                try:
                    sent = yield item
                    resume = generator.send
                except GeneratorExit:
                    with iteration:
                        generator.close()
                    raise
                except BaseException as error:  # noqa: BLE001 - it belongs inside the generator
                    resume, sent = generator.throw, error
        finally:
            iteration.end()

    return call


def follow_async_generator(
    function: Callable[..., Any], start: Start, *, counts: bool
) -> Callable[..., Any]:
    """An async generator function whose iterations are recorded; see `proof`."""

    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        iteration = _Iteration(start(args, kwargs), counts=counts)
        try:
            generator: AsyncGenerator[Any, Any] = function(*args, **kwargs)
            resume, sent = generator.asend, None
            while True:
                try:
                    with iteration:
                        item = await resume(sent)
                    iteration.yielded += 1
                except StopAsyncIteration:
                    return
                try:
                    sent = yield item
                    resume = generator.asend
                except GeneratorExit:
                    with iteration:
                        await generator.aclose()
                    raise
                except BaseException as error:  # noqa: BLE001 - it belongs inside the generator
                    resume, sent = generator.athrow, error
        finally:
            iteration.end()

    return call
