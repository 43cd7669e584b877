"""Speak through an engine's front door and check, on the way, the laws that hold for every speech."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.api.client import EngineClient, SpeechClient
from engine.api.events import AudioChunk, Event, Finished, FinishReason, FlushDone, Notice, Started
from engine.api.request import SpeechRequest
from engine.engine import Engine
from engine.scheduler.scheduler import Scheduler
from tests.engine.tiny import FRAME_SAMPLES

PATIENCE = 30.0  # seconds that anything may take on a busy machine


@dataclass(frozen=True, slots=True)
class Heard:
    """All events of a speech in order."""

    events: list[Event]

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def codes(self) -> npt.NDArray[np.int32]:
        return np.concatenate([chunk.codes for chunk in self.of(AudioChunk)])

    @property
    def pcm(self) -> npt.NDArray[np.int16]:
        return np.concatenate([chunk.pcm for chunk in self.of(AudioChunk)])

    @property
    def marks(self) -> list[tuple[str, int]]:
        """Each mark with the frames of audio before it."""
        found, frames = [], 0
        for event in self.events:
            if isinstance(event, AudioChunk):
                frames += len(event.codes)
            elif isinstance(event, FlushDone):
                found.append((event.mark, frames))
        return found

    @property
    def notices(self) -> list[str]:
        return [notice.code.name for notice in self.of(Notice)]

    @property
    def end(self) -> Finished:
        (finished,) = self.of(Finished)
        assert isinstance(finished, Finished)
        return finished


async def speak(engine: EngineClient, request: SpeechRequest, pieces: str | Iterable[str], pause: float = 0.0) -> Heard:
    """A whole speech, fed piece by piece with pauses between; a string is one piece."""
    async with asyncio.timeout(PATIENCE), engine.open(request) as speech:
        feeding = asyncio.create_task(feed(speech, [pieces] if isinstance(pieces, str) else pieces, pause))
        try:
            return await listen(speech)
        finally:
            await feeding


async def feed(speech: SpeechClient, pieces: Iterable[str], pause: float) -> None:
    for piece in pieces:
        speech.feed(piece)
        await asyncio.sleep(pause)
    speech.end()


async def listen(speech: SpeechClient) -> Heard:
    """The rest of a speech, from its first event on."""
    async with asyncio.timeout(PATIENCE):
        heard = Heard([event async for event in speech])
    check(heard)
    return heard


def check(heard: Heard) -> None:
    """The laws of every speech that ends without an error."""
    *before, end = heard.events
    assert isinstance(end, Finished)
    assert not any(isinstance(event, Finished) for event in before)
    starts = [isinstance(event, Started) for event in before]
    assert starts[:1] == [True] or end.reason is FinishReason.CANCELLED
    assert sum(starts) <= 1
    frame = 0
    chunks = heard.of(AudioChunk)
    for chunk in chunks:
        assert chunk.first_frame == frame
        assert len(chunk.pcm) == FRAME_SAMPLES * len(chunk.codes)
        frame += len(chunk.codes)
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert end.frames == frame


def same(one: Heard, other: Heard) -> None:
    """Equal codes, and audio that rounding alone may tell apart."""
    np.testing.assert_array_equal(one.codes, other.codes)
    assert int(np.abs(one.pcm.astype(np.int32) - other.pcm).max(initial=0)) <= 1


def scheduler(engine: Engine) -> Scheduler:
    return engine._scheduler


async def until(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait for something to become true."""
    give_up = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < give_up
        await asyncio.sleep(0.005)


async def idle(engine: Engine) -> None:
    """Wait until the engine holds nothing, and check that nothing is lost."""
    await until(lambda: not (scheduler(engine)._flights or scheduler(engine)._decoding or engine._speeches))
    scheduler(engine).check()
    state = engine.state()
    assert (state.queued, state.running, state.parked, state.blocks_used) == (0, 0, 0, 0)
    assert not engine._speeches
    assert not engine._preparation
