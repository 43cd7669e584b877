"""Turns that go on beside whatever is done to the server, and must not notice."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np

from qwentts_client.v1 import tts_pb2 as pb
from tests.service.conftest import Running, config, kinds, pcm, send, text

AUDIO = 2.0  # seconds of a turn


@dataclass
class Witness:
    """What was heard: the audio of each turn, and the gaps in seconds between two messages of one."""

    audio: list[bytes] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)

    @property
    def worst(self) -> float:
        """The longest gap of a hundred, in milliseconds."""
        return 1_000 * float(np.percentile(self.gaps, 99))


@asynccontextmanager
async def witness(running: Running) -> AsyncIterator[Witness]:
    """One turn after another while the body runs; what begins must come to its end, and all must say the same."""
    heard = Witness()
    over = asyncio.Event()
    task = asyncio.create_task(_listen(running, heard, over))
    try:
        yield heard
    finally:
        over.set()
        await asyncio.wait_for(task, 20)
    assert len(set(heard.audio)) == 1 and len(heard.audio[0]) == AUDIO * 48_000


async def _listen(running: Running, heard: Witness, over: asyncio.Event) -> None:
    while not (over.is_set() and heard.audio):
        responses = [response async for response in _turn(running, heard.gaps)]
        assert kinds(responses)[-1] == "summary"
        heard.audio.append(pcm(responses))


async def _turn(running: Running, gaps: list[float]) -> AsyncIterator[pb.SynthesizeResponse]:
    last = time.monotonic()
    async for response in running.stub.Synthesize(send([config(AUDIO), text("What I say.")]), timeout=20):
        last, before = time.monotonic(), last
        gaps.append(last - before)
        yield response
