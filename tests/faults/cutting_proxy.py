"""A network between Collector and receiver that cuts connections at the worst moments.

Each connection passes one whole answer, so that there is progress, and is cut at its next occasion.
"""

import asyncio
import threading
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle

from tests.collector.processes import Address

BEFORE_ANSWER = "the request arrives whole, its answer never does"
AMID_ANSWER = "half of the answer arrives"
AMID_REQUEST = "half of the request arrives"
CUTS = (BEFORE_ANSWER, AMID_ANSWER, AMID_REQUEST)

_CHUNK_BYTES = 65_536
_REQUEST_BYTES = 10_000  # smaller ones are not cut in their middle
_FRAME_HEAD_BYTES = 9  # RFC 9113, section 4.1
_HEADERS, _END_STREAM = 1, 1


@dataclass(frozen=True)
class Answer:
    """A piece of an answer: where in a chunk it begins, and whether it is the last piece."""

    at: int
    last: bool


FindAnswers = Callable[[bytes], list[Answer]]


class CuttingProxy:
    """Forwards TCP from an address to the receiver, and counts its cuts.

    Its event loop runs in a thread of its own. `finder` finds the answers of one connection.
    """

    def __init__(
        self, address: Address, receiver: Address, *, finder: Callable[[], FindAnswers]
    ) -> None:
        self._address = address
        self.cuts: Counter[str] = Counter()
        self.cutting = True
        self._receiver = receiver
        self._finder = finder
        self._plan = cycle(CUTS)

    @contextmanager
    def forwarding(self) -> Iterator[None]:
        """Forward until the block ends."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        serving = asyncio.start_server(self._serve, "127.0.0.1", self._address.port)
        server = asyncio.run_coroutine_threadsafe(serving, loop).result(20)
        try:
            yield
        finally:
            asyncio.run_coroutine_threadsafe(_end(server), loop).result(20)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _serve(self, collector: StreamReader, to_collector: StreamWriter) -> None:
        try:
            receiver, to_receiver = await asyncio.open_connection("127.0.0.1", self._receiver.port)
        except OSError:
            to_collector.transport.abort()
            return
        connection = _Connection(self, next(self._plan), self._finder())
        ways = [
            asyncio.ensure_future(connection.forward_requests(collector, to_receiver)),
            asyncio.ensure_future(connection.forward_answers(receiver, to_collector)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            to_collector.transport.abort()
            to_receiver.transport.abort()


class _Connection:
    """One connection, which is over when either way returns."""

    def __init__(self, proxy: CuttingProxy, cut: str, find: FindAnswers) -> None:
        self._proxy = proxy
        self._cut = cut
        self._find = find
        self._answered = False

    async def forward_requests(self, collector: StreamReader, receiver: StreamWriter) -> None:
        """From the Collector to the receiver."""
        seen = 0
        while raw := await collector.read(_CHUNK_BYTES):
            seen += len(raw) if self._answered else 0
            if self._cut == AMID_REQUEST and self._proxy.cutting and seen > _REQUEST_BYTES:
                await self._last(receiver, raw[: len(raw) // 2])
                return
            receiver.write(raw)
            await receiver.drain()

    async def forward_answers(self, receiver: StreamReader, collector: StreamWriter) -> None:
        """From the receiver to the Collector."""
        while raw := await receiver.read(_CHUNK_BYTES):
            for answer in self._find(raw):
                if self._answered and self._proxy.cutting and self._cut != AMID_REQUEST:
                    half = (len(raw) - answer.at) // 2 if self._cut == AMID_ANSWER else 0
                    await self._last(collector, raw[: answer.at + half])
                    return
                self._answered = self._answered or answer.last
            collector.write(raw)
            await collector.drain()

    async def _last(self, writer: StreamWriter, raw: bytes) -> None:
        writer.write(raw)
        await writer.drain()
        self._proxy.cuts[self._cut] += 1


async def _end(server: asyncio.Server) -> None:
    server.close()
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


def http_answers() -> FindAnswers:
    """Finds HTTP/1.1 answers, which are short and come in one piece."""
    return lambda raw: [Answer(0, last=True)] if raw.startswith(b"HTTP/1.1 ") else []


def grpc_answers() -> FindAnswers:
    """Finds HEADERS frames of HTTP/2: the first of an answer, or the last, which has its status."""
    head = bytearray()
    skip = 0

    def find(raw: bytes) -> list[Answer]:
        nonlocal skip
        found = []
        at = min(skip, len(raw))
        skip -= at
        while at < len(raw):
            begin = at
            missing = _FRAME_HEAD_BYTES - len(head)
            head.extend(raw[at : at + missing])
            at += missing
            if len(head) < _FRAME_HEAD_BYTES:
                break
            if head[3] == _HEADERS:
                found.append(Answer(begin, last=bool(head[4] & _END_STREAM)))
            length = int.from_bytes(head[:3], "big")
            head.clear()
            skip = max(0, at + length - len(raw))
            at += length
        return found

    return find
