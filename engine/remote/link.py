"""Framed messages over one stream socket, in both directions."""

import asyncio
import logging
import struct
from collections.abc import Callable
from typing import cast

from engine.remote.messages import Coder

HEAD = struct.Struct("<IBQ")  # bytes of the body, type, number
LARGEST = 2**28  # bytes of a body: a recording of half an hour
MOST_UNSENT = 2**28  # bytes; a peer that reads nothing is cut off

log = logging.getLogger(__name__)


class Link(asyncio.Protocol):
    """One end of a connection.

    `receive(number, message)` is called for each message, in order; `made()` once at the start, `lost()` at the end.
    Messages of one turn of the event loop leave together.
    """

    def __init__(
        self,
        coder: Coder,
        receive: Callable[[int, object], None],
        lost: Callable[[], None],
        made: Callable[[], None] = lambda: None,
    ) -> None:
        self._coder, self._receive, self._lost, self._made = coder, receive, lost, made
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self._buffer = bytearray()

    @property
    def open(self) -> bool:
        """Whether messages can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, number: int, message: object) -> None:
        """Send a message; nothing once the connection is lost."""
        if self._transport is None or self._transport.is_closing():
            return
        kind, body = self._coder.encode(message)
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent += (HEAD.pack(len(body), kind, number), body)

    def close(self) -> None:
        """Close after what has been sent."""
        if self._transport is not None:
            self._flush()
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._made()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        at, available = 0, len(self._buffer)
        while self.open and available - at >= HEAD.size:
            length, kind, number = HEAD.unpack_from(self._buffer, at)
            end = at + HEAD.size + length
            if length > LARGEST:
                log.error("a message of %d bytes is too large", length)
                return self.abort()
            if end > available:
                break
            self._take(kind, number, bytes(memoryview(self._buffer)[at + HEAD.size : end]))
            at = end
        del self._buffer[:at]

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._unsent.clear()
        self._lost()

    def _take(self, kind: int, number: int, body: bytes) -> None:
        try:
            message = self._coder.decode(kind, body)
        except ValueError as error:
            log.error("a malformed message: %s", error)
            self.abort()
        else:
            self._receive(number, message)

    def _flush(self) -> None:
        if self._transport is None or not self._unsent:
            return
        self._transport.write(b"".join(self._unsent))
        self._unsent.clear()
        if self._transport.get_write_buffer_size() > MOST_UNSENT:
            log.error("a peer reads nothing; its connection is cut off")
            self._transport.abort()
