"""A call's messages, with a wait that consumes none."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Generic, Self, TypeVar

from engine.api.errors import EngineError

GRACE = 0.02  # seconds: longer than a message is in flight, too short to notice

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
        """Whether the next message, or the end, comes within `seconds`.

        An error of the stream is raised by the next iteration instead.
        """
        if self._coming is None:
            self._coming = asyncio.ensure_future(self._next())
        await asyncio.wait((self._coming,), timeout=seconds)
        return self._coming.done() and self._coming.exception() is None

    def close(self) -> None:
        """Stop waiting for messages."""
        if self._coming is not None:
            self._coming.cancel()

    async def _next(self) -> Message | None:
        return await anext(self._messages, None)


@asynccontextmanager
async def drain_requests(requests: AsyncIterator[object]) -> AsyncIterator[None]:
    """On failure, drain pending requests, so the status arrives intact.

    Until `GRACE` passes without a message: grpcio's asyncio client reports INTERNAL in place of a status that meets one
    of its writes.
    """
    try:
        yield
    except (EngineError, ExceptionGroup):
        until = (
            time.monotonic() + 10 * GRACE
        )  # asyncio.timeout around wait_for can miss its deadline under a flood of messages
        with suppress(TimeoutError, StopAsyncIteration, EngineError):
            while time.monotonic() < until:
                await asyncio.wait_for(anext(requests), GRACE)
        raise


async def cancel_may_come() -> None:
    """Wait for a cancel after the last message.

    A cancelled call shows first as one without more messages.
    """
    await asyncio.sleep(GRACE)
