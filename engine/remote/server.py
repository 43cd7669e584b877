"""Server of this process's engines on a Unix socket."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from engine.api.config import EngineConfig
from engine.api.errors import EngineError, EngineFailed
from engine.api.events import AudioChunk
from engine.api.request import SpeechRequest
from engine.api.voice import Voice
from engine.engine import Engine
from engine.remote.link import Link
from engine.remote.messages import (
    TYPES,
    Cancel,
    Check,
    Clone,
    Close,
    Coder,
    Done,
    End,
    Failure,
    Flush,
    Load,
    Model,
    Models,
    Open,
    Prime,
    QueueWait,
    Taken,
    Text,
    TextCame,
    Wait,
)
from engine.speeches.speech import Speech

Answer = Coroutine[Any, Any, object]

MOST_QUESTIONS = 256  # of one client at once

log = logging.getLogger(__name__)


class EngineServer:
    """Engines by name, for any number of clients.

    A client that is lost loses its speeches; nobody else does.
    """

    def __init__(self, engines: Sequence[Engine], config: EngineConfig) -> None:
        self.engines = {engine.card.name: engine for engine in engines}
        models = (Model(each.card, each.defaults, config.max_speeches, config.max_queue) for each in engines)
        self.models = Models(tuple(models), config.max_text_characters)
        self.accepting = True
        self._telling = False
        self._clients: set[_Client] = set()
        self._server: asyncio.Server | None = None

    @property
    def speeches(self) -> int:
        """Open speeches of all engines."""
        return sum(engine.open_speeches for engine in self.engines.values())

    async def start(self, path: Path) -> None:
        """Listen on the socket at `path`; raises OSError."""
        path.unlink(missing_ok=True)
        self._server = await asyncio.get_running_loop().create_unix_server(self._connected, path)

    @property
    def connected(self) -> bool:
        """Whether there are clients."""
        return bool(self._clients)

    def stop_accepting(self) -> None:
        """Refuse new speeches; clients go elsewhere.

        Who has not heard of it yet is served.
        """
        self.accepting = False
        self.changed()

    async def close(self) -> None:
        """Drop all clients with their speeches."""
        if self._server is not None:
            self._server.close()
        for client in tuple(self._clients):
            client.link.close()
        await asyncio.sleep(0)

    def changed(self) -> None:
        """Send every client the load.

        Once in a turn of the loop.
        """
        if not self._telling:
            self._telling = True
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        self._telling = False
        speeches = {name: engine.open_speeches for name, engine in self.engines.items()}
        for client in self._clients:
            client.link.send(0, Load(speeches, client.opened, self.accepting))

    def _connected(self) -> Link:
        client = _Client(self, self._clients.discard)
        self._clients.add(client)
        return client.link


class _Client:
    """One connection: its speeches, its questions, by number."""

    def __init__(self, server: EngineServer, lost: Callable[["_Client"], None]) -> None:
        self.link = Link(Coder(TYPES), self._receive, self._end, self._greet)
        self.opened = 0
        self._server, self._lost = server, lost
        self._speeches: dict[int, Speech] = {}
        self._relays: dict[int, asyncio.Task[None]] = {}
        self._questions: set[asyncio.Task[None]] = set()

    def _greet(self) -> None:
        self.link.send(0, self._server.models)
        self._server.changed()

    def _end(self) -> None:
        self._lost(self)
        for task in (*self._relays.values(), *self._questions):
            task.cancel()

    def _receive(self, number: int, message: object) -> None:
        try:
            self._take(number, message)
        except EngineError as error:  # of this speech alone
            self.link.send(number, Failure.of(error))
            self._close(number)

    def _take(self, number: int, message: object) -> None:
        if isinstance(message, Open):
            return self._open(number, message)
        speech = self._speeches.get(number)
        if speech is None:
            return self._ask(number, message)
        match message:
            case Text(text, came):
                speech.feed(text, came)
            case Flush(mark, came):
                speech.flush(mark, came)
            case End(came):
                speech.end(came)
            case Taken(ready, asked, taken):
                speech.outbox.acknowledge(asked, taken, ready)
            case Cancel():
                speech.cancel()
            case Close():
                self._close(number)

    def _open(self, number: int, message: Open) -> None:
        self.opened += 1
        self._server.changed()
        if number in self._speeches:
            raise EngineFailed("the number of the speech is taken")
        speech = self._known(message.model).open(message.request, message.arrived)
        self._speeches[number] = speech
        relay = asyncio.get_running_loop().create_task(self._relay(number, speech))
        self._relays[number] = relay
        relay.add_done_callback(lambda done: self._ended(number))

    def _close(self, number: int) -> None:
        if relay := self._relays.get(number):
            relay.cancel()

    async def _relay(self, number: int, speech: Speech) -> None:
        """Send a speech's events as they come."""
        heard = False
        try:
            while True:
                event = await speech.outbox.receive()
                if not heard and isinstance(event, AudioChunk):
                    heard = True
                    self.link.send(number, TextCame(speech.text_came))
                self.link.send(number, event)
        except StopAsyncIteration:
            return
        except EngineError as error:
            self.link.send(number, Failure.of(error))

    def _ended(self, number: int) -> None:
        """Drop a speech whose relay has ended.

        Perhaps before it began.
        """
        del self._relays[number]
        self._speeches.pop(number).close()
        self._server.changed()

    # ---- questions

    def _ask(self, number: int, message: object) -> None:
        answer = self._answer(message)
        if answer is None:
            return  # for a speech that has ended
        if len(self._questions) >= MOST_QUESTIONS:
            answer.close()
            raise EngineFailed("too many questions at once")
        task = asyncio.get_running_loop().create_task(self._reply(number, answer))
        self._questions.add(task)
        task.add_done_callback(self._questions.discard)

    def _answer(self, message: object) -> Answer | None:
        match message:
            case Check(model, request):
                return _check(self._known(model), request)
            case QueueWait(model, tenant):
                return _queue_wait(self._known(model), tenant)
            case Prime(model, voice):
                return _prime(self._known(model), voice)
            case Clone(model, reference):
                return self._known(model).clone(reference)
        return None

    def _known(self, model: str) -> Engine:
        engine = self._server.engines.get(model)
        if engine is None:
            raise EngineFailed("the model is not in this process")
        return engine

    async def _reply(self, number: int, answer: Answer) -> None:
        try:
            self.link.send(number, await answer)
        except EngineError as error:
            self.link.send(number, Failure.of(error))
        except Exception as error:  # a broken encoder concerns this question alone
            log.exception("a question failed")
            self.link.send(number, Failure.of(EngineFailed(f"the question failed: {type(error).__name__}")))


async def _check(engine: Engine, request: SpeechRequest) -> Done:
    await engine.check(request)
    return Done()


async def _prime(engine: Engine, voice: Voice) -> Done:
    await engine.prime(voice)
    return Done()


async def _queue_wait(engine: Engine, tenant: str) -> Wait:
    return Wait(await engine.queue_wait(tenant))
