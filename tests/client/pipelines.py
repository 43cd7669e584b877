"""Pipecat pipelines without a network: text in, a loudspeaker that plays in real time, the conversation's context."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    MetricsFrame,
    OutputAudioRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMAssistantAggregator
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner


class Tap(FrameProcessor):
    """Notes what passes, with the time."""

    def __init__(self) -> None:
        super().__init__(enable_direct_mode=True)
        self.down: list[tuple[float, Frame]] = []
        self.up: list[Frame] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if direction is FrameDirection.DOWNSTREAM:
            self.down.append((time.monotonic(), frame))
        else:
            self.up.append(frame)
        await self.push_frame(frame, direction)


class Loudspeaker(BaseOutputTransport):
    """Plays at the pace of a listener; `played` has the time of each piece."""

    def __init__(self) -> None:
        super().__init__(TransportParams(audio_out_enabled=True, audio_out_end_silence_secs=0))
        self.played: list[tuple[float, bytes]] = []

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        self.played.append((time.monotonic(), frame.audio))
        await asyncio.sleep(len(frame.audio) / 2 / frame.sample_rate)
        return True


@dataclass
class Call:
    """A running pipeline around a TTS service."""

    service: Any
    worker: PipelineWorker
    context: LLMContext
    before: Tap = field(default_factory=Tap)
    after: Tap = field(default_factory=Tap)
    loudspeaker: Loudspeaker = field(default_factory=Loudspeaker)
    end: Tap = field(default_factory=Tap)

    async def send(self, *frames: Frame) -> None:
        for frame in frames:
            await self.worker.queue_frame(frame)

    async def answer(self, text: str) -> None:
        """What a language model's response brings, word by word."""
        await self.send(*response(text))

    async def interrupt(self) -> float:
        """A barge-in; returns when it was asked for."""
        at = time.monotonic()
        await self.send(InterruptionFrame())
        await self.until(lambda: any(isinstance(frame, InterruptionFrame) for _, frame in self.after.down if _ >= at))
        return at

    async def until(self, true: Callable[[], Any], seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, self.frames
            await asyncio.sleep(0.005)

    @property
    def frames(self) -> list[Frame]:
        """What the service has sent down."""
        return [frame for _, frame in self.after.down]

    @property
    def audio(self) -> list[TTSAudioRawFrame]:
        return [frame for frame in self.frames if isinstance(frame, TTSAudioRawFrame)]

    @property
    def errors(self) -> list[ErrorFrame]:
        return [frame for frame in self.before.up if isinstance(frame, ErrorFrame)]

    def metrics(self, kind: type[Any]) -> list[Any]:
        """Measurements with a model: those of a turn, not the zeros that Pipecat sends at its start."""
        frames = [frame for frame in self.frames if isinstance(frame, MetricsFrame)]
        return [data for frame in frames for data in frame.data if isinstance(data, kind) and data.model is not None]

    @property
    def heard(self) -> str:
        """Words whose sentence has been played."""
        return " ".join(frame.text for _, frame in self.end.down if isinstance(frame, TTSTextFrame))

    @property
    def said(self) -> list[str]:
        """What the context believes the assistant has said."""
        return [str(message["content"]) for message in self.context.get_messages() if message["role"] == "assistant"]


def response(text: str) -> list[Frame]:
    words = [LLMTextFrame(word if i == 0 else f" {word}") for i, word in enumerate(text.split(" "))]
    return [LLMFullResponseStartFrame(), *words, LLMFullResponseEndFrame()]


@asynccontextmanager
async def calling(service: Any, sample_rate: int = 24_000) -> AsyncIterator[Call]:
    """A call that ends with all it was asked to speak, and leaves no task behind."""
    tasks = asyncio.all_tasks()
    context = LLMContext()
    before, after, loudspeaker, end = Tap(), Tap(), Loudspeaker(), Tap()
    assistant = LLMAssistantAggregator(context)
    worker = PipelineWorker(
        Pipeline([before, service, after, loudspeaker, end, assistant]),
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
        params=PipelineParams(enable_metrics=True, enable_usage_metrics=True, audio_out_sample_rate=sample_rate),
    )
    call = Call(service, worker, context, before, after, loudspeaker, end)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    await call.until(lambda: any(isinstance(frame, StartFrame) for frame in call.frames))
    try:
        yield call
        await worker.queue_frame(EndFrame())
        await asyncio.wait_for(running, 30)
    finally:
        if not running.done():
            await worker.cancel()
            await asyncio.wait({running}, timeout=10)
    await asyncio.sleep(0.05)
    left = {task for task in asyncio.all_tasks() - tasks if inspect.iscoroutine(task.get_coro())}  # not gRPC's own
    assert not left, left
