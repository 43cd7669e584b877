"""HTTP/2 by hand: frames, header blocks without compression, and a connection that does only what a test says."""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Self

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 1, 2, 3, 4
PATH = "/qwentts.v1.TTSService/Synthesize"
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"

Metadata = Iterable[tuple[str, str | bytes]]


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def literal(name: str, value: str | bytes) -> bytes:
    """HPACK: without indexing, name and value as they are."""
    return b"\x00" + string(name.encode()) + string(value if isinstance(value, bytes) else value.encode())


def string(data: bytes) -> bytes:
    if len(data) < 127:
        return bytes((len(data),)) + data
    rest, encoded = len(data) - 127, b"\x7f"
    while rest >= 128:
        encoded, rest = encoded + bytes((rest % 128 | 128,)), rest // 128
    return encoded + bytes((rest,)) + data


def header_block(path: str | bytes = PATH, metadata: Metadata = ()) -> bytes:
    usual: tuple[tuple[str, str | bytes], ...] = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "x"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    )
    return b"".join(literal(name, value) for name, value in (*usual, *metadata))


CALL = header_block()
HELLO = PREFACE + frame(SETTINGS)


def opening(stream: int, path: str | bytes = PATH, metadata: Metadata = ()) -> bytes:
    return frame(HEADERS, header_block(path, metadata), END_HEADERS, stream)


def message(data: bytes, stream: int, *, end: bool = True) -> bytes:
    """A gRPC message in frames of the usual size."""
    body = b"\x00" + struct.pack(">I", len(data)) + data
    pieces = [body[start : start + 16_384] for start in range(0, len(body), 16_384)]
    last = len(pieces) - 1
    return b"".join(
        frame(DATA, piece, END_STREAM if end and number == last else 0, stream) for number, piece in enumerate(pieces)
    )


@dataclass(frozen=True)
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes


class Connection:
    """Answers pings and settings; what else comes is kept in `frames`, and nothing is ever acknowledged."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.frames: list[Frame] = []
        self.closed = asyncio.Event()
        self._reader, self._writer = reader, writer
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, port: int, window: int | None = None) -> Self:
        """`window`: bytes that the server may send on each stream, 65,535 unless told."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        settings = b"" if window is None else struct.pack(">HI", INITIAL_WINDOW_SIZE, window)
        writer.write(PREFACE + frame(SETTINGS, settings))
        return cls(reader, writer)

    def send(self, *frames: bytes) -> None:
        self._writer.write(b"".join(frames))

    async def drain(self) -> None:
        """Wait until the server has taken most of what was sent."""
        await self._writer.drain()

    def call(self, path: str | bytes, data: bytes | None = b"", *, stream: int = 1, metadata: Metadata = ()) -> None:
        """Open a call and send its only message; None leaves it without one."""
        self.send(opening(stream, path, metadata), b"" if data is None else message(data, stream))

    def answered(self) -> set[int]:
        """Streams on which headers have come."""
        return {got.stream for got in self.frames if got.kind == HEADERS}

    def ended(self) -> set[int]:
        """Streams that the server has ended."""
        ends = (
            got.stream
            for got in self.frames
            if got.kind == RST_STREAM or (got.kind in (HEADERS, DATA) and got.flags & END_STREAM)
        )
        return set(ends)

    def text(self) -> bytes:
        """The payloads of all headers; grpcio's server sends names and values as they are."""
        return b"".join(got.payload for got in self.frames if got.kind == HEADERS)

    def abort(self) -> None:
        self._reading.cancel()
        self._writer.transport.abort()

    async def _read(self) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                got = await self._next()
                if got.kind == PING and not got.flags & ACK:
                    self.send(frame(PING, got.payload, ACK))
                elif got.kind == SETTINGS and not got.flags & ACK:
                    self.send(frame(SETTINGS, b"", ACK))
                self.frames.append(got)
        self.closed.set()

    async def _next(self) -> Frame:
        head = await self._reader.readexactly(9)
        payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
        return Frame(head[3], head[4], int.from_bytes(head[5:], "big"), payload)


@asynccontextmanager
async def connected(port: int, window: int | None = None) -> AsyncIterator[Connection]:
    connection = await Connection.open(port, window)
    try:
        yield connection
    finally:
        connection.abort()
