"""The run-ahead runner's bookkeeping, on a CPU: its graphs are run at once, and speak as the plain runner does."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from benchmarks.parts.simulated import replacements
from engine.api.config import EngineConfig
from engine.api.request import Delivery, Sampling, SpeechRequest, TextMode
from engine.build import build_engine
from engine.engine import Engine
from engine.runner.cuda_graphs import Graphs
from tests.engine.speaking import Heard, idle, same, speak

TEXTS = ("Good morning.", "The river, and the old man by it.", "One two three four five six seven eight.", "So?")


class EagerGraphs(Graphs[Any]):
    """Graphs that run their function when they are replayed."""

    def replay(self, rows: int) -> Any:
        return self._function(self.tables[self.size(rows)])


async def spoken(checkpoint: Path, ahead: bool) -> list[Heard]:
    """Several speeches that share slots, of different first chunks, lengths and prompts."""
    config = EngineConfig(max_speeches=3, device="cpu")
    async with await build_engine(str(checkpoint), config) as engine:
        assert (type(engine._steps.runner).__name__ == "PipelinedRunner") is ahead
        return await asyncio.gather(*(speak(engine, request(i), text) for i, text in enumerate(TEXTS)), again(engine))


async def again(engine: Engine) -> Heard:
    """One that comes when the others have gone, into a slot that has been used."""
    await asyncio.sleep(0.2)
    await idle(engine)
    return await speak(engine, request(7), TEXTS[1])


def request(seed: int) -> SpeechRequest:
    mode = TextMode.WHOLE if seed % 2 else TextMode.INCREMENTAL
    delivery = Delivery(text_mode=mode, first_chunk_frames=1 + seed % 3, max_chunk_frames=4 + seed, max_lead=1e3)
    return SpeechRequest(sampling=Sampling(seed=seed, max_frames=9 + 4 * seed), delivery=delivery)


async def test_it_speaks_as_the_plain_runner_does(noise: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = await spoken(noise, ahead=False)
    for place, name, value in list(replacements(EagerGraphs)):
        monkeypatch.setattr(place, name, value)
    for one, other in zip(plain, await spoken(noise, ahead=True), strict=True):
        same(one, other)
