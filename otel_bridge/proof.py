"""`@proof`: every call of a function, recorded as an intent span."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, ParamSpec, TypeVar, cast

from opentelemetry.trace import Span, Tracer

from .errors import ProofError
from .intent import ABSENT, IntentSpan, intent_span, start_intent_span
from .iteration import follow_async_generator, follow_generator

P = ParamSpec("P")
R = TypeVar("R")

_ACTION_CHARS_MAX = 256  # contract section 2; names of functions are ASCII but for odd ones
_NOT_INPUTS = ("self", "cls")


def proof(
    *,
    intent: str,
    action: str | None = None,
    capture_inputs: bool = True,
    capture_output: bool = True,
    tracer: Tracer | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Record every call of the decorated function as an intent span.

    Works on plain and async functions, on generators and async generators, and on methods (below
    `@classmethod` and `@staticmethod`). `action` is by default `module.qualname`. Inputs are the
    arguments by name, defaults included, `self` and `cls` left out; output is what is returned.
    A generator's span lasts from its first item to its end, is current only while the generator's
    own code runs, and has the number of items as output: {"yielded": 3}.

    The function's result and exceptions pass unchanged. Raises ProofError where it decorates
    something else than a function, or the intent is blank; later it never raises.
    """
    if not intent.strip():
        raise ProofError("@proof needs an intent: what the function is meant to achieve")

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if isinstance(function, (type, classmethod, staticmethod)) or not callable(function):
            raise ProofError(
                f"@proof wraps functions, not {type(function).__name__} objects; "
                "put it below @classmethod, @staticmethod or @property"
            )
        return _wrapped(
            function,
            _Plan(
                function,
                intent=intent,
                action=action or _default_action(function),
                capture_inputs=capture_inputs,
                capture_output=capture_output,
                tracer=tracer,
            ),
        )

    return decorate


class _Plan:
    """How to record the calls of one function."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        intent: str,
        action: str,
        capture_inputs: bool,
        capture_output: bool,
        tracer: Tracer | None,
    ) -> None:
        self._intent = intent
        self._action = action
        self._capture_inputs = capture_inputs
        self.capture_output = capture_output
        self._tracer = tracer
        self._signature: inspect.Signature | None = None
        with suppress(TypeError, ValueError):  # some builtins have none
            self._signature = inspect.signature(function)

    @contextmanager
    def block(self, args: Any, kwargs: Any) -> Iterator[IntentSpan]:
        """The span of one call that runs in one piece."""
        with intent_span(
            self._intent,
            action=self._action,
            inputs=self._inputs(args, kwargs),
            tracer=self._tracer,
        ) as span:
            yield span

    def start(self, args: Any, kwargs: Any) -> Span:
        """The span of one generator, not made current."""
        return start_intent_span(
            self._intent,
            action=self._action,
            inputs=self._inputs(args, kwargs),
            tracer=self._tracer,
        )

    def _inputs(self, args: Any, kwargs: Any) -> Any:
        if not self._capture_inputs:
            return ABSENT
        try:
            if self._signature is None:
                raise TypeError("no signature")
            bound = self._signature.bind(*args, **kwargs)
            bound.apply_defaults()
        except TypeError:  # the call is wrong, and will say so itself
            return {"args": list(args), "kwargs": dict(kwargs)}
        inputs = dict(bound.arguments)
        first = next(iter(inputs), None)
        if first in _NOT_INPUTS:
            del inputs[first]
        return inputs


def _wrapped(function: Callable[P, R], plan: _Plan) -> Callable[P, R]:
    anything = cast("Callable[..., Any]", function)
    if inspect.isasyncgenfunction(function):
        return cast(
            "Callable[P, R]",
            follow_async_generator(anything, plan.start, counts=plan.capture_output),
        )
    if inspect.isgeneratorfunction(function):
        return cast(
            "Callable[P, R]", follow_generator(anything, plan.start, counts=plan.capture_output)
        )
    if inspect.iscoroutinefunction(function):
        return cast("Callable[P, R]", _coroutine(anything, plan))

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with plan.block(args, kwargs) as span:
            result = function(*args, **kwargs)
            if plan.capture_output:
                span.set_output(result)
            return result

    return call


def _coroutine(function: Callable[..., Any], plan: _Plan) -> Callable[..., Any]:
    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        with plan.block(args, kwargs) as span:
            result = await function(*args, **kwargs)
            if plan.capture_output:
                span.set_output(result)
            return result

    return call


def _default_action(function: Callable[..., Any]) -> str:
    module = getattr(function, "__module__", None) or ""
    name = getattr(function, "__qualname__", None) or type(function).__name__
    return f"{module}.{name}".strip(".")[:_ACTION_CHARS_MAX]
