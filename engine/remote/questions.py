"""Questions over a link, each with its reply."""

import asyncio
from collections.abc import Callable, Iterator


class Questions:
    """Open questions of one end, by their numbers."""

    def __init__(self, send: Callable[[int, object], None], numbers: Iterator[int]) -> None:
        """`numbers` are unused by other messages that the end sends."""
        self._send, self._numbers = send, numbers
        self._open: dict[int, asyncio.Future[object]] = {}

    def __len__(self) -> int:
        return len(self._open)

    async def ask(self, question: object, seconds: float) -> object:
        """The reply.

        Raises TimeoutError after `seconds`, or what `fail` is given.
        """
        number = next(self._numbers)
        future = self._open[number] = asyncio.get_running_loop().create_future()
        self._send(number, question)
        try:
            async with asyncio.timeout(seconds):
                return await future
        finally:
            del self._open[number]

    def answer(self, number: int, reply: object) -> bool:
        """Give the reply to a question.

        False where none has this number.
        """
        future = self._open.get(number)
        if future is not None and not future.done():
            future.set_result(reply)
        return future is not None

    def fail(self, error: Callable[[], Exception]) -> None:
        """Fail every open question with its own error."""
        for future in self._open.values():
            if not future.done():
                future.set_exception(error())
