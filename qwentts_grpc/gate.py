"""Who may come in: the one place that knows whether the server is starting, serving, draining or broken."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from engine.errors import EngineError, EngineFailed
from engine.events import Notice, NoticeCode
from engine.loop import Engine
from engine.speech import Speech
from qwentts_grpc.errors import NotServing


class Gate:
    """Starts closed. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._closed: EngineError | None = NotServing("STARTING", "the model is still loading")
        self._fault: EngineError | None = None
        self._faulty = asyncio.Event()
        self._speeches: set[Speech] = set()

    @property
    def serving(self) -> bool:
        """Whether new speeches are taken."""
        return self._closed is None

    @property
    def broken(self) -> bool:
        """Whether the engine has stopped for good."""
        return isinstance(self._fault, EngineFailed)

    @property
    def speeches(self) -> int:
        """How many speeches are open."""
        return len(self._speeches)

    def engine(self) -> Engine:
        """The engine, or the error that says why there is none to be had."""
        if self._closed is not None:
            raise self._closed
        assert self._engine is not None
        return self._engine

    def open_to(self, engine: Engine) -> None:
        """Serve from now on."""
        self._engine, self._closed = engine, None

    def drain(self) -> None:
        """Refuse new calls, and tell the speeches that are open."""
        self._closed = NotServing("DRAINING", "the server is about to stop; open another connection")
        for speech in self._speeches:
            speech.notify(Notice(NoticeCode.DRAINING, "the server is about to stop; this turn may go on"))

    def fail(self, error: EngineError) -> None:
        """Refuse new calls, and end those that are open with `error`."""
        self._closed = self._fault = error
        self._faulty.set()

    async def fault(self) -> NoReturn:
        """Wait until the speeches must end, and raise the reason."""
        await self._faulty.wait()
        assert self._fault is not None
        raise self._fault

    @contextmanager
    def holds(self, speech: Speech) -> Iterator[None]:
        """Count `speech` as open."""
        self._speeches.add(speech)
        try:
            yield
        finally:
            self._speeches.discard(speech)
