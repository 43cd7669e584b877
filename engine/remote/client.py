"""Client of one engine process: speeches, questions, load."""

import asyncio
import logging
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import TypeVar

from engine.api.errors import EngineError, EngineFailed
from engine.api.request import SpeechRequest
from engine.remote.link import Link
from engine.remote.messages import TYPES, Coder, Failure, Load, Model, Models, Open
from engine.remote.questions import Questions
from engine.remote.speech import RemoteSpeech

RETRY = 0.05  # seconds between two tries to connect
GREETING = 5.0  # seconds for the first message of a process

Reply = TypeVar("Reply")
log = logging.getLogger(__name__)


class ProcessClient:
    """Connection to an engine process, made again when lost.

    `path`: its socket.
    `changed` is called when the process comes or goes. Belongs to the event loop's thread.
    """

    def __init__(self, path: Path, changed: Callable[[], None] = lambda: None) -> None:
        self.path = path
        self.models: dict[str, Model] = {}  # empty while there is no connection
        self.characters = 0
        self.accepting = False
        self._changed = changed
        self._link: Link | None = None
        self._load = Load({}, 0, accepting=False)
        self._numbers = count(1)
        self._opened: list[str] = []  # models of speeches opened since the last load
        self._sent = 0  # speeches opened so far
        self._speeches: dict[int, RemoteSpeech] = {}
        self._questions = Questions(self._send, self._numbers)

    async def run(self) -> None:
        """Keep the connection; never return."""
        loop = asyncio.get_running_loop()
        while True:
            lost = asyncio.Event()
            link = Link(Coder(TYPES), self._receive, lost.set)
            try:
                async with asyncio.timeout(GREETING):
                    await loop.create_unix_connection(lambda link=link: link, str(self.path))  # type: ignore[misc]
            except (OSError, TimeoutError):
                await asyncio.sleep(RETRY)
                continue
            self._link = link
            try:
                await lost.wait()
                log.warning("the engine process at %s is lost with %d speeches", self.path.name, len(self._speeches))
            finally:
                link.abort()
                self._forget()

    def speeches(self, model: str) -> int:
        """Open speeches of the model there, those just sent included."""
        return self._load.speeches.get(model, 0) + sum(each == model for each in self._opened)

    def open(self, model: str, request: SpeechRequest, arrived: float) -> RemoteSpeech:
        """Queue a speech there; a refusal comes by its iteration."""
        number = next(self._numbers)
        speech = RemoteSpeech(number, request, arrived, self.characters, self._send, self._close)
        self._speeches[number] = speech
        self._sent += 1
        self._opened.append(model)
        self._send(number, Open(model, request, arrived))
        return speech

    async def ask(self, question: object, reply: type[Reply], seconds: float) -> Reply:
        """The reply to a question.

        Raises its `EngineError`, or `EngineFailed` where none comes within `seconds`.
        """
        try:
            answer = await self._questions.ask(question, seconds)
        except TimeoutError:
            raise EngineFailed(f"the engine's process did not answer within {seconds:g} s") from None
        if isinstance(answer, Failure):
            raise answer.error()
        assert isinstance(answer, reply)
        return answer

    def _send(self, number: int, message: object) -> None:
        if self._link is not None:
            self._link.send(number, message)

    def _close(self, number: int) -> None:
        self._speeches.pop(number, None)

    def _receive(self, number: int, message: object) -> None:
        match message:
            case Load():
                self._update(message)
            case Models(models, characters):
                self.models = {model.card.name: model for model in models}
                self.characters = characters
            case _ if speech := self._speeches.get(number):
                speech.receive(message)
            case _:
                self._questions.answer(number, message)

    def _update(self, load: Load) -> None:
        before, self.accepting, self._load = self.accepting, load.accepting, load
        del self._opened[: len(self._opened) - (self._sent - load.opened)]
        if before != load.accepting:
            self._changed()

    def _forget(self) -> None:
        """End what the lost process owed."""
        self._link, self.models, self.accepting = None, {}, False
        self._sent = 0
        self._opened.clear()
        for speech in tuple(self._speeches.values()):
            speech.receive(Failure.of(_lost()))
        self._questions.fail(_lost)
        self._changed()


def _lost() -> EngineError:
    return EngineFailed("the engine's process has ended")
