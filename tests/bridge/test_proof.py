"""`@proof`: every call as an event, every function as it was."""

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Callable, Generator
from functools import partial
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import Tracer

from otel_bridge import InMemoryExporter, ProofError, proof

Decorate = Callable[[Callable[..., Any]], Callable[..., Any]]


@pytest.fixture
def prove(tracer: Tracer) -> Callable[..., Decorate]:
    return partial(proof, intent="Return captured funds", tracer=tracer)


def test_a_call_is_an_event(prove: Callable[..., Decorate], memory: InMemoryExporter) -> None:
    """Arguments by name, defaults included, and the result are in the event."""

    @prove()
    def refund(charge: str, amount: int = 5, *rest: int, note: str = "", **other: Any) -> str:
        return f"{charge}:{amount}"

    assert refund("ch_1", 7, 8, 9, note="n", reason="r") == "ch_1:7"
    assert refund("ch_2") == "ch_2:5"
    first, second = memory.events
    assert json.loads(first.inputs) == {
        "charge": "ch_1",
        "amount": 7,
        "rest": [8, 9],
        "note": "n",
        "other": {"reason": "r"},
    }
    assert json.loads(second.inputs)["amount"] == 5
    assert first.output == '"ch_1:7"'
    assert first.action == f"{__name__}.test_a_call_is_an_event.<locals>.refund"


def test_the_function_stays_itself(prove: Callable[..., Decorate]) -> None:
    """Name, documentation, signature and kind are the function's own."""

    @prove(action="a")
    def plain(a: int) -> int:
        """Words."""
        return a

    @prove()
    async def later() -> None: ...

    @prove()
    def items() -> Generator[int, None, None]:
        yield 1

    @prove()
    async def async_items() -> AsyncIterator[int]:
        yield 1

    assert (plain.__name__, plain.__doc__) == ("plain", "Words.")
    assert list(inspect.signature(plain).parameters) == ["a"]
    assert inspect.iscoroutinefunction(later)
    assert inspect.isgeneratorfunction(items)
    assert inspect.isasyncgenfunction(async_items)


def test_methods_leave_self_out(prove: Callable[..., Decorate], memory: InMemoryExporter) -> None:
    """The object and the class that a method is called on are no inputs."""

    class Till:
        @prove()
        def take(self, amount: int) -> int:
            return amount

        @classmethod
        @prove()
        def make(cls, number: int) -> int:
            return number

        @staticmethod
        @prove()
        def count(self_service: int) -> int:
            return self_service

    assert (Till().take(1), Till.make(2), Till.count(3)) == (1, 2, 3)
    assert [event.inputs for event in memory.events] == [
        '{"amount":1}',
        '{"number":2}',
        '{"self_service":3}',
    ]


def test_nothing_is_captured_where_nothing_may_be(
    prove: Callable[..., Decorate], memory: InMemoryExporter
) -> None:
    """Inputs and output can be kept out of the event."""

    @prove(capture_inputs=False, capture_output=False)
    def refund(card: str) -> str:
        return card

    refund("4242")
    assert (memory.events[0].inputs, memory.events[0].output) == ("{}", "null")


def test_exceptions_pass_untouched(
    prove: Callable[..., Decorate], memory: InMemoryExporter
) -> None:
    """The caller sees what it would have seen, a wrong call included."""
    error = KeyError("gone")

    @prove()
    def refund(charge: str) -> None:
        raise error

    with pytest.raises(KeyError) as caught:
        refund("ch_1")
    assert caught.value is error
    with pytest.raises(TypeError, match="unexpected keyword"):
        refund(charg="ch_1")
    assert [event.status for event in memory.events] == ["error", "error"]
    assert json.loads(memory.events[1].inputs) == {"args": [], "kwargs": {"charg": "ch_1"}}


def test_a_coroutine_is_recorded_while_it_runs(
    prove: Callable[..., Decorate], memory: InMemoryExporter
) -> None:
    """The event of an async call has its result, and lasts until it."""

    @prove()
    async def refund(amount: int) -> int:
        await asyncio.sleep(0)
        return amount

    assert asyncio.run(refund(3)) == 3
    assert (memory.events[0].inputs, memory.events[0].output) == ('{"amount":3}', "3")


def test_cancellation_is_an_error(prove: Callable[..., Decorate], memory: InMemoryExporter) -> None:
    """A cancelled task stays cancelled, and its event says so."""

    @prove()
    async def wait() -> None:
        await asyncio.Event().wait()

    async def cancel() -> None:
        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())
    assert json.loads(memory.events[0].error or "")["name"] == "asyncio.exceptions.CancelledError"


def test_a_generator_is_recorded_around_its_iteration(
    prove: Callable[..., Decorate], memory: InMemoryExporter
) -> None:
    """Items, sent values and the returned value pass; the span is current only inside."""
    inside: list[bool] = []

    @prove()
    def talk() -> Generator[int, str, str]:
        inside.append(trace.get_current_span().is_recording())
        heard = yield 1
        heard += yield 2
        return heard

    generator = talk()
    assert memory.events == []
    assert next(generator) == 1
    assert not trace.get_current_span().is_recording()
    assert generator.send("a") == 2
    with pytest.raises(StopIteration) as stop:
        generator.send("b")
    assert (stop.value.value, inside) == ("ab", [True])
    (event,) = memory.events
    assert (event.status, event.output) == ("ok", '{"yielded":2}')


def test_a_generator_may_be_left_early(
    prove: Callable[..., Decorate], memory: InMemoryExporter
) -> None:
    """A consumer that has seen enough is no error, and the generator cleans up."""
    cleaned: list[bool] = []

    @prove()
    def count() -> Generator[int, None, None]:
        try:
            yield from range(10)
        finally:
            cleaned.append(True)

    for number in (generator := count()):
        if number == 3:
            break
    generator.close()
    assert cleaned == [True]
    assert (memory.events[0].status, memory.events[0].output) == ("ok", '{"yielded":4}')


def test_exceptions_go_into_generators_and_out(
    prove: Callable[..., Decorate], memory: InMemoryExporter
) -> None:
    """What is thrown into a generator arrives there; what it raises is recorded."""

    @prove()
    def stubborn() -> Generator[str, None, None]:
        try:
            yield "first"
        except ValueError:
            yield "caught"
        raise RuntimeError("end")

    generator = stubborn()
    assert next(generator) == "first"
    assert generator.throw(ValueError()) == "caught"
    with pytest.raises(RuntimeError, match="end"):
        next(generator)
    assert json.loads(memory.events[0].error or "")["message"] == "end"


def test_async_generators_work_alike(
    prove: Callable[..., Decorate], memory: InMemoryExporter
) -> None:
    """Async iteration, early leaving and exceptions behave as without the decorator."""

    @prove()
    async def count(limit: int) -> AsyncIterator[int]:
        try:
            for number in range(limit):
                yield number
        except ValueError:
            yield -1

    async def use() -> list[int]:
        seen = [number async for number in count(3)]
        left: Any = count(5)
        seen.append(await anext(left))
        assert not trace.get_current_span().is_recording()
        await left.aclose()
        thrown: Any = count(5)
        await anext(thrown)
        seen.append(await thrown.athrow(ValueError()))
        with pytest.raises(StopAsyncIteration):
            await anext(thrown)
        return seen

    assert asyncio.run(use()) == [0, 1, 2, 0, -1]
    assert [(event.status, event.output) for event in memory.events] == [
        ("ok", '{"yielded":3}'),
        ("ok", '{"yielded":1}'),
        ("ok", '{"yielded":2}'),
    ]


@pytest.mark.parametrize(
    "misplaced", [classmethod(lambda cls: cls), staticmethod(len), property(), int, 7]
)
def test_misplaced_decorators_are_refused(misplaced: Any, prove: Callable[..., Decorate]) -> None:
    """A mistake shows where the function is defined."""
    with pytest.raises(ProofError):
        prove()(misplaced)


def test_a_blank_intent_is_refused(tracer: Tracer) -> None:
    """An intent that says nothing is a mistake in the program."""
    with pytest.raises(ProofError, match="needs an intent"):
        proof(intent=" ", tracer=tracer)


def test_builtins_can_be_proved(prove: Callable[..., Decorate], memory: InMemoryExporter) -> None:
    """A function without a readable signature is recorded by position."""
    assert prove()(max)(3, 4) == 4
    assert json.loads(memory.events[0].inputs) == {"args": [3, 4], "kwargs": {}}
