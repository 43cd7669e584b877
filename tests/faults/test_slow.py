"""Callers who read slowly or not at all: little is made for them in advance, and the others hear nothing of it."""

import asyncio
import resource
import struct
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio

from qwentts_client.v1 import tts_pb2 as pb
from qwentts_client.v1 import tts_pb2_grpc
from tests.service.conftest import Running, config, decoded, send, text

from .conftest import FORMS, steady
from .http2 import WINDOW_UPDATE, connected, frame

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timing]

SLOW, NORMAL, LEAD, PATIENCE = 16, 16, 2.0, 1.5
ONE_MESSAGE = 4_000  # bytes
FRAMES = 4  # of a chunk, so that one read at half the speed takes less than the patience
# A window of some 30 KB, so that a caller who does not read is felt at once.
NARROW = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 16_384),
)
LONG = text("Word after word. " * 200)


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=FORMS)
async def server(checkpoint: Path, request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    settings: dict[str, Any] = {"max_speeches": SLOW + NORMAL, "slow_consumer_timeout": PATIENCE}
    async with steady(checkpoint, step_seconds=0.002, apart=request.param == "apart", **settings) as running:
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


async def test_callers_who_do_not_read_are_let_go_and_the_others_hear_nothing_of_it(server: Running) -> None:
    alone = in_time(await asyncio.gather(*(listen(server, seed) for seed in range(NORMAL))))
    memory = resident()
    async with grpc.aio.insecure_channel(server.address, NARROW) as channel:
        turns = [speak(channel, 30.0) for _ in range(SLOW)]
        await asyncio.gather(*map(anext, turns))
        began, normal = time.monotonic(), asyncio.gather(*(listen(server, seed) for seed in range(NORMAL)))
        while server.sample("tts_cancellations_total", origin="slow_consumer") < SLOW:
            assert time.monotonic() < began + 4 * PATIENCE
            await asyncio.sleep(0.02)
        taken, beside = time.monotonic() - began, in_time(await normal)
        assert taken > PATIENCE
        for turn in turns:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                async for _ in turn:
                    pass
            assert decoded(raised.value).reason == "SLOW_CONSUMER"
    print(f"{SLOW} callers who read nothing let go after {taken:.1f} s; memory {resident() - memory:+.1f} MB")
    print(f"{NORMAL} others: {beside:.2%} of their chunks at most 0.1 s late, {alone:.2%} without those")


async def listen(server: Running, seed: int) -> list[float]:
    """Speak for two seconds; how late each chunk came for a listener who began with the first, in seconds."""
    asked = config(2.0)
    asked.config.sampling.seed = seed + 1
    late, began = [], 0.0
    async for response in server.stub.Synthesize(send([asked, text("What I say.")]), timeout=30):
        if response.HasField("audio"):
            began = began or time.monotonic()
            late.append(time.monotonic() - began - response.audio.pts.ToNanoseconds() / 1e9)
    assert response.summary.audio_samples == 2 * 24_000
    return late


def in_time(turns: Sequence[Sequence[float]]) -> float:
    """The share of chunks that came in time, or a tenth of a second late at most."""
    late = np.concatenate(turns)
    return float(np.mean(late <= 0.1))


def resident() -> float:
    """Megabytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


async def test_a_caller_who_reads_at_half_the_speed_is_served(server: Running) -> None:
    async with grpc.aio.insecure_channel(server.address, NARROW) as channel:
        turn, heard, began = speak(channel, LEAD), 0.0, time.monotonic()
        async for response in turn:
            heard += response.audio.duration.ToNanoseconds() / 1e9
            await asyncio.sleep(max(0.0, 2 * heard - (time.monotonic() - began)))
            if heard > 2 * PATIENCE:
                break
    assert heard > 2 * PATIENCE


async def test_a_caller_who_takes_a_message_now_and_then_is_let_go(server: Running) -> None:
    before, began = server.sample("tts_cancellations_total", origin="slow_consumer"), time.monotonic()
    asked = config(60.0).config
    asked.delivery.max_chunk_frames = 1
    asked.delivery.max_lead.FromSeconds(30)
    request = pb.SynthesizeTextRequest(config=asked, text="Word after word. " * 200).SerializeToString()
    async with connected(server.port, window=ONE_MESSAGE) as caller:
        caller.call("/qwentts.v1.TTSService/SynthesizeText", request)
        while server.sample("tts_cancellations_total", origin="slow_consumer") == before:
            assert time.monotonic() < began + 6 * PATIENCE
            await asyncio.sleep(0.6 * PATIENCE)
            caller.send(frame(WINDOW_UPDATE, struct.pack(">I", ONE_MESSAGE), 0, 1))
    print(f"who takes a message each {0.6 * PATIENCE:.1f} s is let go after {time.monotonic() - began:.1f} s")
