"""Bodies: every limit holds while the bytes come, and what is held is what came."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable

import pytest
import zstandard
from intentproof_receiver.body import decoder_of, read_body, unpack
from intentproof_receiver.errors import InvalidRequest, TooLarge, Unavailable
from intentproof_receiver.inflight import Budget, Lease

LIMIT = 1 << 20


def budget(bytes_max: int = 1 << 30) -> tuple[Budget, Lease]:
    made = Budget(bytes_max=bytes_max, requests_max=2)
    return made, made.lease("acme")


class Chunks:
    """A body that counts how much of it was asked for."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks
        self.asked = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            self.asked += 1
            yield chunk


def read(chunks: Chunks, lease: Lease, *, length: int | None) -> bytes:
    stream = chunks.__aiter__()
    return asyncio.run(read_body(stream, length=length, bytes_max=10, lease=lease))


def test_a_body_whose_length_is_over_the_limit_is_not_read() -> None:
    """A Content-Length beyond the limit is refused before a byte is asked for."""
    chunks, (_, lease) = Chunks(b"x" * 11), budget()
    with pytest.raises(TooLarge, match="11 bytes"):
        read(chunks, lease, length=11)
    assert chunks.asked == 0


@pytest.mark.parametrize("length", [None, 3])
def test_a_body_over_the_limit_is_not_read_on(length: int | None) -> None:
    """Bytes beyond the limit are refused as they come, whatever length was told."""
    chunks, (_, lease) = Chunks(b"x" * 6, b"x" * 6, b"x" * 6), budget()
    with pytest.raises(TooLarge):
        read(chunks, lease, length=length)
    assert chunks.asked == 2


@pytest.mark.parametrize("length", [None, 8])
def test_a_body_is_held_while_it_is_there(length: int | None) -> None:
    """The bytes of a body count in the budget, once, and not beyond it."""
    held, lease = budget(12)
    assert read(Chunks(b"x" * 4, b"y" * 4), lease, length=length) == b"xxxxyyyy"
    assert held.bytes_held == 8
    with pytest.raises(Unavailable):
        read(Chunks(b"x" * 4, b"y" * 4), held.lease("acme"), length=length)
    lease.release()
    lease.release()


COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("encoding", sorted(COMPRESSED))
def test_what_a_body_becomes_is_held_and_limited(encoding: str) -> None:
    """Decompressed bytes count in the budget, and beyond the limit they are refused."""
    body = COMPRESSED[encoding](b"x" * LIMIT)
    held, lease = budget()
    decoder = decoder_of(encoding, bytes_max=LIMIT)
    assert unpack(body, decoder, bytes_max=LIMIT, lease=lease) == b"x" * LIMIT
    assert held.bytes_held == LIMIT
    with pytest.raises(TooLarge):
        unpack(body, decoder_of(encoding, bytes_max=LIMIT), bytes_max=LIMIT - 1, lease=lease)


@pytest.mark.parametrize("encoding", sorted(COMPRESSED))
def test_a_bomb_comes_in_small_steps(encoding: str) -> None:
    """However much a body becomes, no step makes more than 8 MiB of it at once."""
    decoder = decoder_of(encoding, bytes_max=LIMIT)
    assert decoder is not None
    steps = [len(step) for step in decoder.feed(COMPRESSED[encoding](bytes(32 << 20)))]
    assert sum(steps) == 32 << 20
    assert max(steps) <= 8 << 20


def with_window(bits: int) -> bytes:
    wanted = zstandard.ZstdCompressionParameters(window_log=bits)
    # Streamed, so that the frame does not tell its size and asks for the whole window.
    stream = zstandard.ZstdCompressor(compression_params=wanted).compressobj()
    return stream.compress(b"x") + stream.flush()


def test_the_window_of_zstd_is_limited() -> None:
    """A window of 8 MiB is taken at any limit, one beyond limit and 8 MiB is too large."""
    _, lease = budget()
    assert unpack(with_window(23), decoder_of("zstd", bytes_max=9), bytes_max=9, lease=lease)
    with pytest.raises(TooLarge, match="window"):
        unpack(with_window(24), decoder_of("zstd", bytes_max=9), bytes_max=9, lease=lease)
    second = with_window(23) + with_window(24)
    with pytest.raises(InvalidRequest):
        unpack(second, decoder_of("zstd", bytes_max=9), bytes_max=9, lease=lease)
