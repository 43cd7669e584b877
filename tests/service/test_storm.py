"""Many turns that end in every way at random moments leave no slot, block, speech or task behind."""

import asyncio
import random

import grpc
import pytest

from .conftest import Requests, Running, cancel, config, send, text

pytestmark = pytest.mark.asyncio(loop_scope="session")

TURNS = 40


async def one(tts: Running, seed: int) -> str:
    """A turn that ends in one of four ways after up to 0.4 s; returns its status."""
    chance = random.Random(seed)
    way, pause = seed % 4, chance.random() * 0.4
    words = [text(word) for word in "Some words that come in pieces , as they do .".split(" ")]
    rests: tuple[Requests, ...] = ([cancel()], [2.0], [], [2.0])
    request = config(0.4 if way == 2 else 60.0, request_id=f"storm-{seed}")
    call = tts.stub.Synthesize(send([request, *words, pause, *rests[way]]), timeout=pause if way == 3 else 30)
    if way == 1:
        asyncio.get_running_loop().call_later(pause, call.cancel)
    try:
        async for _ in call:
            pass
    except asyncio.CancelledError:
        return "CANCELLED"
    except grpc.aio.AioRpcError as error:
        # What grpcio's asyncio client says of a refusal that meets one of its writes, now and then, on a busy loop.
        lost = error.details() == "Internal error from Core"
        return "RESOURCE_EXHAUSTED" if lost else error.code().name
    return "OK"


async def test_a_storm_leaves_nothing(tts: Running) -> None:
    await tts.idle()
    before = len(asyncio.all_tasks())
    ends = await asyncio.gather(*(one(tts, seed) for seed in range(TURNS)))
    # Twelve have a place, in slots or queue; the others may be refused.
    assert set(ends) <= {"OK", "CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}
    assert ends.count("OK") >= 3
    await tts.idle(5.0)
    until = asyncio.get_running_loop().time() + 4  # a request iterator of the client sleeps on for two
    while len(asyncio.all_tasks()) > before:
        assert asyncio.get_running_loop().time() < until, asyncio.all_tasks()
        await asyncio.sleep(0.02)
