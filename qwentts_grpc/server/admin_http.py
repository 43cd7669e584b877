"""The side port: /metrics, /livez, /readyz over HTTP/1.1.

Small, at a bounded cost to the event loop.
"""

import asyncio
import logging
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

MOST_CONNECTIONS = 64  # beyond them the oldest is closed: a probe is answered within a millisecond
MOST_A_SECOND = 1_000  # accepted connections; others wait in the kernel's queue
BACKLOG = 1_024
LONGEST_HEAD = 8_192  # bytes
REQUEST_TIMEOUT = 5.0  # seconds to receive a request, then to write its response
METRICS_AGE = 1.0  # seconds for which a page of metrics is reused

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Response:
    """Response of one path."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


Page = Callable[[], Awaitable[Response]]


def probe(ok: Callable[[], bool]) -> Page:
    """A page with status 200 while `ok`, else 503."""

    async def page() -> Response:
        return Response(HTTPStatus.OK, b"ok\n") if ok() else Response(HTTPStatus.SERVICE_UNAVAILABLE, b"no\n")

    return page


class KeptPage(ABC):
    """Metrics in Prometheus's text format.

    Made at most once in `METRICS_AGE` seconds.
    """

    def __init__(self) -> None:
        self._making: asyncio.Task[bytes] | None = None
        self._began = 0.0

    async def __call__(self) -> Response:
        """The latest page, or the one being made."""
        if self._making is None or time.monotonic() > self._began + METRICS_AGE:
            self._began = time.monotonic()
            self._making = asyncio.create_task(self._make())
        return Response(HTTPStatus.OK, await asyncio.shield(self._making), CONTENT_TYPE_LATEST)

    @abstractmethod
    async def _make(self) -> bytes:
        """A new page; what takes long runs on a thread."""


class MetricsPage(KeptPage):
    """The registry of this process.

    `update` sets values read on demand; it runs on the event loop.
    """

    def __init__(self, registry: CollectorRegistry, update: Callable[[], None]) -> None:
        super().__init__()
        self._registry, self._update = registry, update

    async def _make(self) -> bytes:
        self._update()
        return await asyncio.to_thread(generate_latest, self._registry)


class SidePort:
    """Serves `pages` by path, one GET or HEAD a connection."""

    def __init__(self, pages: dict[str, Page]) -> None:
        self._pages = pages
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._open: dict[asyncio.Task[None], None] = {}  # the oldest first

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port, where 0 picks a free one.

        Raises OSError if it is taken.
        """
        self._socket = await _listen(host, port)
        self._accepting = asyncio.create_task(self._accept(self._socket))
        return int(self._socket.getsockname()[1])

    async def close(self) -> None:
        """Stop listening; drop open connections."""
        for task in (self._accepting, *self._open):
            if task is not None:
                task.cancel()
        if self._socket is not None:
            self._socket.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1 / MOST_A_SECOND)
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as error:  # such as no free descriptor
                log.debug("side port: %s", type(error).__name__)
            else:
                self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        if len(self._open) >= MOST_CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.cancel()
        task = asyncio.create_task(self._connected(connection))
        self._open[task] = None
        task.add_done_callback(lambda done: self._open.pop(done, None))

    async def _connected(self, connection: socket.socket) -> None:
        try:
            with connection:
                async with asyncio.timeout(REQUEST_TIMEOUT):
                    try:
                        await self._answer(connection)
                    finally:
                        await _end(connection)
        except (TimeoutError, OSError) as error:
            log.debug("side port: %s", type(error).__name__)

    async def _answer(self, connection: socket.socket) -> None:
        head = await _read_head(connection)
        method, _, rest = head.decode("latin-1").partition(" ")
        response = await self._respond(method, rest.partition(" ")[0].partition("?")[0])
        data = _head(response) + (b"" if method == "HEAD" else response.body)
        await asyncio.get_running_loop().sock_sendall(connection, data)

    async def _respond(self, method: str, path: str) -> Response:
        if method not in ("GET", "HEAD"):
            return Response(HTTPStatus.METHOD_NOT_ALLOWED, b"GET or HEAD\n")
        page = self._pages.get(path)
        return await page() if page else Response(HTTPStatus.NOT_FOUND, b"not here\n")


async def _listen(host: str, port: int) -> socket.socket:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    listening = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    listening.setblocking(False)
    return listening


async def _read_head(connection: socket.socket) -> bytes:
    """Bytes before the first empty line.

    Raises ConnectionError where it does not come, or they are too many.
    """
    head = b""
    while b"\r\n\r\n" not in head:
        more = await asyncio.get_running_loop().sock_recv(connection, LONGEST_HEAD)
        head += more
        if not more or len(head) > LONGEST_HEAD:
            raise ConnectionError("no request")
    return head


async def _end(connection: socket.socket) -> None:
    """Close without a reset, which unread bytes would cause."""
    connection.shutdown(socket.SHUT_WR)
    for _ in range(16):  # bounds a peer that never stops sending
        if not await asyncio.get_running_loop().sock_recv(connection, 2**16):
            return


def _head(response: Response) -> bytes:
    lines = (
        f"HTTP/1.1 {response.status.value} {response.status.phrase}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        "Connection: close",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
