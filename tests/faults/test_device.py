"""A device whose values break down for some speeches: those fail, each for itself, and the others say the same."""

import asyncio
from pathlib import Path

import grpc
import pytest

from tests.service.conftest import Running, config, decoded, pcm, send, serving, text

from .devices import Steady

pytestmark = pytest.mark.asyncio(loop_scope="session")

TURNS = 32
BROKEN = set(range(1, TURNS + 1, 3))


async def speak(running: Running, seed: int) -> bytes | str:
    """The audio of a turn, or the reason of its failure."""
    asked = config(0.8)
    asked.config.sampling.seed = seed
    try:
        return pcm([response async for response in running.stub.Synthesize(send([asked, text("Hello.")]), timeout=20)])
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.INTERNAL
        return decoded(error).reason


async def test_a_failed_turn_takes_nobody_with_it(checkpoint: Path) -> None:
    async with serving(checkpoint, max_speeches=8, max_queue=TURNS) as running:
        device = Steady(running.eos, seconds=0.002)
        with running.runner(lambda real: device):
            alone = {seed: await speak(running, seed) for seed in range(1, TURNS + 1)}
            device.breaks = BROKEN
            together = dict(zip(alone, await asyncio.gather(*(speak(running, seed) for seed in alone)), strict=True))
            await running.idle()
    assert {seed for seed in alone if together[seed] == "GENERATION_FAILED"} == BROKEN
    assert all(together[seed] == alone[seed] for seed in alone if seed not in BROKEN)
    assert running.sample("tts_requests_total", method="Synthesize", outcome="failed") == len(BROKEN)
