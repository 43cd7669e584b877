"""A TCP proxy that can break what runs through it: swallow, stall, or reset connections."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PIECE = 65_536
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time to linger


class Proxy:
    """Forwards connections to `port` of this host.

    `swallow`: what comes is read and thrown away, as by a network that drops packets but for their
    acknowledgements. `stall`: nothing is read any more, as by a peer that has lost its power. Both last until the end.
    """

    def __init__(self, port: int) -> None:
        self.port = 0
        self._target = port
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._swallows = False
        self._writers: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        """Listen on a free port."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            for writer in self._every():
                writer.transport.abort()

    def swallow(self) -> None:
        """Take everything, and hand nothing on."""
        self._swallows = True

    def stall(self) -> None:
        """Take nothing more."""
        self._flowing.clear()

    def reset(self) -> None:
        """Break every connection with a RST on both sides."""
        for writer in self._every():
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            writer.transport.abort()

    def drop_clients(self) -> None:
        """Break the clients' side alone; the server's stays open and silent."""
        self._swallows = True
        for client, _ in self._writers:
            client.transport.abort()

    def _every(self) -> list[asyncio.StreamWriter]:
        return [writer for pair in self._writers for writer in pair]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers.append((writer, far_writer))
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(PIECE):
                await self._flowing.wait()
                if not self._swallows:
                    sink.write(data)
                    await sink.drain()
            if not self._swallows:
                sink.close()
        except OSError:
            return  # one side is gone, which is what this is for
