"""A call's messages as they come; the next may be waited for without being taken."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Generic, Self, TypeVar

from engine.api.errors import EngineError

GRACE = 0.02  # seconds: longer than a message is on its way, shorter than anyone notices

Message = TypeVar("Message")


class Incoming(Generic[Message]):
    """Iterates over `messages`, for one task at a time."""

    def __init__(self, messages: AsyncIterator[Message]) -> None:
        self._messages = messages
        self._coming: asyncio.Task[Message | None] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        coming, self._coming = self._coming, None
        message = await (anext(self._messages, None) if coming is None else coming)
        if message is None:
            raise StopAsyncIteration
        return message

    async def comes_within(self, seconds: float) -> bool:
        """Whether the next message, or the end of them, is there in `seconds`; where it is broken, it comes later."""
        if self._coming is None:
            self._coming = asyncio.ensure_future(self._next())
        await asyncio.wait((self._coming,), timeout=seconds)
        return self._coming.done() and self._coming.exception() is None

    def close(self) -> None:
        """Wait for no message any more."""
        if self._coming is not None:
            self._coming.cancel()

    async def _next(self) -> Message | None:
        return await anext(self._messages, None)


@asynccontextmanager
async def drain_requests(requests: AsyncIterator[object]) -> AsyncIterator[None]:
    """Where the turn fails, take in what its caller is just sending, until a moment passes without a message.

    grpcio's asyncio client reports INTERNAL in place of the status where a status meets one of its writes.
    """
    try:
        yield
    except (EngineError, ExceptionGroup):
        until = time.monotonic() + 10 * GRACE  # asyncio.timeout around wait_for can miss its moment in a flood
        with suppress(TimeoutError, StopAsyncIteration, EngineError):
            while time.monotonic() < until:
                await asyncio.wait_for(anext(requests), GRACE)
        raise


async def cancel_may_come() -> None:
    """A call that its caller cancels shows first as one without more messages; let the cancel arrive."""
    await asyncio.sleep(GRACE)
