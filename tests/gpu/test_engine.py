"""The engine on a GPU, real size, random weights: graphs change nothing, nor does company, nor a voice being learnt."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch

from engine.api.config import EngineConfig
from engine.api.request import Delivery, Reference, Sampling, SpeechRequest
from engine.api.voice import Voice
from engine.build import build_engine
from engine.engine import Engine
from tests.engine.speaking import Heard, speak

pytest.importorskip("triton")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1", reason="needs a CUDA device"
    ),
]
KIND, TEXT = "0.6B-Base", "The river was quiet, and the old man told nobody what he had seen there."
SPEECHES, SEATS, FRAMES = 100, 32, 24
LEAST = 35.0  # dB, between two ways of decoding the same codes: each is some 42 from the exact signal


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    """One event loop for all tests, as an engine belongs to one."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def engine(loop: asyncio.Runner) -> Iterator[Engine]:
    """With graphs."""
    made = loop.run(build_engine(KIND, config()))
    print(made.card.description)
    yield made
    loop.run(made.close())


@pytest.fixture(scope="module")
def voice(loop: asyncio.Runner, engine: Engine) -> Voice:
    """A voice of an embedding alone."""
    return loop.run(engine.clone(Reference(recording(2.0), speaker_embedding_only=True)))


def config(graphs: bool = True) -> EngineConfig:
    return EngineConfig(
        device="cuda",
        dummy_weights=True,
        max_speeches=SEATS,
        max_queue=SPEECHES,
        queue_timeout=60.0,
        cuda_graphs=graphs,
    )


def recording(seconds: float) -> npt.NDArray[np.float32]:
    time = np.arange(round(seconds * 24_000)) / 24_000
    return (0.3 * np.sin(2 * np.pi * (150 + 60 * time) * time)).astype(np.float32)


def request(seed: int, voice: Voice) -> SpeechRequest:
    sampling = Sampling(seed=seed, max_frames=FRAMES)
    return SpeechRequest(kept=voice, sampling=sampling, delivery=Delivery(max_lead=1e4))


async def together(engine: Engine, requests: list[SpeechRequest]) -> list[Heard]:
    return list(await asyncio.gather(*(speak(engine, each, TEXT) for each in requests)))


async def one_by_one(engine: Engine, requests: list[SpeechRequest]) -> list[Heard]:
    return [await speak(engine, each, TEXT) for each in requests]


def decibels(heard: Heard, other: Heard) -> float:
    """Signal to noise of two ways of decoding."""
    wanted = heard.pcm.astype(np.float64)
    return float(10 * np.log10((wanted**2).sum() / max(((other.pcm - wanted) ** 2).sum(), 1e-9)))


def compare(name: str, some: list[Heard], others: list[Heard]) -> None:
    """The same codes, and audio that rounding alone may tell apart; prints how far apart."""
    diverged = [i for i, (a, b) in enumerate(zip(some, others, strict=True)) if not np.array_equal(a.codes, b.codes)]
    ratios = [decibels(a, b) for i, (a, b) in enumerate(zip(some, others, strict=True)) if i not in diverged]
    print(f"{name}: {len(diverged)} of {len(some)} diverge; audio agrees to {min(ratios, default=np.nan):.1f} dB")
    assert not diverged
    assert min(ratios) > LEAST


def test_speeches_are_the_same_alone_and_in_company(loop: asyncio.Runner, engine: Engine, voice: Voice) -> None:
    requests = [request(seed, voice) for seed in range(SPEECHES)]
    compare("alone and in company", loop.run(one_by_one(engine, requests)), loop.run(together(engine, requests)))


def test_graphs_give_what_launches_one_by_one_give(loop: asyncio.Runner, engine: Engine, voice: Voice) -> None:
    requests = [request(seed, voice) for seed in range(5)]
    captured = loop.run(together(engine, requests))
    eager = loop.run(build_engine(KIND, config(graphs=False)))
    try:
        compare("graphs and single launches", captured, loop.run(together(eager, requests)))
    finally:
        loop.run(eager.close())


def test_voices_are_learnt_beside_running_speeches(loop: asyncio.Runner, engine: Engine, voice: Voice) -> None:
    """The codec hears recordings on a thread and a stream of its own, while the device's decode others."""
    requests = [request(seed, voice) for seed in range(16)]
    quiet = loop.run(together(engine, requests))

    async def prime(count: int) -> list[Voice]:
        voices = []
        for number in range(count):
            made = await engine.clone(Reference(recording(3.0 + 0.2 * number), "some words that were said"))
            await engine.prime(made)
            voices.append(made)
        return voices

    async def both() -> tuple[list[Heard], list[Voice]]:
        async with asyncio.TaskGroup() as tasks:
            speaking, learning = tasks.create_task(together(engine, requests)), tasks.create_task(prime(4))
        return speaking.result(), learning.result()

    busy, voices = loop.run(both())
    compare("beside learning and alone", quiet, busy)
    (first,) = loop.run(one_by_one(engine, [request(1, voices[0])]))
    (again,) = loop.run(one_by_one(engine, [replace(request(1, voices[0]), request_id="again")]))
    compare("a created voice, twice", [first], [again])
    (cloned,) = loop.run(
        one_by_one(
            engine,
            [replace(request(1, voice), kept=None, reference=Reference(recording(3.0), "some words that were said"))],
        )
    )
    compare("created and cloned", [first], [cloned])
