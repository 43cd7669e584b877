"""One end of a control connection: messages, with questions answered."""

import asyncio
import socket
from collections.abc import Callable
from itertools import count

from engine.remote.link import Link
from qwentts_grpc.processes import control


class Peer:
    """Control connection over a socket pair.

    `receive(number, message)` gets what is no reply; an answer goes back by `send` under the same number.
    """

    def __init__(self, receive: Callable[[int, object], None], lost: Callable[[], None] = lambda: None) -> None:
        self._link = Link(control.coder(), self._received, self._end)
        self._receive, self._lost = receive, lost
        self._numbers = count(2, 2)
        self._questions: dict[int, asyncio.Future[object]] = {}

    async def connect(self, end: socket.socket) -> None:
        """Use this end of the pair."""
        end.setblocking(False)
        await asyncio.get_running_loop().create_connection(lambda: self._link, sock=end)

    def send(self, message: object, number: int = 0) -> None:
        """Send a message; nothing once the connection is lost."""
        self._link.send(number, message)

    async def ask(self, question: object, seconds: float) -> object:
        """The reply; raises TimeoutError, or ConnectionError where the other end is gone."""
        number = next(self._numbers)
        future = self._questions[number] = asyncio.get_running_loop().create_future()
        self._link.send(number, question)
        try:
            async with asyncio.timeout(seconds):
                return await future
        finally:
            del self._questions[number]

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

    def _received(self, number: int, message: object) -> None:
        question = self._questions.get(number) if isinstance(message, control.Page | control.Done) else None
        if question is None:
            self._receive(number, message)
        elif not question.done():
            question.set_result(message)

    def _end(self) -> None:
        for question in self._questions.values():
            if not question.done():
                question.set_exception(ConnectionError("the other process has ended"))
        self._lost()
