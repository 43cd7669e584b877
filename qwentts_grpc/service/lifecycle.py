"""Server state: the single owner of starting, serving, draining, broken."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from engine.api.client import SpeechClient
from engine.api.errors import EngineError, EngineFailed
from engine.api.events import Notice, NoticeCode
from qwentts_grpc.voices.catalog import VoiceCatalog
from qwentts_grpc.wire.errors import DrainAborted, NotServing

Refusal = Callable[[], EngineError]  # a new error for each call: a traceback grows with each raise


class ServerState:
    """Closed at first. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._catalog: VoiceCatalog | None = None
        self._closed: Refusal | None = lambda: NotServing("STARTING", "the model is still loading")
        self._fault: Refusal | None = None
        self._faulty = asyncio.Event()
        self._broken = False
        self._speeches: set[SpeechClient] = set()

    @property
    def serving(self) -> bool:
        """Whether new speeches are admitted."""
        return self._closed is None

    @property
    def broken(self) -> bool:
        """Whether the engine has stopped for good."""
        return self._broken

    @property
    def speeches(self) -> int:
        """Number of open speeches."""
        return len(self._speeches)

    def catalog(self) -> VoiceCatalog:
        """The voice catalog; raises if not serving."""
        if self._closed is not None:
            raise self._closed()
        assert self._catalog is not None
        return self._catalog

    def serve(self, catalog: VoiceCatalog) -> None:
        """Admit speeches from now on."""
        self._catalog, self._closed = catalog, None

    def drain(self) -> None:
        """Refuse new calls; send a DRAINING notice to open speeches."""
        self._closed = lambda: NotServing("DRAINING", "the server is about to stop; open another connection")
        for speech in self._speeches:
            speech.notify(Notice(NoticeCode.DRAINING, "the server is about to stop; this turn may go on"))

    def fail(self, reason: str) -> None:
        """Refuse new calls; abort open ones: the engine is lost."""
        self._broken = True
        self._closed = lambda: EngineFailed(reason)
        self._end_all(self._closed)

    def abort_open(self) -> None:
        """Abort open calls at the end of the drain."""
        self._end_all(DrainAborted)

    def _end_all(self, fault: Refusal) -> None:
        self._fault = fault
        self._faulty.set()

    async def wait_for_fault(self) -> NoReturn:
        """Wait for the abort of open calls; raise its reason."""
        await self._faulty.wait()
        assert self._fault is not None
        raise self._fault()

    @contextmanager
    def track(self, speech: SpeechClient) -> Iterator[None]:
        """Count `speech` as open during the body."""
        self._speeches.add(speech)
        try:
            yield
        finally:
            self._speeches.discard(speech)
