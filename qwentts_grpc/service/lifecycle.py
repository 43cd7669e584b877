"""Who may come in: the one place that knows whether the server is starting, serving, draining or broken."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from engine.api.errors import EngineError, EngineFailed
from engine.api.events import Notice, NoticeCode
from engine.speech import Speech
from qwentts_grpc.voices.catalog import VoiceCatalog
from qwentts_grpc.wire.errors import Cut, NotServing

Refusal = Callable[[], EngineError]  # makes a new error for each call: one that is raised again only ever grows


class ServerState:
    """Starts closed. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._cast: VoiceCatalog | None = None
        self._closed: Refusal | None = lambda: NotServing("STARTING", "the model is still loading")
        self._fault: Refusal | None = None
        self._faulty = asyncio.Event()
        self._broken = False
        self._speeches: set[Speech] = set()

    @property
    def serving(self) -> bool:
        """Whether new speeches are taken."""
        return self._closed is None

    @property
    def broken(self) -> bool:
        """Whether the engine has stopped for good."""
        return self._broken

    @property
    def speeches(self) -> int:
        """How many speeches are open."""
        return len(self._speeches)

    def cast(self) -> VoiceCatalog:
        """Who speaks, or the error that says why nobody does."""
        if self._closed is not None:
            raise self._closed()
        assert self._cast is not None
        return self._cast

    def open_to(self, cast: VoiceCatalog) -> None:
        """Serve from now on."""
        self._cast, self._closed = cast, None

    def drain(self) -> None:
        """Refuse new calls, and tell the speeches that are open."""
        self._closed = lambda: NotServing("DRAINING", "the server is about to stop; open another connection")
        for speech in self._speeches:
            speech.notify(Notice(NoticeCode.DRAINING, "the server is about to stop; this turn may go on"))

    def fail(self, reason: str) -> None:
        """The engine is lost: refuse new calls, and end those that are open."""
        self._broken = True
        self._closed = lambda: EngineFailed(reason)
        self._end_all(self._closed)

    def cut(self) -> None:
        """Time is up: end the calls that are open."""
        self._end_all(Cut)

    def _end_all(self, fault: Refusal) -> None:
        self._fault = fault
        self._faulty.set()

    async def fault(self) -> NoReturn:
        """Wait until the speeches must end, and raise the reason."""
        await self._faulty.wait()
        assert self._fault is not None
        raise self._fault()

    @contextmanager
    def holds(self, speech: Speech) -> Iterator[None]:
        """Count `speech` as open."""
        self._speeches.add(speech)
        try:
            yield
        finally:
            self._speeches.discard(speech)
