"""A talker over two GPUs: the same bits as on one, and the end of a rank ends the engine."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch

from engine.api.config import EngineConfig
from engine.api.errors import EngineFailed
from engine.api.request import Delivery, Sampling, SpeechRequest
from engine.build import build_engine
from engine.engine import Engine
from tests.engine.forced import forced_codes
from tests.engine.speaking import Heard, speak

pytest.importorskip("triton")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices"),
]
KIND, TEXT = "1.7B-CustomVoice", "The river was quiet, and the old man told nobody what he had seen there."
SEATS, FRAMES = 8, 8


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def alone(loop: asyncio.Runner) -> tuple[list[Heard], npt.NDArray[np.int32]]:
    """Speeches, and codes under teacher forcing, of one GPU."""
    engine = loop.run(build_engine(KIND, config("cuda:0")))
    try:
        return loop.run(spoken(engine)), forced_codes(engine, SEATS - 1, FRAMES)
    finally:
        loop.run(engine.close())


@pytest.fixture(scope="module")
def shared(loop: asyncio.Runner, alone: object) -> Iterator[Engine]:
    """An engine over two GPUs, once that of one has ended."""
    engine = loop.run(build_engine(KIND, config("cuda:0,cuda:1")))
    print(engine.card.description)
    yield engine
    loop.run(engine.close())


def config(device: str) -> EngineConfig:
    return EngineConfig(
        device=device,
        tensor_parallel=device.count(",") + 1,
        dummy_weights=True,
        max_speeches=SEATS,
        kv_blocks=SEATS * 64,
    )


async def spoken(engine: Engine) -> list[Heard]:
    """Speeches in company, with newcomers whose prompts ride."""
    requests = [
        SpeechRequest(sampling=Sampling(seed=seed, max_frames=24), delivery=Delivery(max_lead=1e4))
        for seed in range(2 * SEATS)
    ]
    return list(await asyncio.gather(*(speak(engine, each, TEXT) for each in requests)))


def test_codes_are_those_of_one_gpu(alone: tuple[list[Heard], npt.NDArray[np.int32]], shared: Engine) -> None:
    forced = forced_codes(shared, SEATS - 1, FRAMES)
    print(f"{(forced == alone[1]).mean():.2%} of {forced.size} codes under teacher forcing agree")
    np.testing.assert_array_equal(forced, alone[1])


def test_speeches_are_those_of_one_gpu(
    loop: asyncio.Runner, alone: tuple[list[Heard], npt.NDArray[np.int32]], shared: Engine
) -> None:
    for one, other in zip(alone[0], loop.run(spoken(shared)), strict=True):
        np.testing.assert_array_equal(one.codes, other.codes)


def test_the_end_of_a_rank_ends_the_engine(loop: asyncio.Runner, shared: Engine) -> None:
    """The last test of this engine: its speeches fail at once, though its device waits for the other."""

    async def killed() -> float:
        request = SpeechRequest(sampling=Sampling(seed=1, max_frames=2_000), delivery=Delivery(max_lead=1e4))
        speaking = asyncio.create_task(speak(shared, request, TEXT))
        await asyncio.sleep(0.3)
        team = shared._release.__self__.team  # type: ignore[attr-defined]
        os.kill(team.followers[0].process.pid, signal.SIGKILL)
        began = time.monotonic()
        with pytest.raises(EngineFailed, match="has stopped"):
            await speaking
        return time.monotonic() - began

    assert loop.run(killed()) < 1.0
    assert shared.failed is not None
