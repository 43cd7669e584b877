"""The side port: /metrics, /livez and /readyz over a small HTTP/1.1 server."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

MOST_CONNECTIONS = 64
LONGEST_HEAD = 8_192  # bytes
PATIENCE = 5.0  # seconds for a request to come and for its answer to go

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Response:
    """What one path answers."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


Page = Callable[[], Response]


def probe(ok: Callable[[], bool]) -> Page:
    """A page that says 200 while `ok`, else 503."""
    return lambda: Response(HTTPStatus.OK, b"ok\n") if ok() else Response(HTTPStatus.SERVICE_UNAVAILABLE, b"no\n")


def metrics_page(registry: CollectorRegistry) -> Response:
    """The registry in Prometheus's text format."""
    return Response(HTTPStatus.OK, generate_latest(registry), CONTENT_TYPE_LATEST)


class SidePort:
    """Serves `pages` by path; GET and HEAD, one request a connection."""

    def __init__(self, pages: dict[str, Page]) -> None:
        self._pages = pages
        self._server: asyncio.Server | None = None
        self._open = 0

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port; 0 picks a free one. Raises OSError if it is taken."""
        self._server = await asyncio.start_server(self._connected, host, port, limit=LONGEST_HEAD)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= MOST_CONNECTIONS:
                async with asyncio.timeout(PATIENCE):
                    await self._answer(reader, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            log.debug("side port: %s", type(error).__name__)
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, _, rest = head.decode("latin-1").partition(" ")
        response = self._respond(method, rest.partition(" ")[0].partition("?")[0])
        writer.write(_head(response) + (b"" if method == "HEAD" else response.body))
        await writer.drain()

    def _respond(self, method: str, path: str) -> Response:
        if method not in ("GET", "HEAD"):
            return Response(HTTPStatus.METHOD_NOT_ALLOWED, b"GET or HEAD\n")
        page = self._pages.get(path)
        return page() if page else Response(HTTPStatus.NOT_FOUND, b"not here\n")


def _head(response: Response) -> bytes:
    lines = (
        f"HTTP/1.1 {response.status.value} {response.status.phrase}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        "Connection: close",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
