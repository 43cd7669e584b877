"""The engine: speeches from requests, over one step loop."""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from engine.api.config import EngineConfig, ModelCard
from engine.api.errors import EngineFailed
from engine.api.metrics import EngineState
from engine.api.observer import Observer
from engine.api.request import Delivery, Reference, Sampling, SpeechRequest, TextFilter
from engine.api.voice import Voice
from engine.prompt.builder import PromptBuilder, PromptLayout
from engine.prompt.splitter import SENTENCE, TextSplitter
from engine.prompt.text_filter import MarkupFilter
from engine.scheduler.batch import Runner
from engine.scheduler.outboxes import CODES_BYTES, Outboxes
from engine.scheduler.runaway import RunawayDetector
from engine.scheduler.scheduler import Scheduler
from engine.scheduler.sequence import Sequence
from engine.scheduler.turn_text import TurnText
from engine.speeches.open_speeches import OpenSpeeches
from engine.speeches.preparation import Preparation
from engine.speeches.speech import Speech
from engine.step_loop import StepLoop


class Engine:
    """Speech from text. Example:

    >>> import asyncio
    >>> from engine.api.events import AudioChunk
    >>> from engine.build import build_engine
    >>> from engine.checkpoint.embedded import embedded_checkpoint
    >>> async def hello() -> int:
    ...     async with await build_engine(str(embedded_checkpoint())) as engine:
    ...         async with engine.open(SpeechRequest(voice=engine.card.voices[0])) as speech:
    ...             speech.feed("Hello ")
    ...             speech.feed("world.")
    ...             speech.end()
    ...             return sum([len(event.pcm) async for event in speech if isinstance(event, AudioChunk)])
    >>> asyncio.run(hello()) % 1920  # whole codec frames of 80 ms at 24 kHz
    0
    """

    def __init__(
        self,
        card: ModelCard,
        defaults: Sampling,
        config: EngineConfig,
        prompt_builder: PromptBuilder,
        scheduler: Scheduler,
        runner: Runner,
        observer: Observer,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        """Start the loop.

        `release` ends what the runner has elsewhere; it is called on another thread, once the loop has ended.
        """
        self._release = release
        self.card, self.defaults = card, defaults
        self._config, self._prompt_builder, self._scheduler = config, prompt_builder, scheduler
        self._outboxes = Outboxes(
            round(config.max_unread_seconds / card.frame_seconds),
            config.max_unread_bytes // (2 * card.frame_samples + CODES_BYTES),
        )
        self._speeches = OpenSpeeches(config, scheduler, observer)
        self._preparation = Preparation(prompt_builder, self._speeches)
        self._steps = StepLoop(config, self._speeches, scheduler, runner, observer)

    def open(self, request: SpeechRequest, arrived: float | None = None) -> Speech:
        """Queue a speech; return its handle at once.

        Text may be fed right away.
        `arrived`: `time.monotonic()` when the request came, now where it is None; its turn in the queue and all times
        count from there.
        Raises `InvalidRequest`, `VoiceNotFound`, `Unsupported`, `RequestTooLarge`, `Busy` when the queue is full, or
        `EngineFailed`.
        """
        layout = self._layout(request)
        speech = self._speeches.open(self._sequence(request, layout, time.monotonic() if arrived is None else arrived))
        if self._prompt_builder.is_ready(request):
            self._speeches.enqueue(speech)
        else:
            self._preparation.start(speech)
        return speech

    async def check(self, request: SpeechRequest) -> None:
        """Raise what `open` would raise now."""
        self._layout(request)

    async def clone(self, reference: Reference) -> Voice:
        """Voice of a recording, for `SpeechRequest.kept`.

        Raises `InvalidRequest`, `Unsupported`.
        """
        reference.validate()
        return await self._preparation.clone(reference)

    async def prime(self, kept: Voice) -> None:
        """Prime the codec with a kept voice.

        Speeches in it then begin at once, for as long as its state is cached. Raises `Unsupported`.
        """
        request = SpeechRequest(kept=kept)
        self._prompt_builder.build(request)
        await self._preparation.prime(request)

    def state(self) -> EngineState:
        """Gauges of this moment."""
        now = time.monotonic()
        last_step = time.time() - (now - self.last_step)
        return replace(self._scheduler.state(now), queue_places=self._config.max_queue, last_step=last_step)

    async def queue_wait(self, tenant: str = "") -> float:
        """Expected wait in seconds for a speech of `tenant`.

        0 where there is no estimate.
        """
        return self._speeches.queue_wait(tenant)

    @property
    def open_speeches(self) -> int:
        """Speeches with a slot, or in the queue."""
        return len(self._speeches)

    @property
    def failed(self) -> BaseException | None:
        """Error that has ended the engine, if any."""
        return self._steps.failed

    @property
    def last_step(self) -> float:
        """When the latest step ended; `time.monotonic()`."""
        return self._steps.last_step

    async def close(self) -> None:
        """Cancel whatever runs, stop the loop; idempotent."""
        self._steps.stop()
        self._speeches.cancel()
        await self._preparation.close()
        await self._steps.close()
        await asyncio.to_thread(self._release)

    def fail(self, error: BaseException) -> None:
        """End with every speech, for the device is lost."""
        self._steps.fail(error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _layout(self, request: SpeechRequest) -> PromptLayout:
        request.validate()
        self._check_capacity(request)
        return self._prompt_builder.build(request)

    def _check_capacity(self, request: SpeechRequest) -> None:
        if not self._steps.open:
            raise EngineFailed("the engine has stopped")
        self._speeches.check_room(request.tenant)
        if request.reference is not None:
            self._preparation.check_room()

    def _sequence(self, request: SpeechRequest, layout: PromptLayout, arrived: float) -> Sequence:
        sampling = request.sampling
        guard_seconds = 0.0 if sampling.greedy else self._config.guard_seconds
        return Sequence(
            request,
            secrets.randbits(64) if sampling.seed is None else sampling.seed,
            layout,
            self._text(request.delivery, layout),
            RunawayDetector(guard_seconds, self.card.frame_seconds),
            arrived,
            outboxes=self._outboxes,
        )

    def _text(self, delivery: Delivery, layout: PromptLayout) -> TurnText:
        splitter = TextSplitter(self._config.segment_characters, SENTENCE if delivery.sentence_segments else None)
        markup = MarkupFilter() if delivery.text_filter is TextFilter.MARKUP else None
        return TurnText(layout, self._prompt_builder.tokenizer, splitter, markup)
