"""The checkpoint that comes with the package: whole, small enough for a repository, and able to speak."""

import asyncio

import numpy as np

from engine.api.config import EngineConfig
from engine.api.request import Sampling, SpeechRequest
from engine.build import build_engine
from engine.checkpoint.embedded import embedded_checkpoint
from tests.engine.speaking import speak

FILE_BYTES, BYTES = 16_000_000, 48_000_000  # the most of one file, and of all
VOICES = ("joe", "slt")
FRAMES = 4


def test_its_files_are_small_and_described() -> None:
    sizes = {path: path.stat().st_size for path in embedded_checkpoint().rglob("*") if path.is_file()}
    assert embedded_checkpoint() / "README.md" in sizes
    assert max(sizes.values()) <= FILE_BYTES
    assert sum(sizes.values()) <= BYTES


async def test_it_speaks_english_by_two_voices() -> None:
    requests = [SpeechRequest(voice=voice, sampling=Sampling(seed=1, max_frames=FRAMES)) for voice in VOICES]
    async with await build_engine(str(embedded_checkpoint()), EngineConfig(device="cpu", max_speeches=2)) as engine:
        card, defaults = engine.card, engine.defaults
        joe, slt = await asyncio.gather(*(speak(engine, request, "Good morning.") for request in requests))
    assert (card.kind, card.voices, card.languages) == ("custom_voice", VOICES, ("english",))
    assert defaults != Sampling()  # it brings its own
    assert joe.end.frames == slt.end.frames == FRAMES
    assert not np.array_equal(joe.codes, slt.codes)
