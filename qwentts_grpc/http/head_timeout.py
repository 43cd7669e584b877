"""Time limit on a request's head.

uvicorn has none: connections without a request would fill its places for ever.
"""

from asyncio import TimerHandle, Transport

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

HEAD_TIMEOUT = 10.0  # seconds; twice that where a drip begins right behind a response


class HeadTimeoutProtocol(H11Protocol):
    """HTTP/1.1 that closes connections which await a head too long."""

    _checking: TimerHandle | None = None
    _seen: RequestResponseCycle | None = None  # the last request at the last check

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._check_later()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._checking is not None:
            self._checking.cancel()
        super().connection_lost(exc)

    def _check_later(self) -> None:
        self._checking = self.loop.call_later(HEAD_TIMEOUT, self._check)

    def _check(self) -> None:
        if self.transport.get_protocol() is not self:  # a WebSocket has taken over
            return
        waits = self.cycle is None or self.cycle.response_complete
        if waits and self.cycle is self._seen:
            return self.transport.close()
        self._seen = self.cycle
        self._check_later()
