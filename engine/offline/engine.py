"""Synchronous front of the engine.

The engine runs on an event loop of its own thread, so that all threads, and all event loops, may use it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from engine.api.config import EngineConfig, ModelCard
from engine.api.errors import EngineError, EngineFailed, InvalidRequest
from engine.api.events import AudioChunk, Finished, FinishReason
from engine.api.request import Reference, Sampling, SpeechRequest
from engine.api.voice import Voice
from engine.build import build_engine
from engine.engine import Engine
from engine.offline.audio import Audio, BatchFailed
from engine.offline.loop_thread import LoopThread
from engine.speeches.speech import Speech

CLOSED = "the engine is closed"
DAY = 86_400.0  # seconds: no listener waits for the audio, and no caller need hurry to take it

T = TypeVar("T")
P = ParamSpec("P")


class OfflineEngine:
    """A checkpoint's engine without an event loop. Example:

    >>> from engine.checkpoint.embedded import embedded_checkpoint
    >>> with OfflineEngine(str(embedded_checkpoint())) as engine:
    ...     request = SpeechRequest(voice="joe", sampling=Sampling(seed=1))
    ...     one, two = engine.generate(["Hello.", "And good-bye."], request)
    ...     frames = sum(len(chunk.codes) for chunk in engine.stream("Hello.", request))
    >>> frames == len(one.codes)
    True
    """

    def __init__(self, model: str, config: EngineConfig | None = None) -> None:
        """Load a checkpoint: a folder or a hub id.

        Raises `CheckpointError`.
        """
        self._closed = False
        self._thread = LoopThread()
        patient = replace(config or EngineConfig(), queue_timeout=DAY, slow_consumer_timeout=DAY)
        try:
            self._engine: Engine = self._thread.submit(build_engine(model, patient)).result()
        except BaseException:
            self._thread.close()
            raise
        self._slots = asyncio.Semaphore(patient.max_speeches)

    @property
    def card(self) -> ModelCard:
        """Capabilities of the checkpoint."""
        return self._engine.card

    @property
    def defaults(self) -> Sampling:
        """Sampling that the checkpoint recommends."""
        return self._engine.defaults

    def generate(self, texts: Sequence[str], requests: SpeechRequest | Sequence[SpeechRequest]) -> list[Audio]:
        """Audio of each text in order, spoken side by side.

        `requests`: one for all, or one each. Raises what `Engine.open` raises before anything is spoken, and
        `BatchFailed` once all others are done.
        """
        each = [requests] * len(texts) if isinstance(requests, SpeechRequest) else list(requests)
        if len(each) != len(texts):
            raise InvalidRequest("requests", f"there are {len(each)} for {len(texts)} texts")
        results = self.run(self._speak_all, list(zip(texts, each, strict=True)))
        audio = [result for result in results if isinstance(result, Audio)]
        if len(audio) < len(results):
            raise BatchFailed(results)
        return audio

    def stream(self, text: str, request: SpeechRequest) -> "Chunks":
        """Audio of a text as it is made."""
        return Chunks(self, text, request)

    def clone(self, reference: Reference) -> Voice:
        """Voice of a recording, for `SpeechRequest.kept`.

        Raises `InvalidRequest`, `Unsupported`.
        """
        return self.run(self._engine.clone, reference)

    def close(self) -> None:
        """Cancel whatever runs, stop the engine; idempotent."""
        if not self._closed:
            self._closed = True
            self._thread.submit(self._engine.close()).result()
            self._thread.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def submit(self, work: Callable[P, Coroutine[Any, Any, T]], *arguments: P.args, **named: P.kwargs) -> "Future[T]":
        """Start `work` on the engine's loop; raises `EngineFailed` after `close`."""
        if self._closed:
            raise EngineFailed(CLOSED)
        return self._thread.submit(work(*arguments, **named))

    def run(self, work: Callable[P, Coroutine[Any, Any, T]], *arguments: P.args, **named: P.kwargs) -> T:
        """Result of `work` on the engine's loop.

        An interrupt cancels it.
        """
        future = self.submit(work, *arguments, **named)
        try:
            return future.result()
        except CancelledError:
            raise EngineFailed(CLOSED) from None
        finally:
            future.cancel()

    async def open(self, text: str, request: SpeechRequest) -> Speech:
        """A speech of a whole text; on the engine's loop."""
        speech = self._engine.open(replace(request, delivery=replace(request.delivery, max_lead=DAY)))
        try:
            speech.feed(text)
            speech.end()
        except EngineError:
            speech.cancel()
            raise
        return speech

    async def _speak_all(self, pairs: list[tuple[str, SpeechRequest]]) -> list[Audio | EngineError]:
        for _, request in pairs:
            await self._engine.check(request)
        return await asyncio.gather(*(self._speak(*pair) for pair in pairs))

    async def _speak(self, text: str, request: SpeechRequest) -> Audio | EngineError:
        """Audio of a text, or its error."""
        async with self._slots:
            try:
                async with await self.open(text, request) as speech:
                    chunks = [chunk async for chunk in _chunks(speech)]
                    return Audio.of(chunks, self.card.sample_rate, speech.seed)
            except EngineError as error:
                return error


class Chunks:
    """Audio of one text as it is made.

    For `for`, for `async for`.
    The text is spoken anew in each iteration. One that takes nothing for a minute of audio halts the synthesis.
    Iterating raises what `Engine.open` and the speech raise.
    """

    def __init__(self, engine: OfflineEngine, text: str, request: SpeechRequest) -> None:
        self._engine, self._text, self._request = engine, text, request

    def __iter__(self) -> Iterator[AudioChunk]:
        run = self._engine.run
        speech = run(self._engine.open, self._text, self._request)
        try:
            while (chunk := run(_next_chunk, speech)) is not None:
                yield chunk
        finally:
            self._drop(speech)

    async def __aiter__(self) -> AsyncIterator[AudioChunk]:
        submit = self._engine.submit
        speech = await asyncio.wrap_future(submit(self._engine.open, self._text, self._request))
        try:
            while (chunk := await asyncio.wrap_future(submit(_next_chunk, speech))) is not None:
                yield chunk
        finally:
            self._drop(speech)

    def audio(self) -> Audio:
        """The whole of it."""
        return self._engine.generate([self._text], self._request)[0]

    def _drop(self, speech: Speech) -> None:
        """Cancel what is left, without waiting.

        This may run while the interpreter ends.
        """
        with suppress(EngineError):
            self._engine.submit(speech.__aexit__, None, None, None)


async def _chunks(speech: Speech) -> AsyncIterator[AudioChunk]:
    while (chunk := await _next_chunk(speech)) is not None:
        yield chunk


async def _next_chunk(speech: Speech) -> AudioChunk | None:
    """The next chunk; None at the end of the speech.

    Raises `EngineFailed` where the engine was closed before it.
    """
    async for event in speech:
        match event:
            case AudioChunk():
                return event
            case Finished(reason=FinishReason.CANCELLED):
                raise EngineFailed(CLOSED)
    return None
