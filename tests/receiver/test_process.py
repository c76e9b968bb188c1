"""How the process of the service finds what nobody needs any more."""

import gc
import weakref
from collections import deque

from intentproof_receiver.process import collecting_often


class Call:
    """What a call over gRPC leaves behind: objects that hold each other, and its message."""

    def __init__(self) -> None:
        self.parts = [[self] for _ in range(20)]


def test_messages_of_ended_calls_are_found_soon() -> None:
    """Of thousands of calls few are still held, also of those that a collection found under way."""
    alive: weakref.WeakSet[Call] = weakref.WeakSet()
    under_way: deque[Call] = deque(maxlen=8)
    with collecting_often():
        for _ in range(20_000):
            call = Call()
            alive.add(call)
            under_way.append(call)
        held = len(alive)
    assert held < 200


def test_the_collector_is_as_before_afterwards() -> None:
    """What was there is looked at again, as often as before."""
    before = gc.get_threshold()
    with collecting_often():
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == before
