"""A call's messages as they come; the next may be waited for without being taken."""

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, Self, TypeVar

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
