"""The engine: an asyncio loop over steps."""

import asyncio
import secrets
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

from engine.api.config import EngineConfig, ModelCard
from engine.api.errors import Busy, EngineError, EngineFailed, GenerationFailed
from engine.api.events import AudioChunk, FinishReason, FlushDone, Notice, NoticeCode, SegmentDone
from engine.api.metrics import QUEUE_WAIT, SLOT_RELEASE, EngineState, record_step
from engine.api.observer import Observer
from engine.api.queue_wait import QueueWaitEstimator
from engine.api.request import Reference, Sampling, SpeechRequest, TextFilter
from engine.api.voice import Voice
from engine.prompt.builder import PromptBuilder, PromptLayout
from engine.prompt.splitter import SENTENCE, TextSplitter
from engine.prompt.text_filter import MarkupFilter
from engine.scheduler.batch import Batch, Runner, StepOutput
from engine.scheduler.outboxes import CODES_BYTES, Outboxes
from engine.scheduler.runaway import RunawayDetector
from engine.scheduler.scheduler import Outcome, Scheduler
from engine.scheduler.sequence import Sequence
from engine.scheduler.time_limits import overdue
from engine.speech import Speech

HOUSEKEEPING = 0.25  # seconds between checks of time limits while idle
CHECK_INTERVAL = 0.02  # seconds between such checks while steps run
DECODING = 1  # steps whose audio waits for that of an earlier one
MAX_PREPARING = 32  # recordings in memory that wait to be encoded
UNKNOWN_WAIT = 1.0  # seconds: the retry hint while no wait can be estimated


class Engine:
    """Speech from text. Example:

    >>> async def hello() -> int:
    ...     from engine.build import build_engine
    ...     from engine.checkpoint.embedded import embedded_checkpoint
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
    ) -> None:
        self.card, self.defaults = card, defaults
        self.failed: BaseException | None = None
        self.last_step = time.monotonic()
        self._next_by = 0.0  # time until which the next step may wait for newcomers
        self._config, self._prompt_builder, self._scheduler = config, prompt_builder, scheduler
        self._runner, self._observer = runner, observer
        self._speeches: dict[Sequence, Speech] = {}
        self._wait_estimator = QueueWaitEstimator(config.max_speeches)
        self._outboxes = Outboxes(
            round(config.max_unread_seconds / card.frame_seconds),
            config.max_unread_bytes // (2 * card.frame_samples + CODES_BYTES),
        )
        self._preparing: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._closing = False
        self._last_check = 0.0  # of time limits
        self._device = ThreadPoolExecutor(1, "device")
        self._codec = ThreadPoolExecutor(1, "codec")  # waits for audio beside the next steps
        self._decoding: asyncio.Queue[StepOutput] = asyncio.Queue(DECODING)
        self._encoder = ThreadPoolExecutor(1, "encoder")
        self._task = asyncio.get_running_loop().create_task(self._run(), name="engine")
        self._listening = asyncio.get_running_loop().create_task(self._listen(), name="codec")

    # ---- the caller's side

    def open(self, request: SpeechRequest, arrived: float | None = None) -> Speech:
        """Queue a speech; return its handle at once.

        Text may be fed right away.
        `arrived`: `time.monotonic()` when the request came, now where it is None; its turn in the queue and all times
        count from there.
        Raises `InvalidRequest`, `VoiceNotFound`, `Unsupported`, `RequestTooLarge`, `Busy` when the queue is full, or
        `EngineFailed`.
        """
        layout = self._layout(request)
        seed = secrets.randbits(64) if request.sampling.seed is None else request.sampling.seed
        speech = Speech(
            self._sequence(request, seed, layout, time.monotonic() if arrived is None else arrived),
            self._config.max_text_characters,
            self._observer,
            self._wake.set,
            self._cancelled,
        )
        self._speeches[speech.sequence] = speech
        if self._prompt_builder.is_ready(request):
            self._enqueue(speech)
        else:
            self._prepare(speech)
        return speech

    async def check(self, request: SpeechRequest) -> None:
        """Raise what `open` would raise now."""
        self._layout(request)

    async def clone(self, reference: Reference) -> Voice:
        """Voice of a recording, for `SpeechRequest.kept`.

        Raises `InvalidRequest`, `Unsupported`.
        """
        reference.validate()
        return await asyncio.get_running_loop().run_in_executor(self._encoder, self._prompt_builder.cloner, reference)

    async def prime(self, kept: Voice) -> None:
        """Prime the codec with a kept voice.

        Speeches in it then begin at once, for as long as its state is cached. Raises `Unsupported`.
        """
        request = SpeechRequest(kept=kept)
        self._prompt_builder.build(request)
        await asyncio.get_running_loop().run_in_executor(self._encoder, self._prompt_builder.prepare, request)

    def state(self) -> EngineState:
        """Gauges of this moment."""
        return replace(self._scheduler.state(time.monotonic()), queue_places=self._config.max_queue)

    async def queue_wait(self, tenant: str = "") -> float:
        """Expected wait in seconds for a speech of `tenant`.

        0 where there is no estimate. Speeches that wait for text are not in its way: they give their slots up.
        """
        return self._queue_wait(tenant)

    @property
    def open_speeches(self) -> int:
        """Speeches that hold a slot or a place in the queue."""
        return len(self._speeches)

    def _queue_wait(self, tenant: str) -> float:
        ahead = sum(not sequence.starving for sequence in self._speeches) - self._config.max_speeches
        if ahead < 0:
            return 0.0
        later = sum(sequence.admitted is None for sequence in self._speeches) - self._scheduler.ahead(tenant)
        return self._wait_estimator.estimate(max(0, ahead - max(0, later))) or 0.0

    async def close(self) -> None:
        """Cancel whatever runs, stop the loop; idempotent."""
        self._closing = True
        self._wake.set()
        for speech in list(self._speeches.values()):
            speech.cancel()
        for task in self._preparing:
            task.cancel()
        _, late = await asyncio.wait([self._task, *self._preparing], timeout=self._config.step_timeout)
        for task in (*late, self._listening):
            task.cancel()
        await asyncio.wait((self._listening,))
        self._device.shutdown(wait=False, cancel_futures=True)
        self._codec.shutdown(wait=False, cancel_futures=True)
        self._encoder.shutdown(wait=False, cancel_futures=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # ---- the hot path

    async def _run(self) -> None:
        try:
            while (batch := await self._next_batch()) is not None:
                output = await self._run_step(batch)
                outcomes = self._scheduler.commit(output)
                self._deliver(outcomes)
                if output.decoding is not None:
                    await self._decoding.put(output)
        except Exception as error:  # a broken step ends the engine with every speech
            self._fail(error)

    async def _listen(self) -> None:
        """Deliver audio that is decoded beside later steps, in their order."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                output = await self._decoding.get()
                assert output.decoding is not None
                async with asyncio.timeout(self._config.step_timeout):
                    audio, timings = await loop.run_in_executor(self._codec, output.decoding)
                record_step(self._observer, timings)
                self._deliver(self._scheduler.commit_audio(replace(output, audio=audio)))
                self._wake.set()
        except Exception as error:
            self._fail(error)
            self._task.cancel()

    async def _next_batch(self) -> Batch | None:
        """The next batch, awaited; None when the engine closes."""
        await self._linger(self._next_by)
        while not self._closing:
            now = time.monotonic()
            self._wake.clear()
            self._deliver(self._scheduler.settle(now))
            for sequence in self._scheduler.admit(now):
                self._speeches[sequence].started()
                self._observer.record(QUEUE_WAIT, now - sequence.arrived)
                self._wake.set()  # it may have something to settle
            if now >= self._last_check + CHECK_INTERVAL:
                self._check_time_limits(now)
            batch = self._scheduler.schedule(now)
            if batch is not None:
                return batch
            self._check_time_limits(now)
            self._scheduler.check()
            await self._sleep(now)
        return None

    async def _run_step(self, batch: Batch) -> StepOutput:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._config.step_timeout):
            output = await loop.run_in_executor(self._device, self._runner.step, batch)
        self.last_step, self._next_by = time.monotonic(), output.next_by
        record_step(self._observer, output.timings)
        return output

    async def _linger(self, until: float) -> None:
        """Leave the next step open to newcomers until `until`.

        Whole milliseconds, in which the thread is free to write audio.
        """
        pause = int(1000 * (until - time.monotonic()))
        if pause > 0:
            await asyncio.sleep(pause / 1000)

    def _deliver(self, outcomes: Iterable[tuple[Sequence, Outcome]]) -> None:
        for sequence, outcome in outcomes:
            speech = self._speeches.get(sequence)
            if speech is None:
                continue
            match outcome:
                case AudioChunk():
                    sequence.playback.deliver(len(outcome.codes), time.monotonic())
                    speech.deliver(outcome)
                case SegmentDone() | FlushDone():
                    speech.deliver(outcome)
                case FinishReason():
                    self._drop(speech)
                    speech.finish(outcome)
                case EngineError():
                    self._end(speech, outcome)

    # ---- requests, recordings, time limits

    def _sequence(self, request: SpeechRequest, seed: int, layout: PromptLayout, arrived: float) -> Sequence:
        config, tokenizer = self._config, self._prompt_builder.tokenizer
        guard = RunawayDetector(0.0 if request.sampling.greedy else config.guard_seconds, self.card.frame_seconds)
        least = SENTENCE if request.delivery.sentence_segments else None
        splitter = TextSplitter(config.segment_characters, least)
        return Sequence(
            request,
            seed,
            layout,
            tokenizer,
            guard,
            splitter,
            arrived,
            markup=MarkupFilter() if request.delivery.text_filter is TextFilter.MARKUP else None,
            outboxes=self._outboxes,
        )

    def _layout(self, request: SpeechRequest) -> PromptLayout:
        request.validate()
        self._check_capacity(request)
        return self._prompt_builder.build(request)

    def _check_capacity(self, request: SpeechRequest) -> None:
        if self.failed is not None or self._closing:
            raise EngineFailed("the engine has stopped")
        if len(self._speeches) >= self._config.max_speeches + self._config.max_queue:
            raise Busy(retry_after=self._queue_wait(request.tenant) or UNKNOWN_WAIT)
        if request.reference is not None and len(self._preparing) >= MAX_PREPARING:
            raise Busy(retry_after=UNKNOWN_WAIT)

    def _enqueue(self, speech: Speech) -> None:
        speech.sequence.queue(time.monotonic())
        self._scheduler.add(speech.sequence)
        self._wake.set()

    def _prepare(self, speech: Speech) -> None:
        """Encode the recording beside the steps; then queue the speech.

        Or only prime the codec, for a kept voice.
        """
        task = asyncio.get_running_loop().create_task(self._encode(speech))
        self._preparing.add(task)
        task.add_done_callback(self._preparing.discard)

    async def _encode(self, speech: Speech) -> None:
        loop = asyncio.get_running_loop()
        request = speech.sequence.request
        try:
            layout = await loop.run_in_executor(self._encoder, self._prompt_builder.prepare, request)
        except EngineError as error:
            self._end(speech, error)
        except Exception as error:  # a broken encoder concerns this speech alone
            failure = GenerationFailed(f"the reference could not be encoded: {type(error).__name__}")
            failure.__cause__ = error
            self._end(speech, failure)
        else:
            if speech.sequence in self._speeches:
                speech.sequence.set_layout(layout)
                speech.sequence.request = replace(request, reference=None)  # its samples are many megabytes
                self._enqueue(speech)

    def _drop(self, speech: Speech) -> None:
        """Remove a speech; frees its slot."""
        self._scheduler.remove(speech.sequence)
        if self._speeches.pop(speech.sequence, None) and speech.sequence.admitted is not None:
            self._wait_estimator.record(time.monotonic() - speech.sequence.admitted)
        self._wake.set()

    def _cancelled(self, speech: Speech) -> None:
        """Drop a speech on its caller's cancel."""
        began = time.monotonic()
        self._drop(speech)
        self._observer.record(SLOT_RELEASE, time.monotonic() - began)

    def _end(self, speech: Speech, error: EngineError) -> None:
        self._drop(speech)
        speech.fail(error)

    def _fail(self, error: BaseException) -> None:
        self.failed = error
        for speech in list(self._speeches.values()):
            failure = EngineFailed(f"the engine has stopped: {type(error).__name__}")
            failure.__cause__ = error
            self._end(speech, failure)

    async def _sleep(self, now: float) -> None:
        """Sleep until a call, a due speech, or the housekeeping."""
        wake_at = self._scheduler.wake_at(now)
        pause = HOUSEKEEPING if wake_at is None else min(HOUSEKEEPING, wake_at - now)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(pause, 0.001) if self._speeches else None):
                await self._wake.wait()

    def _check_time_limits(self, now: float) -> None:
        self._last_check = now
        for sequence, speech in list(self._speeches.items()):
            error = overdue(sequence, speech.last_taken if speech.unread else None, self._config, now)
            if error is not None:
                self._end(speech, error)
            elif sequence.waits.starved_since is not None and sequence.playback.frames:
                speech.notify(Notice(NoticeCode.TEXT_STARVED, "waiting for more text"))
            elif sequence.ahead(now):
                speech.notify(Notice(NoticeCode.PACED, "far enough ahead of playback"))
