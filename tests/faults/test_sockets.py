"""Connections that speak no gRPC, or broken HTTP/2: closed, and no turn beside them notices."""

import asyncio
import os
import random
import struct
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from qwentts_grpc.server import grpc_server
from tests.service.conftest import Running

from .conftest import steady
from .http2 import (
    CALL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    HELLO,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    literal,
    opening,
    string,
)
from .witness import Witness, witness

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timing]

HANDSHAKE = 1_000  # milliseconds, in place of the server's own ten seconds


def noise(chance: random.Random) -> bytes:
    return chance.randbytes(chance.randint(1, 2_000))


def noise_after_the_preface(chance: random.Random) -> bytes:
    return HELLO + noise(chance)


def odd_frames(chance: random.Random) -> bytes:
    def odd() -> bytes:
        payload = chance.randbytes(chance.choice((0, 1, 4, 5, 8, 9, 100)))
        return frame(chance.randrange(16), payload, chance.randrange(256), chance.choice((0, 1, 2, 3, 2**31 - 1)))

    return HELLO + opening(1) + b"".join(odd() for _ in range(chance.randint(1, 50)))


def frames_of_any_length(chance: random.Random) -> bytes:
    return (
        HELLO + opening(1) + struct.pack(">I", chance.randrange(2**24))[1:] + chance.randbytes(6 + chance.randrange(50))
    )


def rapid_reset(chance: random.Random) -> bytes:
    calls = (opening(stream) + frame(RST_STREAM, struct.pack(">I", 8), 0, stream) for stream in range(1, 2_001, 2))
    return HELLO + b"".join(calls)


def floods(chance: random.Random) -> bytes:
    some = (
        frame(PING, bytes(8)),
        frame(SETTINGS),
        frame(DATA, b"", 0, 1),
        frame(WINDOW_UPDATE, struct.pack(">I", 1)),
        frame(PRIORITY, bytes(5), 0, 1),
    )
    return HELLO + opening(1) + chance.choice(some) * 5_000


def endless_headers(chance: random.Random) -> bytes:
    more = frame(CONTINUATION, literal("x-more", "y" * 1_000), 0, 1)
    return HELLO + frame(HEADERS, CALL, 0, 1) + more * 500


def bomb_of_headers(chance: random.Random) -> bytes:
    """One indexed header of 4 KB, referred to a thousand times."""
    entry = b"\x40" + string(b"x-bomb") + string(b"z" * 4_000)
    return HELLO + frame(HEADERS, CALL + entry + b"\xbe" * 12_000, END_HEADERS, 1)


def window_overflow(chance: random.Random) -> bytes:
    return HELLO + opening(1) + frame(WINDOW_UPDATE, struct.pack(">I", 2**31 - 1), 0, 1) * 3


def lengths_that_lie(chance: random.Random) -> bytes:
    return HELLO + opening(1) + frame(DATA, b"\x00\xff\xff\xff\xff" + bytes(100), 0, 1)


def compressed_without_saying_how(chance: random.Random) -> bytes:
    return HELLO + opening(1) + frame(DATA, b"\x01\x00\x00\x00\x04abcd", END_STREAM, 1)


def http_1(chance: random.Random) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"


def tls_hello(chance: random.Random) -> bytes:
    return b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(500)


ATTACKS: list[tuple[Callable[[random.Random], bytes], int]] = [
    (noise, 100),
    (noise_after_the_preface, 100),
    (odd_frames, 200),
    (frames_of_any_length, 100),
    (rapid_reset, 20),
    (floods, 20),
    (endless_headers, 5),
    (bomb_of_headers, 5),
    (window_overflow, 5),
    (lengths_that_lie, 20),
    (compressed_without_saying_how, 20),
    (http_1, 5),
    (tls_hello, 20),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(checkpoint: Path) -> AsyncIterator[Running]:
    with pytest.MonkeyPatch.context() as patch:
        shorter = dict(grpc_server.OPTIONS) | {"grpc.server_handshake_timeout_ms": HANDSHAKE}
        patch.setattr(grpc_server, "OPTIONS", tuple(shorter.items()))
        async with steady(checkpoint, step_seconds=0.002, max_speeches=8) as running:
            yield running


async def attack(running: Running, data: bytes) -> None:
    """Send `data` on a connection of its own, read a little, and break it off."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    try:
        writer.write(data)
        async with asyncio.timeout(1):
            await writer.drain()
            await reader.read(1_000)
            await reader.read(1_000)
    except (TimeoutError, OSError):
        pass  # an answer is welcome, and none is owed
    finally:
        writer.transport.abort()


async def taken_up(server: Running, heard: Witness) -> None:
    """Wait until no more calls come out of gRPC's queue, but for those of a witness, who has one at a time."""
    labels = {"grpc_service": "qwentts.v1.TTSService", "grpc_method": "Synthesize"}

    def others() -> float:
        return server.sample("grpc_server_started_total", **labels) - len(heard.audio)

    async with asyncio.timeout(60):
        while True:
            before = others()
            await asyncio.sleep(0.2)
            if others() <= before + 1:
                return


@pytest.mark.parametrize(("shape", "count"), ATTACKS, ids=[shape.__name__ for shape, _ in ATTACKS])
async def test_garbage_harms_nobody(server: Running, shape: Callable[[random.Random], bytes], count: int) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    async with witness(server) as heard:
        for start in range(0, count, 10):
            seeds = range(start, min(start + 10, count))
            await asyncio.gather(*(attack(server, shape(random.Random(seed))) for seed in seeds))
        await taken_up(server, heard)
    await server.idle()
    print(f"{shape.__name__}: {count} connections; gap p99 beside them {heard.worst:.0f} ms")
    until = time.monotonic() + 5
    while len(os.listdir("/proc/self/fd")) > descriptors + 2:
        assert time.monotonic() < until, "connections are left open"
        await asyncio.sleep(0.05)


async def test_connections_that_say_nothing_are_closed(server: Running) -> None:
    silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(200)]
    async with witness(server):
        began = time.monotonic()
        for reader, _ in silent:
            async with asyncio.timeout(5):
                while await reader.read(1_000):
                    pass
        taken = time.monotonic() - began
    for _, writer in silent:
        writer.close()
    assert taken < 2 * HANDSHAKE / 1_000
