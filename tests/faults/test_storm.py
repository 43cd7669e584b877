"""Sixty-four turns at once, cancelled in every way at random moments: nothing is left, and the others say the same."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio

from qwentts_client.v1 import tts_pb2_grpc
from tests.service.conftest import Running, cancel, config, pcm, send, text

from .conftest import FORMS, steady

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timing]

STREAMS = 64
ROUNDS = int(os.environ.get("STORM_ROUNDS", "4"))
WITHIN = float(os.environ.get("STORM_WITHIN", "0.4"))  # seconds, the last moment of a cancel
WAYS = ("message", "rpc", "connection", "survives")
LOCAL = (("grpc.use_local_subchannel_pool", 1),)


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=FORMS)
async def server(checkpoint: Path, request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    async with steady(
        checkpoint, step_seconds=0.004, apart=request.param == "apart", max_speeches=STREAMS, max_queue=STREAMS
    ) as running:
        yield running


def requests(seed: int, pause: float, *more: Any) -> AsyncIterator[Any]:
    asked = config(1.6)
    asked.config.sampling.seed = seed + 1
    return send([asked, *map(text, ("Some words", " that come", " in pieces")), pause, text("."), *more])


async def quiet(server: Running, seed: int) -> bytes:
    return pcm([response async for response in server.stub.Synthesize(requests(seed, 0.0), timeout=20)])


async def one(server: Running, seed: int) -> bytes | None:
    """A turn that ends in its own way, soon; the audio of one that survives."""
    chance = random.Random(seed)
    way, moment = WAYS[seed % len(WAYS)], chance.random() * WITHIN
    async with grpc.aio.insecure_channel(server.address, LOCAL) as channel:
        more = (moment, cancel(), 5.0) if way == "message" else () if way == "survives" else (5.0,)
        call = tts_pb2_grpc.TTSServiceStub(channel).Synthesize(requests(seed, 0.1, *more), timeout=30)
        if way == "rpc":
            asyncio.get_running_loop().call_later(moment, call.cancel)
        if way == "connection":
            asyncio.get_running_loop().call_later(moment, lambda: asyncio.ensure_future(channel.close()))
        try:
            responses = [response async for response in call]
        except (asyncio.CancelledError, grpc.aio.AioRpcError):
            assert way in ("rpc", "connection")
            return None
    assert way in ("message", "survives") or responses[-1].HasField("summary")
    return pcm(responses) if way == "survives" else None


async def test_a_storm_of_cancels_leaves_nothing_and_changes_nothing(server: Running) -> None:
    survivors = [seed for seed in range(STREAMS) if WAYS[seed % len(WAYS)] == "survives"]
    alone = {seed: await quiet(server, seed) for seed in survivors}
    await server.idle()
    tasks = len(asyncio.all_tasks())
    before = Counter({origin: server.sample("tts_cancellations_total", origin=origin) for origin in ("message", "rpc")})
    for _ in range(ROUNDS):
        heard = await asyncio.gather(*(one(server, seed) for seed in range(STREAMS)))
        assert {seed: heard[seed] for seed in survivors} == alone
    ended = time.monotonic()
    await server.idle(1.0)
    taken = time.monotonic() - ended
    for origin in before:
        assert server.sample("tts_cancellations_total", origin=origin) > before[origin]
    assert server.sample("tts_streams_open", method="Synthesize") == 0
    until = time.monotonic() + 6  # request iterators of the client sleep on for five
    while len(asyncio.all_tasks()) > tasks:
        assert time.monotonic() < until, asyncio.all_tasks()
        await asyncio.sleep(0.05)
    assert released_within(server, 0.1) >= 0.99
    print(
        f"{ROUNDS * STREAMS} turns, {ROUNDS * len(survivors)} survivors bit-identical; idle {1000 * taken:.0f} ms later"
    )


def released_within(server: Running, seconds: float) -> float:
    """The share of cancelled turns whose slot was free within `seconds`."""
    total = server.sample("tts_slot_release_seconds_count")
    assert total
    return server.sample("tts_slot_release_seconds_bucket", le=str(seconds)) / total


@pytest.mark.parametrize("way", ["message", "rpc", "connection"])
async def test_a_cancel_frees_its_place_at_once(server: Running, way: str) -> None:
    taken = []
    for seed in range(20):
        async with grpc.aio.insecure_channel(server.address, LOCAL) as channel:
            call = tts_pb2_grpc.TTSServiceStub(channel).Synthesize(timeout=20)
            await call.write(config(60.0))
            await call.write(text("On and on. " * 50))
            while not (await call.read()).HasField("audio"):
                pass
            await asyncio.sleep(random.Random(seed).random() * 0.1)
            began = time.monotonic()
            match way:
                case "message":
                    await call.write(cancel())
                case "rpc":
                    call.cancel()
                case "connection":
                    await channel.close()
            while server.engine.state().blocks_used or server.server.state.speeches:
                assert time.monotonic() < began + 5
                await asyncio.sleep(0.001)
            taken.append(time.monotonic() - began)
    print(f"{way}: place free {1000 * max(taken):.0f} ms after the cancel at the latest of {len(taken)}")
    assert np.median(taken) < 0.1
