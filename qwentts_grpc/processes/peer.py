"""One end of a control connection: messages, with questions answered."""

import asyncio
import socket
from collections.abc import Callable
from itertools import count

from engine.remote.link import Link
from engine.remote.questions import Questions
from qwentts_grpc.processes import control


class Peer:
    """Control connection over a socket pair.

    `receive(number, message)` gets what is no reply; an answer goes back by `send` under the same number.
    """

    def __init__(self, receive: Callable[[int, object], None], lost: Callable[[], None] = lambda: None) -> None:
        self._link = Link(control.coder(), self._received, self._end)
        self._receive, self._lost = receive, lost
        self._questions = Questions(self._link.send, count(1))

    async def connect(self, end: socket.socket) -> None:
        """Use this end of the pair."""
        end.setblocking(False)
        await asyncio.get_running_loop().create_connection(lambda: self._link, sock=end)

    def send(self, message: object, number: int = 0) -> None:
        """Send a message; nothing once the connection is lost."""
        self._link.send(number, message)

    async def ask(self, question: object, seconds: float) -> object:
        """The reply.

        Raises TimeoutError, or ConnectionError where the other end is gone.
        """
        return await self._questions.ask(question, seconds)

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

    def _received(self, number: int, message: object) -> None:
        reply = isinstance(message, control.Page | control.Done)
        if not (reply and self._questions.answer(number, message)):
            self._receive(number, message)

    def _end(self) -> None:
        self._questions.fail(lambda: ConnectionError("the other process has ended"))
        self._lost()
