"""Bodies: every limit holds while the bytes come, and what is held is what came."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import cramjam
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from intentproof_receiver.body import decoder_of, read_body, unpack
from intentproof_receiver.errors import (
    InvalidRequest,
    TooLarge,
    Unavailable,
    UnsupportedMedia,
)
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
    "snappy": lambda raw: bytes(cramjam.snappy.compress_raw(raw)),
    "x-snappy-framed": lambda raw: bytes(cramjam.snappy.compress(raw)),
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


@pytest.mark.parametrize("more", range(-300, 300, 7))
def test_a_body_that_ends_with_a_step(more: int) -> None:
    """Deflate without its wrapper may hold back the last bytes of a step, and has read all."""
    raw = bytes((1 << 20) + more)
    packer = zlib.compressobj(wbits=-15)
    body = packer.compress(raw) + packer.flush()
    _, lease = budget()
    decoder = decoder_of("deflate", bytes_max=2 * LIMIT)
    assert unpack(body, decoder, bytes_max=2 * LIMIT, lease=lease) == raw


@pytest.mark.parametrize("encoding", sorted(COMPRESSED))
def test_a_bomb_comes_in_small_steps(encoding: str) -> None:
    """What a step of over 8 MiB makes is held before there is memory for it."""
    body = COMPRESSED[encoding](bytes(32 << 20))
    told: list[int] = []
    decoder = decoder_of(encoding, bytes_max=LIMIT)
    assert decoder is not None
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            for _ in decoder.feed(body, refusing(told)):
                pass
        assert tracemalloc.get_traced_memory()[1] < 18 << 20
    finally:
        tracemalloc.stop()
    assert sum(told) == 32 << 20 if encoding == "snappy" else max(told) <= 8 << 20


def test_a_block_gets_no_memory_before_it_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block of snappy that is over the limit is refused before it is unpacked."""
    body = COMPRESSED["snappy"](bytes(2 * LIMIT))
    unpacked: list[bytes] = []
    monkeypatch.setattr(cramjam.snappy, "decompress_raw", unpacked.append)
    with pytest.raises(TooLarge):
        unpack(body, decoder_of("snappy", bytes_max=LIMIT), bytes_max=LIMIT, lease=budget()[1])
    assert not unpacked


def refusing(told: list[int]) -> Callable[[int], None]:
    def hold(more: int) -> None:
        told.append(more)
        if sum(told) > 9 << 20:
            raise TooLarge("over the limit")

    return hold


@pytest.mark.parametrize("encoding", sorted(COMPRESSED))
@pytest.mark.parametrize("cut", [1, 3, 9, 30])
def test_a_stream_that_is_cut_short(encoding: str, cut: int) -> None:
    """Of a body whose end is missing nothing is taken."""
    body = COMPRESSED[encoding](bytes(range(256)) * 300)
    with pytest.raises(InvalidRequest):
        unpack(
            body[:-cut], decoder_of(encoding, bytes_max=LIMIT), bytes_max=LIMIT, lease=budget()[1]
        )


@pytest.mark.parametrize("encoding", sorted(COMPRESSED))
@given(garbage=st.binary(min_size=1, max_size=200), begins=st.booleans())
def test_garbage_is_refused(encoding: str, garbage: bytes, begins: bool) -> None:  # noqa: FBT001
    """Whatever a body is, it becomes bytes within the limit or is refused, and nothing else."""
    body = COMPRESSED[encoding](b"x" * 99)[:15] + garbage if begins else garbage
    with suppress(InvalidRequest, TooLarge):
        made = unpack(
            body, decoder_of(encoding, bytes_max=LIMIT), bytes_max=LIMIT, lease=budget()[1]
        )
        assert len(made) <= LIMIT


def test_a_size_that_snappy_only_claims() -> None:
    """A block that says it becomes more than its bytes can is refused, and gets no memory."""
    for claimed in (b"\xff\xff\xff\xff\x0f", b"\x80\x80\x04"):  # 4 GiB; 64 KiB
        with pytest.raises(InvalidRequest, match="not snappy"):
            unpack(
                claimed + b"\x04ab",
                decoder_of("snappy", bytes_max=LIMIT),
                bytes_max=LIMIT,
                lease=budget()[1],
            )


def test_snappy_that_is_framed_is_known_by_its_beginning() -> None:
    """Older Collectors frame what they call snappy; a checksum that is wrong is refused."""
    framed = COMPRESSED["x-snappy-framed"](b"ab" * 50_000)
    held, lease = budget()
    made = unpack(framed, decoder_of("snappy", bytes_max=LIMIT), bytes_max=LIMIT, lease=lease)
    assert made == b"ab" * 50_000
    assert held.bytes_held == 100_000
    for padding in (b"\xfe\x02\x00\x00a", b"\xfe\x02", b"\x00"):  # each is cut short
        decoder = decoder_of("snappy", bytes_max=LIMIT)
        with pytest.raises(InvalidRequest):
            unpack(framed + padding, decoder, bytes_max=LIMIT, lease=lease)
    damaged = framed[:14] + bytes((framed[14] ^ 1,)) + framed[15:]
    with pytest.raises(InvalidRequest):
        unpack(damaged, decoder_of("snappy", bytes_max=LIMIT), bytes_max=LIMIT, lease=lease)


def test_an_unknown_encoding_is_told_the_known_ones() -> None:
    """The answer to an encoding that is not taken names those that are."""
    with pytest.raises(UnsupportedMedia, match=r"'lz4': one of identity, gzip.*x-snappy-framed"):
        decoder_of("lz4", bytes_max=LIMIT)


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
