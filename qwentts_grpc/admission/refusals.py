"""Refuses calls early, at a bounded cost."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from engine.api.errors import EngineError
from qwentts_grpc.rpc.call import Call, call_scope
from qwentts_grpc.rpc.incoming import drain_requests

MOST_DRAINED = 64  # refused calls whose requests are drained at once; beyond them a status may meet a write


class Refusals:
    """Refusals by interceptors; belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._draining = 0

    async def refuse(self, call: Call, requests: AsyncIterator[object], error: EngineError) -> None:
        """Abort `call` with `error`, before any header."""
        async with call_scope(call), AsyncExitStack() as stack:
            if self._draining < MOST_DRAINED:
                await stack.enter_async_context(self._drained(requests))
            raise error

    @asynccontextmanager
    async def _drained(self, requests: AsyncIterator[object]) -> AsyncIterator[None]:
        self._draining += 1
        try:
            async with drain_requests(requests):
                yield
        finally:
            self._draining -= 1
