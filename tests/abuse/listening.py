"""The witness: turns of a known caller, one after another, with the playback of somebody who listens."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.load.playback import underruns
from qwentts_client.v1 import tts_pb2 as pb
from qwentts_client.v1 import tts_pb2_grpc

from .target import WITNESS, Target, bearer, seconds_of

LIMIT = 30.0  # seconds for anything
FRAME_BYTES, RATE = 2, 24_000


@dataclass(frozen=True, slots=True)
class StepPacer:
    """Seconds of audio in a turn, how far it may run ahead of playback, and how much a listener waits for first."""

    audio: float = 6.0
    lead: float = 2.0
    buffer: float = 0.2


@dataclass
class Heard:
    """What came of the turns; times in seconds."""

    turns: int = 0
    underruns: int = 0
    gap: float = 0.0
    first: float = 0.0
    problems: list[str] = field(default_factory=list)


@asynccontextmanager
async def listening(target: Target, pace: StepPacer) -> AsyncIterator[Heard]:
    """Turns while the body runs, one of which is on its way when it begins; at the end the last comes to its end."""
    heard, over, speaking = Heard(), asyncio.Event(), asyncio.Event()
    async with target.channel() as channel:
        task = asyncio.create_task(_listen(target, channel, pace, heard, over, speaking))
        try:
            await asyncio.wait_for(speaking.wait(), LIMIT)
            yield heard
        finally:
            over.set()
            await asyncio.wait_for(task, 2 * LIMIT)


async def _listen(
    target: Target,
    channel: grpc.aio.Channel,
    pace: StepPacer,
    heard: Heard,
    over: asyncio.Event,
    speaking: asyncio.Event,
) -> None:
    while not over.is_set():
        try:
            await _turn(channel, pace, heard, speaking)
            await _checks(target, channel)
        except (grpc.aio.AioRpcError, OSError, TimeoutError) as error:
            text = f"{error.code().name}: {error.details()}" if isinstance(error, grpc.aio.AioRpcError) else repr(error)
            heard.problems.append(text)
            speaking.set()
            await asyncio.sleep(0.5)


async def _turn(channel: grpc.aio.Channel, pace: StepPacer, heard: Heard, speaking: asyncio.Event) -> None:
    async def requests() -> AsyncIterator[pb.SynthesizeRequest]:
        config = pb.SynthesisConfig(voice="ryan")
        config.sampling.seed = 1
        seconds_of(config.sampling.max_audio, pace.audio)
        seconds_of(config.delivery.max_lead, pace.lead)
        yield pb.SynthesizeRequest(config=config)
        yield pb.SynthesizeRequest(text=pb.TextChunk(text="What I say, while others do what they like."))

    arrivals, durations, began = [], [], time.monotonic()
    call = tts_pb2_grpc.TTSServiceStub(channel).Synthesize(requests(), metadata=bearer(WITNESS), timeout=LIMIT)
    async for response in call:
        if response.HasField("audio"):
            arrivals.append(time.monotonic())
            durations.append(len(response.audio.data) / (FRAME_BYTES * RATE))
            speaking.set()
    heard.turns += 1
    heard.underruns += underruns([arrivals[0] + pace.buffer, *arrivals[1:]], durations)
    heard.gap = max(heard.gap, *(later - earlier for earlier, later in pairwise(arrivals)))
    heard.first = max(heard.first, arrivals[0] - began)
    if sum(durations) < pace.audio - 0.1:
        heard.problems.append(f"a turn had {sum(durations):.1f} s of audio")


async def _checks(target: Target, channel: grpc.aio.Channel) -> None:
    """What a load balancer and a supervisor ask for; raises what goes wrong."""
    health = health_pb2_grpc.HealthStub(channel)
    answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=LIMIT)
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise OSError("the health check says that it does not serve")
    if not (await page(target, "/livez")).endswith("ok\n"):
        raise OSError("/livez does not say ok")


async def page(target: Target, path: str) -> str:
    """What the side port answers."""
    async with asyncio.timeout(LIMIT):
        reader, writer = await asyncio.open_connection("127.0.0.1", target.side_port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = (await reader.read()).decode()
        writer.close()
        return answer
