"""Who may call from a browser: known hosts, known origins.

A page of another site could otherwise reach a server on the loopback of whoever looks at it, by a request of its own or
by a name that it lets point there.
"""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from qwentts_client.targets import is_loopback
from qwentts_grpc.http.errors import RefusedError

FORBIDDEN_CLOSE = 1008  # policy violation
REFUSED = RefusedError(403, "a browser may not call from that page", code="origin_not_allowed")


class SameOrigin:
    """Refuses foreign origins; on loopback also foreign hosts."""

    def __init__(self, app: ASGIApp, host: str, origins: Collection[str]) -> None:
        """`host`: bound to; `origins`: allowed beside the page's own."""
        self._app = app
        self._origins = frozenset(origins)
        self._hosts = frozenset(_authority(origin) for origin in origins)
        self._local = is_loopback(host) and host not in ("0.0.0.0", "::")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._allowed(Headers(scope=scope)):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(FORBIDDEN_CLOSE)(scope, receive, send)
        else:
            await JSONResponse(REFUSED.body(), REFUSED.status)(scope, receive, send)

    def _allowed(self, headers: Headers) -> bool:
        host, origin = headers.get("host", "").lower(), headers.get("origin", "").lower()
        if self._local and host and host not in self._hosts and not is_loopback(_name(host)):
            return False  # a browser always names the host
        return not origin or origin in self._origins or _authority(origin) == host


def _authority(origin: str) -> str:
    """HOST or HOST:PORT of an origin; "null" has none."""
    return urlsplit(origin).netloc


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
