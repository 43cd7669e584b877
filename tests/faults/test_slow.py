"""Callers who read slowly or not at all: little is made for them in advance, and the others hear nothing of it."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from qwentts_grpc.v1 import tts_pb2_grpc
from tests.service.conftest import Running, config, decoded, send, text

from .conftest import steady
from .witness import witness

pytestmark = pytest.mark.asyncio(loop_scope="session")

SLOW, LEAD, PATIENCE = 8, 2.0, 1.5
FRAMES = 4  # of a chunk, so that one read at half the speed takes less than the patience
# A window of some 30 KB, so that a caller who does not read is felt at once.
NARROW = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 16_384),
)
LONG = text("Word after word. " * 200)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(checkpoint: Path) -> AsyncIterator[Running]:
    async with steady(checkpoint, step_seconds=0.002, max_speeches=16, slow_consumer_timeout=PATIENCE) as running:
        yield running
        await running.idle()


def speak(channel: grpc.aio.Channel, lead: float) -> Any:
    asked = config(60.0)
    asked.config.delivery.max_chunk_frames = FRAMES
    asked.config.delivery.max_lead.FromMilliseconds(round(1_000 * lead))
    return aiter(tts_pb2_grpc.TTSServiceStub(channel).Synthesize(send([asked, LONG, 60.0]), timeout=60))


def frames(server: Running) -> float:
    return sum(
        server.sample("tts_codec_frames_total", used=used, model="tiny-custom") for used in ("true", "discarded")
    )


async def test_nothing_is_made_far_ahead_of_playback(server: Running) -> None:
    async with grpc.aio.insecure_channel(server.address, NARROW) as channel:
        turns = [speak(channel, LEAD) for _ in range(SLOW)]
        began, before = time.monotonic(), frames(server)
        await asyncio.gather(*map(anext, turns))
        await asyncio.sleep(1.0)
        made, elapsed = 0.08 * (frames(server) - before), time.monotonic() - began
    assert LEAD <= made / SLOW <= elapsed + LEAD + 0.08 * FRAMES
    print(f"{made / SLOW:.2f} s of audio made for each caller {elapsed:.2f} s after it began to read nothing")


async def test_a_caller_who_does_not_read_is_let_go(server: Running) -> None:
    async with grpc.aio.insecure_channel(server.address, NARROW) as channel, witness(server) as heard:
        turns = [speak(channel, 30.0) for _ in range(SLOW)]
        await asyncio.gather(*map(anext, turns))
        began = time.monotonic()
        while server.server.gate.speeches > 1:  # the witness's
            assert time.monotonic() < began + 4 * PATIENCE
            await asyncio.sleep(0.02)
        taken = time.monotonic() - began
        assert taken > PATIENCE
        for turn in turns:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                async for _ in turn:
                    pass
            assert decoded(raised.value).reason == "SLOW_CONSUMER"
    assert server.sample("tts_cancellations_total", origin="slow_consumer") == SLOW
    print(f"{SLOW} callers who read nothing let go after {taken:.1f} s; gap p99 beside them {heard.worst:.0f} ms")


async def test_a_caller_who_reads_at_half_the_speed_is_served(server: Running) -> None:
    async with grpc.aio.insecure_channel(server.address, NARROW) as channel:
        turn, heard, began = speak(channel, LEAD), 0.0, time.monotonic()
        async for response in turn:
            heard += response.audio.duration.ToNanoseconds() / 1e9
            await asyncio.sleep(max(0.0, 2 * heard - (time.monotonic() - began)))
            if heard > 2 * PATIENCE:
                break
    assert heard > 2 * PATIENCE
